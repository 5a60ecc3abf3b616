// sedum tokenize, sedum detokenize

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/tokenizer_file.h"
#include "model/checkpoint/gguf_tokenizer.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace sedum::cli {
namespace {

bool holds_gguf(const std::filesystem::path& path) { return path.extension() == ".gguf"; }

}  // namespace

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name) {
  const std::filesystem::path path = find_model(name);
  const std::string extension = path.extension().string();
  if (path.filename() == "vocab.json")
    return std::make_shared<const Tokenizer>(read_vocab_and_merges(path, path.parent_path() / "merges.txt"));
  if (extension == ".json") return std::make_shared<const Tokenizer>(read_tokenizer_json(path));
  if (extension == ".model") return std::make_shared<const Tokenizer>(read_sentencepiece(path));
  if (extension == ".txt") return std::make_shared<const Tokenizer>(read_vocab_txt(path));
  // A GGUF file may hold a vocabulary and no model.
  if (holds_gguf(path)) return std::make_shared<const Tokenizer>(read_gguf_tokenizer(GgufFile(path)));
  // A folder may hold a tokenizer and no model.
  if (std::filesystem::exists(path / "tokenizer.json") && !std::filesystem::exists(path / "config.json"))
    return std::make_shared<const Tokenizer>(read_tokenizer_json(path / "tokenizer.json"));
  return Checkpoint::open(resolve_model_path(path).base).tokenizer();
}

}  // namespace sedum::cli

SEDUM_COMMAND(tokenize) {
  struct Options {
    std::string model, text, file;
    bool no_special = false, json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "a model, or a tokenizer.json, .model, vocab.txt or vocab.json")->required();
  const Option text = app.add_option("--text", o->text, "the text");
  app.add_option("--file", o->file, "a file with the text")->excludes(text);
  app.add_flag("--no-special", o->no_special, "no BOS or EOS, and special tokens in the text are plain text");
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("example: sedum tokenize --model smollm2-135m --text \"Water it less.\"");
  return [o, text] {
    if (text->count() == 0 && o->file.empty()) throw UsageError("there is no text", "give --text or --file");
    const auto tokenizer = open_tokenizer(o->model);
    const std::string content = o->file.empty() ? o->text : read_file(o->file);
    const auto ids = tokenizer->encode(content, {.add_special = !o->no_special, .parse_special = !o->no_special});
    if (o->json) {
      nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
      for (const int32_t id : ids) tokens.push_back(std::string(tokenizer->token_bytes(id)));
      return print_json({{"ids", ids}, {"tokens", tokens}, {"count", ids.size()}});
    }
    fmt::print("{}\n", fmt::join(ids, " "));
  };
}

SEDUM_COMMAND(detokenize) {
  struct Options {
    std::string model, ids;
    bool skip_special = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "a model, or a tokenizer.json, .model, vocab.txt or vocab.json")->required();
  app.add_option("--ids", o->ids, "the ids: \"1 2 3\"")->required();
  app.add_flag("--skip-special", o->skip_special, "leave special tokens out");
  app.footer("example: sedum detokenize --model smollm2-135m --ids \"19 2\"");
  return [o] { fmt::print("{}\n", open_tokenizer(o->model)->decode(parse_ids(o->ids), o->skip_special)); };
}
