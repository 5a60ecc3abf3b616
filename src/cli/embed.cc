// sedum embed

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "model/sentence_encoder.h"

namespace sedum::cli {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// How alike the texts are, as a table; of a single one, where its vector begins.
void print_likeness(const std::vector<std::string>& texts, const std::vector<std::vector<float>>& vectors) {
  for (size_t i = 0; i < texts.size(); ++i) {
    fmt::print("{:>3} ", i + 1);
    for (size_t j = 0; j < texts.size() && texts.size() > 1; ++j) {
      double product = 0;
      for (size_t d = 0; d < vectors[i].size(); ++d) product += double(vectors[i][d]) * double(vectors[j][d]);
      fmt::print(" {:6.3f}", product);
    }
    fmt::print("  {}\n", texts[i]);
  }
  if (texts.size() > 1) return;
  for (size_t d = 0; d < std::min<size_t>(8, vectors[0].size()); ++d) fmt::print(" {:.5f}", vectors[0][d]);
  fmt::print(" …  {} numbers\n", vectors[0].size());
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(embed) {
  struct Options {
    std::string model, file;
    std::vector<std::string> texts;
    int threads = 0;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "an encoder (BERT, RoBERTa, a sentence-transformers folder)")->required();
  app.add_option("--text", o->texts, "a text; may be given several times");
  app.add_option("--file", o->file, "a file with a text on each line");
  app.add_option("--threads", o->threads, "0: all")->check(in_range(0, 1024));
  app.add_flag("--json", o->json, "one JSON object with the vectors");
  app.footer(
      "example: sedum embed --model all-MiniLM-L6-v2 --text \"Water it rarely.\" --text \"It needs little water.\"");
  return [o] {
    std::vector<std::string> texts = o->texts;
    if (!o->file.empty())
      for (std::string& line : lines_of(read_file(o->file))) texts.push_back(std::move(line));
    if (texts.empty()) throw UsageError("there is no text", "give --text or --file");
    Runtime runtime(o->threads);
    const SentenceEncoder encoder(runtime, find_model(o->model));
    const std::vector<std::vector<float>> vectors = encoder.encode(texts);
    if (!o->json) return print_likeness(texts, vectors);
    std::vector<size_t> tokens;
    for (const std::string& text : texts) tokens.push_back(encoder.tokens(text).size());
    print_json({{"model", encoder.checkpoint().name()},
                {"dimensions", encoder.dimensions()},
                {"tokens", tokens},
                {"embeddings", vectors}});
  };
}
