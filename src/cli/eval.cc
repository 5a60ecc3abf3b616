// sedum eval perplexity, sedum eval compare

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/sampling.h"
#include "data/rows.h"
#include "eval/compare.h"
#include "eval/perplexity.h"
#include "infer/local_engine.h"

namespace sedum::cli {
namespace {

Run setup_perplexity(Flags app) {
  struct Options : ModelOptions {
    std::string file, kv_cache;
    PerplexityOptions perplexity;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  add_model_options(app, *o, "f32");
  app.add_option("--file", o->file, "the text")->required();
  app.add_option("--window", o->perplexity.window, "tokens of a window")->capture_default_str();
  app.add_option("--windows", o->perplexity.max_windows, "how many windows at most; 0: the whole text")
      ->capture_default_str();
  app.add_option("--kv-cache", o->kv_cache,
                 "keys and values as they are kept while text is generated: f32, bf16 or int8; else as they are")
      ->check(one_of({"f32", "bf16", "int8"}));
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("example: sedum eval perplexity --model smollm2-135m --file book.txt --window 512 --windows 8");
  return [o] {
    if (!o->kv_cache.empty()) o->perplexity.kv_cache = kv_cache_type(o->kv_cache);
    LoadedModel loaded(*o);
    const auto ids = loaded.model.checkpoint().tokenizer()->encode(read_file(o->file), {.parse_special = false});
    Context ctx = loaded.runtime.context(loaded.model.compute());
    std::unique_ptr<Progress> bar;
    const Perplexity p = perplexity(ctx, loaded.model.model(), ids, o->perplexity, [&](int64_t done, int64_t of) {
      if (!bar) bar = std::make_unique<Progress>("windows", uint64_t(of));
      bar->set(uint64_t(done));
    });
    bar.reset();
    if (o->json)
      return print_json({{"perplexity", p.value()},
                         {"negative_log_likelihood", p.negative_log_likelihood},
                         {"tokens", p.tokens},
                         {"compute", o->compute}});
    fmt::print("perplexity {:.4f} over {} tokens ({})\n", p.value(), p.tokens, o->compute);
  };
}

// One side of a comparison: a model, or a model with an adapter written MODEL+ADAPTER.
std::vector<std::string> answers_of(const std::string& name, const ModelOptions& shared,
                                    const std::vector<std::vector<data::Message>>& questions, const std::string& system,
                                    const data::GeneratorOptions& options) {
  ModelOptions one = shared;
  const size_t plus = name.find('+');
  one.model = name.substr(0, plus);
  if (plus != std::string::npos) one.adapter = name.substr(plus + 1);
  LoadedModel loaded(one);
  LocalEngine engine(loaded.model, {});
  return EngineGenerator(engine, system).generate(questions, options);
}

Run setup_compare(Flags app) {
  struct Options {
    ModelOptions shared;
    std::string first, second, file, system, out;
    data::GeneratorOptions generator{.max_tokens = 256};
    size_t max_questions = 0;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  o->shared.compute = "int8";
  app.add_option("first", o->first, "a model, or MODEL+ADAPTER")->required();
  app.add_option("second", o->second, "the other")->required();
  app.add_option("--questions", o->file, "rows with questions; answers in them are not looked at")->required();
  app.add_option("--compute", o->shared.compute, "precision: f32, bf16 or int8")
      ->capture_default_str()
      ->check(one_of({"f32", "bf16", "int8"}));
  app.add_option("--threads", o->shared.threads, "threads; 0: all");
  app.add_option("--system", o->system, "the system message");
  app.add_option("--max-tokens", o->generator.max_tokens, "the longest answer")->capture_default_str();
  app.add_option("--repetition-penalty", o->generator.repetition_penalty,
                 "above 1: less repetition, of which small models are fond")
      ->capture_default_str();
  app.add_option("--max-questions", o->max_questions, "the first so many questions; 0: all")->capture_default_str();
  app.add_option("--out", o->out, "a Markdown file for the table");
  app.add_flag("--json", o->json, "JSON lines");
  app.footer("example: sedum eval compare smollm2-135m smollm2-135m+runs/mine/adapter --questions questions.jsonl");
  return [o] {
    std::vector<std::vector<data::Message>> questions;
    data::RowReader reader(o->file);
    while (auto row = reader.next()) {
      if (o->max_questions > 0 && questions.size() == o->max_questions) break;
      auto question = question_of(*row);
      questions.push_back(std::move(question));
    }
    if (questions.empty()) throw Error(o->file + ": no questions", "give rows with messages, or with an instruction");
    const auto first = answers_of(o->first, o->shared, questions, o->system, o->generator);
    const auto second = answers_of(o->second, o->shared, questions, o->system, o->generator);
    std::vector<Comparison> rows;
    for (size_t i = 0; i < questions.size(); ++i) rows.push_back({questions[i].back().content, first[i], second[i]});
    if (!o->out.empty()) write_file(o->out, comparison_markdown(rows, o->first, o->second));
    for (const auto& row : rows) {
      if (o->json)
        print_json({{"question", row.question}, {"first", row.first}, {"second", row.second}});
      else
        fmt::print("── {}\n   {}:\n{}\n   {}:\n{}\n\n", row.question, o->first, row.first, o->second, row.second);
    }
  };
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(eval) {
  app.require_subcommand(1);
  app.footer("example: sedum eval perplexity --model smollm2-135m --file book.txt");
  auto run = std::make_shared<Run>();
  for (const auto& [name, summary, setup] :
       {Command{"perplexity", "how well a model predicts a text", setup_perplexity},
        Command{"compare", "two models' answers side by side", setup_compare}}) {
    Flags sub = app.add_subcommand(name, summary);
    sub->callback([run, chosen = setup(sub)] { *run = chosen; });
  }
  return [run] { (*run)(); };
}
