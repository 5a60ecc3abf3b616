// sedum data STEP: training data looked at, cleaned, deduplicated, split, and shown with its loss mask.

#include <cstdio>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "data/encode.h"
#include "data/rows.h"
#include "data/shards.h"
#include "data/steps.h"

namespace sedum::cli {
namespace {

using Json = nlohmann::ordered_json;

struct DataOptions {
  std::vector<std::string> inputs, columns;
  std::string output, eval_output, by_column, model;
  data::DedupOptions dedup;
  data::SplitOptions split;
  bool exact_only = false, json = false;
  int cutoff_length = 0, rows = 3;
  int64_t first_row = 1;
  uint64_t shard_tokens = 100'000'000;
  bool train_on_prompt = false;

  data::StepFiles files() const { return {{inputs.begin(), inputs.end()}, output, column_names()}; }

  // prompt=question,response=answer
  data::ColumnNames column_names() const {
    std::map<std::string, std::string> names;
    for (const std::string& pair : columns) {
      const size_t equals = pair.find('=');
      if (equals == std::string::npos)
        throw Error("--columns " + pair + ": a = is missing", "write prompt=question,response=answer");
      names[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
    return data::ColumnNames::from_map(names);
  }
};

using Options = std::shared_ptr<DataOptions>;

// A model's tokenizer and template, kept alive together with the encoder that uses them.
struct ModelEncoder {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat;
  data::SampleEncoder encoder;

  static ModelEncoder open(const DataOptions& options) {
    const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(find_model(options.model)).base);
    auto tokenizer = checkpoint.tokenizer();
    auto chat = checkpoint.chat_template();
    data::SampleOptions sample;
    sample.cutoff_length = options.cutoff_length;
    sample.train_on_prompt = options.train_on_prompt;
    data::SampleEncoder encoder(*tokenizer, chat.get(), sample);
    return {std::move(tokenizer), std::move(chat), std::move(encoder)};
  }
};

void print_counts(const char* label, const Json& counts) {
  std::string line;
  for (const auto& [name, count] : counts.items())
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", name, count.get<int64_t>());
  fmt::print("{:<16} {}\n", label, line.empty() ? "none" : line);
}

void print_lengths(const std::string& label, const Json& lengths) {
  if (lengths.is_null()) return;
  fmt::print("{:<16} {} in all; mean {}, median {}, 95 % up to {}, longest {}\n", label, lengths["sum"].get<int64_t>(),
             format_number(lengths["mean"]), lengths["median"].get<int64_t>(), lengths["p95"].get<int64_t>(),
             lengths["max"].get<int64_t>());
}

// A problem as it stands, or which row repeats which.
std::string entry(const Json& item) {
  if (item.is_string()) return item.get<std::string>();
  return fmt::format("{} repeats {} ({:.0f} %)", item["row"].get<std::string>(), item["repeats"].get<std::string>(),
                     100 * item["similarity"].get<double>());
}

void print_list(const char* label, const Json& list, size_t most = 10) {
  if (list.empty()) return;
  fmt::print("{}:\n", label);
  for (size_t i = 0; i < list.size() && i < most; ++i) fmt::print("  {}\n", entry(list[i]));
  if (list.size() > most) fmt::print("  … and more, in the report\n");
}

void print_inspection(const Json& report) {
  fmt::print("{:<16} {} ({} good, {} bad)\n", "rows", report["rows"].get<int64_t>(), report["rows_good"].get<int64_t>(),
             report["rows_bad"].get<int64_t>());
  print_counts("columns", report["columns"]);
  print_counts("forms", report["forms"]);
  print_counts("languages", report["languages"]);
  for (const auto& [part, lengths] : report["characters"].items()) print_lengths(part + " (chars)", lengths);
  if (report.contains("tokens")) {
    print_lengths("tokens", report["tokens"]);
    print_lengths("with loss", report["label_tokens"]);
    fmt::print("{:<16} {}\n", "truncated", report["rows_truncated"].get<int64_t>());
  }
  fmt::print("{:<16} {}\n", "repetitions", report["exact_repetitions"].get<int64_t>());
  print_list("problems", report["problems"]);
  for (const Json& example : report["examples"]) {
    fmt::print("\n{}\n", example["row"].get<std::string>());
    if (example.contains("text")) fmt::print("  {}\n", example["text"].get<std::string>());
    if (!example.contains("messages")) continue;
    for (const Json& message : example["messages"])
      fmt::print("  {}: {}\n", message["role"].get<std::string>(), message["content"].get<std::string>());
  }
}

void run_inspect(const DataOptions& options) {
  std::optional<ModelEncoder> model;
  if (!options.model.empty()) model.emplace(ModelEncoder::open(options));
  const Json report = data::inspect(options.files(), model ? &model->encoder : nullptr);
  if (options.json)
    print_json(report);
  else
    print_inspection(report);
}

// The figures of a report on one line, then what was dropped.
void print_step(const DataOptions& options, const Json& report) {
  if (options.json) return print_json(report);
  std::string line;
  for (const auto& [name, value] : report.items()) {
    const bool figure = value.is_number_integer() && name != "seed";
    if (!figure) continue;
    std::string words = name;
    for (char& c : words) c = c == '_' ? ' ' : c;
    line += fmt::format("{}{} {}", line.empty() ? "" : ", ", words, value.get<int64_t>());
  }
  fmt::print("{}\n", line);
  if (report.contains("dropped")) print_list("dropped", report["dropped"], 5);
  fmt::print("written: {}, {}\n", options.output, data::report_path(options.output).string());
}

void run_dedup(DataOptions options) {
  options.dedup.near = !options.exact_only;
  print_step(options, data::dedup(options.files(), options.dedup, options.by_column));
}

Json row_as_json(const data::Conversation& row, const data::Sample& sample, const std::string& shown) {
  return {{"row", row.origin.to_string()}, {"ids", sample.ids}, {"labels", sample.labels}, {"shown", shown}};
}

void run_show(const DataOptions& options) {
  ModelEncoder model = ModelEncoder::open(options);
  const data::ColumnNames names = options.column_names();
  const bool colour = !options.json && color_terminal();
  Json all = Json::array();
  int64_t number = 0, shown = 0;
  for (const std::string& input : options.inputs) {
    data::RowReader reader(input);
    while (shown < options.rows) {
      const auto row = reader.next();
      if (!row) break;
      if (++number < options.first_row) continue;
      ++shown;
      const data::Conversation conversation = data::to_conversation(*row, names);
      const data::Sample sample = model.encoder.encode(conversation);
      const std::string text = data::show_mask(*model.tokenizer, sample, colour);
      if (options.json) {
        all.push_back(row_as_json(conversation, sample, text));
        continue;
      }
      int64_t trained = 0;
      for (const int32_t label : sample.labels) trained += label != data::kIgnored;
      fmt::print("── {}: {} tokens, {} with loss\n{}\n\n", conversation.origin.to_string(), sample.ids.size(), trained,
                 text);
    }
  }
  if (shown == 0)
    throw Error(fmt::format("there is no row {}: the input has {}", options.first_row, number), "give a smaller --row");
  if (options.json) print_json(all);
}

Flags add_step(Flags app, const char* name, const char* summary, const char* example, const Options& options,
               bool writes) {
  Flags step = app.add_subcommand(name, summary);
  step->footer(std::string("example: sedum data ") + example);
  step->add_option("--input", options->inputs, "JSONL, JSON array or .txt; may be repeated")->required();
  Option out = step->add_option("--out", options->output, writes ? "JSONL" : "where the report goes, as JSON");
  if (writes) out->required();
  step->add_option("--columns", options->columns, "other names of columns: prompt=question,response=answer")
      ->delimiter(',');
  step->add_flag("--json", options->json, "the report as JSON");
  return step;
}

void add_model(Flags step, const Options& options, bool required) {
  Option model = step->add_option("-m,--model", options->model, "whose tokenizer and chat template are used");
  if (required) model->required();
  step->add_option("--cutoff-len", options->cutoff_length, "tokens after which a row is cut")->check(non_negative());
  step->add_flag("--train-on-prompt", options->train_on_prompt, "loss on the prompt, too");
}

void run_pack(const DataOptions& options) {
  ModelEncoder model = ModelEncoder::open(options);
  const data::PackReport report =
      data::pack_tokens({options.inputs.begin(), options.inputs.end()}, model.encoder, *model.tokenizer, options.output,
                        {.shard_tokens = options.shard_tokens});
  if (options.json)
    return print_json({{"out", options.output},
                       {"tokens", report.tokens},
                       {"documents", report.documents},
                       {"shards", report.shards}});
  fmt::print("{}: {} tokens of {} documents in {} shards\n", options.output, format_number(double(report.tokens)),
             format_number(double(report.documents)), report.shards);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(data) {
  using namespace sedum::cli;
  auto options = std::make_shared<DataOptions>();
  app.require_subcommand(1);
  app.footer("example: sedum data inspect --input mine.jsonl --model smollm2-135m");

  Flags inspect = add_step(app, "inspect", "counts, lengths, languages, mistakes, examples",
                           "inspect --input mine.jsonl --model smollm2-135m", options, false);
  add_model(inspect, options, false);

  Flags clean = add_step(app, "clean", "normalises white space and control characters, drops empty rows",
                         "clean --input raw.json --out clean.jsonl", options, true);

  Flags dedup = add_step(app, "dedup", "drops rows that repeat an earlier one, exactly or nearly",
                         "dedup --input clean.jsonl --out unique.jsonl --threshold 0.8", options, true);
  dedup->add_option("--threshold", options->dedup.threshold, "similarity from which a row is a repetition")
      ->capture_default_str();
  dedup->add_flag("--exact", options->exact_only, "exact repetitions only");
  dedup->add_option("--by", options->by_column, "compare this column instead of everything that is said");

  Flags split =
      add_step(app, "split", "holds rows out to measure on",
               "split --input unique.jsonl --out train.jsonl --eval-out eval.jsonl --by family", options, true);
  split->add_option("--eval-out", options->eval_output, "JSONL of the held-out rows")->required();
  split->add_option("--eval-fraction", options->split.eval_fraction, "their share")->capture_default_str();
  split->add_option("--by", options->by_column,
                    "keep rows with the same value in this column together (default: the question)");
  split->add_option("--seed", options->split.seed, "another seed holds out other rows")->capture_default_str();

  Flags show = add_step(app, "show", "rows as the model will see them, the part with loss in green or between ⟦ and ⟧",
                        "show --input train.jsonl --model smollm2-135m --row 17", options, false);
  add_model(show, options, true);
  show->remove_option(show->get_option("--out"));
  show->add_option("--row", options->first_row, "the first row to show")->capture_default_str()->check(positive());
  show->add_option("--count", options->rows, "how many")->capture_default_str()->check(positive());

  Flags pack = add_step(app, "pack", "texts as shards of token ids, for pre-training on more than memory holds",
                        "pack --input stories.txt --model smollm2-135m --out tokens", options, true);
  add_model(pack, options, true);
  pack->get_option("--out")->description("a folder");
  pack->add_option("--shard-tokens", options->shard_tokens, "tokens of one file")
      ->capture_default_str()
      ->check(positive());

  return [=] {
    sedum::Progress::silence(options->json);
    if (inspect.parsed()) run_inspect(*options);
    if (clean.parsed()) print_step(*options, sedum::data::clean(options->files()));
    if (dedup.parsed()) run_dedup(*options);
    if (split.parsed())
      print_step(*options,
                 sedum::data::split(options->files(), options->eval_output, options->split, options->by_column));
    if (show.parsed()) run_show(*options);
    if (pack.parsed()) options->train_on_prompt = true, run_pack(*options);
  };
}
