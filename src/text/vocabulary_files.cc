// The older files: vocab.json with merges.txt, and BERT's vocab.txt.

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer_json.h"

namespace sedum {

namespace {
using Json = nlohmann::json;
namespace fs = std::filesystem;

// Without line breaks, be they \n or \r\n.
std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}
}  // namespace

TokenizerSpec parse_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt,
                                     const std::string& pre_tokenizer, const std::string& name) {
  Json list = Json::array();
  bool first = true;
  for (const std::string& line : lines_of(merges_txt))
    if (!(std::exchange(first, false) && line.starts_with("#version")) && !line.empty()) list.push_back(line);
  Json json, tokens = Json::array();
  try {
    json["model"] = {{"type", "BPE"}, {"vocab", parse_json(vocab_json)}, {"merges", std::move(list)}};
  } catch (const nlohmann::json::exception& e) {
    throw Error(name + ": " + e.what(), "the file is damaged; fetch it again");
  }
  const std::string end_of_text = "<|endoftext|>";
  const Json& ids = json["model"]["vocab"];
  if (ids.is_object() && ids.contains(end_of_text)) {
    tokens.push_back({{"id", ids[end_of_text]}, {"content", end_of_text}, {"special", true}, {"normalized", false}});
  }
  json["added_tokens"] = std::move(tokens);
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  Json config = {{"bos_token", end_of_text}, {"eos_token", end_of_text}};
  TokenizerSpec spec =
      parse_tokenizer_json(json.dump(-1, ' ', false, Json::error_handler_t::replace), config.dump(), name);
  spec.pre_tokenizer = pre_tokenizer;
  apply_known_defaults(spec);
  return spec;
}

TokenizerSpec read_vocab_and_merges(const fs::path& vocab_json, const fs::path& merges_txt,
                                    const std::string& pre_tokenizer) {
  const MappedFile vocab(vocab_json), merges(merges_txt);
  return parse_vocab_and_merges(vocab.text(), merges.text(), pre_tokenizer, vocab_json.string());
}

TokenizerSpec bert_tokenizer(std::vector<std::string> tokens, const std::string& name, std::optional<bool> lowercase) {
  // Cased vocabularies have capital letters in words; lower-casing is what the others want.
  bool cased = false;
  Json vocab = Json::object(), added = Json::array();
  for (size_t id = 0; id < tokens.size(); id++) {
    const std::string& token = tokens[id];
    const bool bracketed = token.size() > 2 && token.front() == '[' && token.back() == ']';
    cased |= !bracketed && std::any_of(token.begin(), token.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (!token.empty()) vocab.emplace(token, id);
  }
  for (const char* special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    if (vocab.contains(special))
      added.push_back({{"id", vocab[special]}, {"content", special}, {"special", true}, {"normalized", false}});
  for (const char* special : {"[UNK]", "[CLS]", "[SEP]"})
    if (!vocab.contains(special)) throw Error(name + ": the vocabulary has no " + special, "is it BERT's?");
  Json json;
  const auto item = [](const char* what, const char* id, int type) {
    return Json{{what, {{"id", id}, {"type_id", type}}}};
  };
  const auto token = [&](const char* text) { return Json{{"id", text}, {"ids", {vocab[text]}}, {"tokens", {text}}}; };
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", true},
                        {"strip_accents", nullptr},
                        {"lowercase", lowercase.value_or(!cased)}};
  json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {item("SpecialToken", "[CLS]", 0), item("Sequence", "A", 0), item("SpecialToken", "[SEP]", 0)}},
      {"pair",
       {item("SpecialToken", "[CLS]", 0), item("Sequence", "A", 0), item("SpecialToken", "[SEP]", 0),
        item("Sequence", "B", 1), item("SpecialToken", "[SEP]", 1)}},
      {"special_tokens", {{"[CLS]", token("[CLS]")}, {"[SEP]", token("[SEP]")}}}};
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  json["added_tokens"] = std::move(added);
  json["model"] = {{"type", "WordPiece"},
                   {"unk_token", "[UNK]"},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", std::move(vocab)}};
  const Json config = {{"unk_token", "[UNK]"}, {"pad_token", "[PAD]"}, {"bos_token", "[CLS]"}, {"eos_token", "[SEP]"}};
  return parse_tokenizer_json(json.dump(-1, ' ', false, Json::error_handler_t::replace), config.dump(), name);
}

TokenizerSpec parse_vocab_txt(std::string_view text, const std::string& name) {
  return bert_tokenizer(lines_of(text), name);
}

TokenizerSpec read_vocab_txt(const fs::path& path) { return parse_vocab_txt(MappedFile(path).text(), path.string()); }

}  // namespace sedum
