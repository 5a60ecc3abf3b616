// sedum generate

#include <cstdio>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/sampling.h"
#include "infer/chat.h"
#include "infer/local_engine.h"
#include "infer/seq2seq.h"

namespace sedum::cli {
namespace {

using Json = nlohmann::ordered_json;

Json logprobs_json(const std::vector<TokenLogprobs>& list) {
  Json result = Json::array();
  for (const TokenLogprobs& each : list) {
    Json top = Json::array();
    for (const auto& [id, logprob] : each.top) top.push_back({{"id", id}, {"logprob", logprob}});
    result.push_back({{"id", each.id}, {"logprob", each.logprob}, {"top", top}});
  }
  return result;
}

Json report(const std::vector<int32_t>& prompt, const std::vector<Generation>& answers,
            const EngineStatistics& statistics) {
  const auto one = [](const Generation& answer) {
    Json result{{"ids", answer.ids}, {"text", answer.text}, {"finish_reason", name(answer.finish_reason)}};
    if (answer.score != 0) result["score"] = answer.score;
    if (!answer.logprobs.empty()) result["logprobs"] = logprobs_json(answer.logprobs);
    return result;
  };
  const Generation& first = answers[0];
  const double decode_seconds = first.total_seconds - first.first_token_seconds;
  Json result{{"prompt_ids", prompt}};
  result.update(one(first));
  result["tok_s"] = first.ids.size() > 1 && decode_seconds > 0 ? double(first.ids.size() - 1) / decode_seconds : 0;
  result["prefill_tok_s"] = double(prompt.size()) / first.first_token_seconds;
  result["first_token_s"] = first.first_token_seconds, result["total_s"] = first.total_seconds;
  if (statistics.drafted_tokens > 0) {
    result["drafted_tokens"] = statistics.drafted_tokens;
    result["accepted_tokens"] = statistics.accepted_tokens;
  }
  if (answers.size() > 1)
    for (const Generation& answer : answers) result["answers"].push_back(one(answer));
  return result;
}

struct GenerateOptions : ModelOptions {
  std::string prompt, prompt_file, system, ids;
  SamplingParams sampling{.max_tokens = 512};
  SearchOptions search = {};
  GrammarOptions grammar = {};
  EngineChoices engine = {};
  bool raw = false, json = false;
};

// What an encoder–decoder writes for the prompt as its source: greedily, or the best beams.
void generate_target(const GenerateOptions& o, const Checkpoint& checkpoint) {
  Runtime runtime(o.threads);
  const Compute compute = parse_compute(o.compute);
  CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena,
                            compute == Compute::kInt8 ? Pack::kForward : Pack::kNone);
  const T5Model model(checkpoint.config(), factory);
  const std::string text = o.prompt_file.empty() ? o.prompt : read_file(o.prompt_file);
  const std::vector<int32_t> ids =
      o.ids.empty() ? checkpoint.tokenizer()->encode(text, {.add_special = true}) : parse_ids(o.ids);
  Context ctx = runtime.context(compute);
  const auto written = write_target(ctx, model, ids,
                                    {.max_tokens = o.sampling.max_tokens,
                                     .num_beams = o.sampling.num_beams,
                                     .length_penalty = o.sampling.length_penalty,
                                     .early_stopping = o.sampling.early_stopping});
  Json answers = Json::array();
  for (size_t i = 0; i < written.size() && i < size_t(o.sampling.n); ++i) {
    const bool ended = written[i].ids.back() == checkpoint.config().eos_token_id;
    answers.push_back({{"ids", written[i].ids},
                       {"text", checkpoint.has_tokenizer() ? checkpoint.tokenizer()->decode(written[i].ids, true) : ""},
                       {"finish_reason", ended ? "stop" : "length"},
                       {"score", written[i].score}});
  }
  if (!o.json) {
    for (const Json& answer : answers) fmt::print("{}\n", answer["text"].get<std::string>());
    return;
  }
  Json result{{"prompt_ids", ids}};
  result.update(answers[0]);
  if (answers.size() > 1) result["answers"] = answers;
  print_json(result);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(generate) {
  auto o = std::make_shared<GenerateOptions>();
  add_model_options(app, *o, "int8");
  const Option prompt = app.add_option("-p,--prompt", o->prompt, "the question");
  const Option file = app.add_option("--prompt-file", o->prompt_file, "a file with the question")->excludes(prompt);
  app.add_option("--ids", o->ids, "the prompt as token ids")->excludes(prompt)->excludes(file);
  app.add_option("--system", o->system, "a system message before the question");
  add_sampling_options(app, o->sampling);
  add_search_options(app, o->sampling, o->search);
  add_grammar_options(app, o->grammar);
  add_engine_options(app, o->engine);
  app.add_flag("--raw", o->raw, "go on with the text as it is, without the chat template");
  app.add_flag("--json", o->json, "one JSON object instead of streamed text");
  app.footer("example: sedum generate --model smollm2-135m --prompt \"How often do I water an Echeveria?\"");
  return [o, app] {
    finish_sampling(app, o->search, o->sampling);
    if (o->prompt.empty() && o->prompt_file.empty() && o->ids.empty())
      throw UsageError("there is no prompt", "give --prompt, --prompt-file or --ids");
    const std::filesystem::path base = resolve_model_path(find_model(o->model)).base;
    if (std::filesystem::is_directory(base)) {
      const Checkpoint checkpoint = Checkpoint::open(base);
      if (is_seq2seq(checkpoint.config().model_type)) return generate_target(*o, checkpoint);
    }
    LoadedModel loaded(*o);
    ChosenEngine chosen(loaded.model, o->engine);
    LocalEngine& engine = chosen.engine();
    const std::string text = o->prompt_file.empty() ? o->prompt : read_file(o->prompt_file);
    std::vector<int32_t> ids;
    if (!o->ids.empty()) {
      ids = parse_ids(o->ids);
    } else if (o->raw) {
      ids = engine.tokenizer().encode(text, {.add_special = true});
    } else {
      nlohmann::ordered_json messages = nlohmann::ordered_json::array();
      if (!o->system.empty()) messages.push_back({{"role", "system"}, {"content", o->system}});
      messages.push_back({{"role", "user"}, {"content", text}});
      ids = chat_prompt(engine, messages);
    }
    const auto stream = [](const std::string& piece) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    };
    // Several answers are printed one after the other, when all are there.
    const bool streams = !o->json && o->sampling.n == 1;
    const std::vector<Generation> answers = generate_all(
        engine,
        {.prompt = ids, .sampling = o->sampling, .adapter = first_adapter(engine), .grammar = grammar_of(o->grammar)},
        streams ? stream : std::function<void(const std::string&)>());
    if (streams) return void(std::fputc('\n', stdout));
    if (o->json) return print_json(report(ids, answers, engine.statistics()));
    for (size_t i = 0; i < answers.size(); ++i) fmt::print("{}[{}]\n{}\n", i ? "\n" : "", i + 1, answers[i].text);
  };
}
