// sedum tokenizer train, sedum tokenizer bench

#include <algorithm>
#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/tokenizer_file.h"
#include "text/tokenizer_json.h"
#include "text/training/tokenizer_trainer.h"

namespace sedum::cli {
namespace {

struct TrainOptions {
  TokenizerTraining training;
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  bool cased = false, json = false;
  int threads = 0;
};

// What a tokenizer makes of the text it was trained on: characters for each token.
nlohmann::ordered_json write_trained(const TrainOptions& o, const TokenizerTrainingResult& result) {
  std::filesystem::create_directories(o.output);
  write_file(o.output / "tokenizer.json", write_tokenizer_json(result.spec));
  nlohmann::ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                   {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, int32_t id) {
    if (id >= 0) config[key] = result.spec.tokens[size_t(id)];
  };
  name("bos_token", result.spec.bos), name("eos_token", result.spec.eos);
  name("unk_token", result.spec.unk), name("pad_token", result.spec.pad);
  write_file(o.output / "tokenizer_config.json", config.dump(2) + "\n");
  nlohmann::ordered_json report = {{"type", o.training.type},
                                   {"vocab_size", result.spec.tokens.size()},
                                   {"merges", result.spec.merges.size()},
                                   {"words", result.words},
                                   {"distinct_words", result.distinct_words}};
  if (o.training.type == "unigram") report["loss_per_word"] = result.loss;
  report["written"] = (o.output / "tokenizer.json").string();
  return report;
}

void run_train(TrainOptions& o) {
  ThreadPool pool(o.threads);
  o.training.lowercase = !o.cased;
  const nlohmann::ordered_json report = write_trained(o, train_tokenizer(o.inputs, o.training, pool));
  if (o.json) return print_json(report);
  fmt::print("{} tokens from {} words ({} distinct): {}\n", report["vocab_size"].dump(), report["words"].dump(),
             report["distinct_words"].dump(), report["written"].get<std::string>());
}

struct BenchOptions {
  std::string model, file;
  double seconds = 1;
  bool lines = false, json = false;
};

// Encodes the file again and again, whole or line by line, on one thread; the median of the passes counts.
void run_bench(const BenchOptions& o) {
  const auto tokenizer = open_tokenizer(o.model);
  const std::string text = read_file(o.file);
  std::vector<std::string_view> parts = {text};
  if (o.lines) {
    parts.clear();
    for (std::string_view rest = text; !rest.empty();) {
      const size_t end = std::min(rest.find('\n'), rest.size() - 1) + 1;
      parts.push_back(rest.substr(0, end));
      rest.remove_prefix(end);
    }
  }
  using Clock = std::chrono::steady_clock;
  std::vector<double> passes;
  size_t tokens = 0;
  for (const auto begin = Clock::now();
       passes.size() < 3 || Clock::now() - begin < std::chrono::duration<double>(o.seconds);) {
    const auto start = Clock::now();
    tokens = 0;
    for (const std::string_view part : parts)
      tokens += tokenizer->encode(part, {.add_special = false, .parse_special = false}).size();
    passes.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(passes.begin(), passes.begin() + ptrdiff_t(passes.size() / 2), passes.end());
  const double rate = double(text.size()) / 1e6 / passes[passes.size() / 2];
  if (o.json)
    return print_json({{"mb_s", rate}, {"bytes", text.size()}, {"tokens", tokens}, {"passes", passes.size()}});
  fmt::print("{:.1f} MB/s on one thread: {} bytes, {} tokens\n", rate, text.size(), tokens);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(tokenizer) {
  using namespace sedum::cli;
  auto o = std::make_shared<TrainOptions>();
  app.require_subcommand(1);
  app.footer("example: sedum tokenizer train --type bpe --vocab-size 8000 --input book.txt --out my-tokenizer");
  Flags train = app.add_subcommand("train", "a tokenizer of one's own, from text files");
  train->add_option("--type", o->training.type, "bpe (byte-level), unigram or wordpiece")
      ->capture_default_str()
      ->check(one_of({"bpe", "unigram", "wordpiece"}));
  train->add_option("--vocab-size", o->training.vocab_size, "tokens, special ones included")
      ->capture_default_str()
      ->check(positive());
  train->add_option("--input", o->inputs, "text files, each of any size")->required()->check(existing_file());
  train->add_option("--out", o->output, "the folder for tokenizer.json")->required();
  train->add_option("--pre-tokenizer", o->training.pre_tokenizer, "bpe: how words are cut, by GGUF's names")
      ->capture_default_str();
  train->add_option("--min-frequency", o->training.min_frequency, "of a pair that is merged")->capture_default_str();
  train->add_option("--special", o->training.special_tokens, "special tokens, in place of the usual ones");
  train->add_flag("--cased", o->cased, "wordpiece: keep capitals and accents");
  train->add_option("--threads", o->threads, "0: all")->capture_default_str();
  train->add_flag("--json", o->json, "one JSON object");
  train->footer("example: sedum tokenizer train --type bpe --vocab-size 8000 --input book.txt --out my-tokenizer");
  auto b = std::make_shared<BenchOptions>();
  Flags bench = app.add_subcommand("bench", "how fast a tokenizer encodes, on one thread");
  bench->add_option("-m,--model", b->model, "a model, or a tokenizer.json, .model, vocab.txt or vocab.json")
      ->required();
  bench->add_option("--file", b->file, "a text file")->required()->check(existing_file());
  bench->add_option("--seconds", b->seconds, "how long to repeat")->capture_default_str();
  bench->add_flag("--lines", b->lines, "each line on its own");
  bench->add_flag("--json", b->json, "one JSON object");
  bench->footer("example: sedum tokenizer bench --model smollm2-135m --file book.txt");
  return [=] {
    if (train.parsed()) run_train(*o);
    if (bench.parsed()) run_bench(*b);
  };
}
