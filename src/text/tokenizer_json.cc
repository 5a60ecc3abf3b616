#include "text/tokenizer_json.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace sedum {

namespace {

using Json = nlohmann::json;  // the ordered kind looks keys up one by one: quadratic for a vocabulary
using OrderedJson = nlohmann::ordered_json;
namespace fs = std::filesystem;

const std::string kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string kDigitPattern = R"(\p{N})";
std::string qwen2_pattern(const std::string& digits) {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// The patterns of what is written by hand.
std::vector<std::string> patterns_of(const std::string& pre_tokenizer) {
  if (pre_tokenizer == "gpt-2") return {kGpt2Pattern};
  if (pre_tokenizer == "smollm") return {kDigitPattern, kGpt2Pattern};
  if (pre_tokenizer == "qwen2") return {qwen2_pattern(R"(\p{N})")};
  if (pre_tokenizer == "llama-bpe") return {qwen2_pattern(R"(\p{N}{1,3})")};
  return {};
}

std::string escape_pattern(const std::string& literal) {
  std::string out;
  for (char c : literal) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) out += '\\';
    out += c;
  }
  return out;
}

class Reader {
 public:
  Reader(std::string_view text, std::string_view config, const std::string& name) : name_(name) {
    json_ = parse(text, name);
    if (!config.empty()) config_ = parse(config, "tokenizer_config.json");
  }

  TokenizerSpec read() {
    read_model();
    read_added_tokens();
    read_normalizer(at(json_, "normalizer"));
    read_pre_tokenizer(at(json_, "pre_tokenizer"));
    read_post_processor(at(json_, "post_processor"));
    read_config();
    return std::move(spec_);
  }

 private:
  static const Json& at(const Json& object, const char* key) {
    static const Json null;
    const auto found = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && found != object.end() ? *found : null;
  }
  static Json parse(std::string_view text, const std::string& name) {
    try {
      Json json = Json::parse(text);
      if (!json.is_object()) throw Error(name + ": is no JSON object");
      return json;
    } catch (const nlohmann::json::exception& e) {
      throw Error(name + ": " + e.what(), "the file is damaged; fetch it again");
    }
  }
  [[noreturn]] void fail(const std::string& problem) const { throw Error(name_ + ": " + problem); }
  [[noreturn]] void not_supported(const std::string& what, const Json& value) const {
    std::string shown = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (shown.size() > 120) shown.resize(120);
    fail(what + " is not supported here: " + unicode::replace_invalid(shown));
  }
  std::string type_of(const Json& object) const {
    const Json& type = at(object, "type");
    return type.is_string() ? type.get<std::string>() : std::string();
  }
  static bool flag(const Json& object, const char* key, bool otherwise = false) {
    const Json& value = at(object, key);
    return value.is_boolean() ? value.get<bool>() : otherwise;
  }
  static bool is_empty(const Json& value) {
    return value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
  }

  void put_token(const std::string& text, const Json& id_value, size_t expected) {
    if (!id_value.is_number_integer()) fail("the id of token \"" + text + "\" is no integer");
    const int64_t id = id_value.get<int64_t>();
    // Holes are allowed, but no allocation far beyond what the file holds.
    if (id < 0 || id >= int64_t(2 * expected + 1'000'000))
      fail("token \"" + text + "\" has the id " + std::to_string(id));
    if (size_t(id) >= spec_.tokens.size()) {
      spec_.tokens.resize(size_t(id) + 1);
      spec_.kinds.resize(size_t(id) + 1, TokenKind::kUnused);
    }
    spec_.tokens[size_t(id)] = text;
    spec_.kinds[size_t(id)] = TokenKind::kNormal;
  }

  void read_model() {
    const Json& model = at(json_, "model");
    const Json& vocab = at(model, "vocab");
    const std::string type = model.contains("type") ? type_of(model) : "BPE";
    if (type != "BPE" || flag(model, "byte_fallback")) {
      throw Error(name_ + ": the model type \"" + type +
                      (flag(model, "byte_fallback") ? "\" with byte_fallback" : "\"") + " is not supported",
                  "supported: byte-level BPE");
    }
    if (!vocab.is_object()) fail("model.vocab is no object");
    if (!at(model, "dropout").is_null() && at(model, "dropout") != 0.0)
      not_supported("model.dropout", at(model, "dropout"));
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!is_empty(at(model, key))) not_supported(std::string("model.") + key, at(model, key));
    for (const auto& [text, id] : vocab.items()) put_token(text, id, vocab.size());
    const Json& merges = at(model, "merges");
    if (!merges.is_array()) fail("model.merges is no array");
    for (const Json& merge : merges) spec_.merges.push_back(read_merge(merge));
    spec_.ignore_merges = flag(model, "ignore_merges");
    if (const Json& unk = at(model, "unk_token"); unk.is_string()) spec_.unk = find(unk.get<std::string>());
  }

  std::string read_merge(const Json& merge) const {
    if (merge.is_string()) return merge.get<std::string>();
    if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string())
      not_supported("a merge", merge);
    const auto left = merge[0].get<std::string>(), right = merge[1].get<std::string>();
    if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos)
      not_supported("a merge with a space", merge);
    return left + " " + right;
  }

  void read_added_tokens() {
    const Json& added = at(json_, "added_tokens");
    if (!added.is_null() && !added.is_array()) fail("added_tokens is no array");
    for (const Json& entry : added) {
      const Json& content = at(entry, "content");
      if (!content.is_string()) fail("an added token has no content");
      add_token(content.get<std::string>(), at(entry, "id"), entry, added.size());
    }
  }

  void add_token(const std::string& text, const Json& id, const Json& entry, size_t count) {
    put_token(text, id, spec_.tokens.size() + count);
    AddedToken token;
    token.text = text;
    token.id = id.get<int32_t>();
    token.special = flag(entry, "special");
    token.lstrip = flag(entry, "lstrip");
    token.rstrip = flag(entry, "rstrip");
    token.single_word = flag(entry, "single_word");
    token.normalized = flag(entry, "normalized", !token.special);
    spec_.kinds[size_t(token.id)] = token.special ? TokenKind::kControl : TokenKind::kUserDefined;
    spec_.added.push_back(token);
  }

  void read_normalizer(const Json& normalizer) {
    const std::string type = type_of(normalizer);
    if (normalizer.is_null()) return;
    if (type == "NFC") {
      spec_.nfc = true;
    } else if (type == "Sequence") {
      for (const Json& part : at(normalizer, "normalizers")) read_normalizer(part);
    } else {
      not_supported("the normalizer", normalizer);
    }
  }

  void read_pre_tokenizer(const Json& pre_tokenizer) {
    std::vector<const Json*> stages;
    if (type_of(pre_tokenizer) == "Sequence") {
      for (const Json& part : at(pre_tokenizer, "pretokenizers")) stages.push_back(&part);
    } else {
      stages.push_back(&pre_tokenizer);
    }
    if (stages.empty() || type_of(*stages.back()) != "ByteLevel")
      not_supported("the pre-tokenizer (no ByteLevel at its end)", pre_tokenizer);
    for (const Json* stage : stages) add_stage(*stage);
    spec_.add_prefix_space = flag(*stages.back(), "add_prefix_space", true);
    if (spec_.add_prefix_space && stages.size() > 1)
      not_supported("add_prefix_space after other pre-tokenizers", pre_tokenizer);
    for (const char* known : {"gpt-2", "smollm", "qwen2", "llama-bpe"}) {
      if (spec_.patterns != patterns_of(known)) continue;
      spec_.pre_tokenizer = known;
      spec_.patterns.clear();
      break;
    }
  }

  void add_stage(const Json& stage) {
    const std::string type = type_of(stage);
    if (type == "ByteLevel") {
      if (flag(stage, "use_regex", true)) spec_.patterns.push_back(kGpt2Pattern);
    } else if (type == "Digits") {
      spec_.patterns.push_back(flag(stage, "individual_digits") ? kDigitPattern : kDigitPattern + "+");
    } else if (type == "Split") {
      add_split(stage);
    } else {
      not_supported("the pre-tokenizer", stage);
    }
  }

  void add_split(const Json& stage) {
    const Json &regex = at(at(stage, "pattern"), "Regex"), &literal = at(at(stage, "pattern"), "String");
    const Json& behavior = at(stage, "behavior");
    const bool invert = flag(stage, "invert");
    // Removing what does not match leaves the matches, which is what isolating does for a pattern that covers everything.
    const bool isolates = (behavior == "Isolated" && !invert) || (behavior == "Removed" && invert);
    if (!isolates) not_supported("this behavior of a Split", stage);
    if (regex.is_string()) {
      spec_.patterns.push_back(regex.get<std::string>());
    } else if (literal.is_string()) {
      spec_.patterns.push_back(escape_pattern(literal.get<std::string>()));
    } else {
      not_supported("the pattern of a Split", stage);
    }
  }

  void read_post_processor(const Json& processor) {
    const std::string type = type_of(processor);
    if (processor.is_null() || type == "ByteLevel") return;
    if (type == "Sequence") {
      for (const Json& part : at(processor, "processors")) read_post_processor(part);
    } else if (type == "TemplateProcessing") {
      read_template_processing(processor);
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      spec_.bos = find(pair_name(processor, "cls"));
      spec_.eos = find(pair_name(processor, "sep"));
      spec_.add_bos = spec_.add_eos = post_processed_ = true;
    } else {
      not_supported("the post-processor", processor);
    }
  }

  std::string pair_name(const Json& processor, const char* key) const {
    const Json& pair = at(processor, key);
    if (!pair.is_array() || pair.empty() || !pair[0].is_string()) not_supported("the post-processor", processor);
    return pair[0].get<std::string>();
  }

  void read_template_processing(const Json& processor) {
    post_processed_ = true;
    bool behind = false;
    for (const Json& item : at(processor, "single")) {
      if (item.contains("Sequence")) {
        behind = true;
        continue;
      }
      const Json& name = at(at(item, "SpecialToken"), "id");
      if (!name.is_string() || (behind ? spec_.add_eos : spec_.add_bos))
        not_supported("this TemplateProcessing", at(processor, "single"));
      (behind ? spec_.eos : spec_.bos) = find(name.get<std::string>());
      (behind ? spec_.add_eos : spec_.add_bos) = true;
    }
  }

  int32_t find(const std::string& text) const {
    for (const AddedToken& token : spec_.added)
      if (token.text == text) return token.id;
    const auto found = std::find(spec_.tokens.begin(), spec_.tokens.end(), text);
    return found == spec_.tokens.end() ? -1 : int32_t(found - spec_.tokens.begin());
  }

  void read_config() {
    if (const Json& decoder = at(config_, "added_tokens_decoder"); decoder.is_object()) {
      for (const auto& [id, entry] : decoder.items()) {
        const Json& content = at(entry, "content");
        if (content.is_string() && find(content.get<std::string>()) < 0 && !id.empty() && id.size() < 9 &&
            id.find_first_not_of("0123456789") == std::string::npos) {
          add_token(content.get<std::string>(), Json(std::stoll(id)), entry, decoder.size());
        }
      }
    }
    read_name("bos_token", spec_.bos), read_name("eos_token", spec_.eos);
    read_name("unk_token", spec_.unk), read_name("pad_token", spec_.pad);
    if (!post_processed_) {
      spec_.add_bos = flag(config_, "add_bos_token");
      spec_.add_eos = flag(config_, "add_eos_token");
    }
    const Json& chat = at(config_, "chat_template");
    if (chat.is_string()) spec_.chat_template = chat.get<std::string>();
    if (!chat.is_array()) return;
    for (const Json& named : chat)
      if (at(named, "name") == "default" && at(named, "template").is_string())
        spec_.chat_template = at(named, "template").get<std::string>();
  }

  void read_name(const char* key, int32_t& id) const {
    const Json& value = at(config_, key);
    const Json& text = value.is_object() ? at(value, "content") : value;
    if (!text.is_string()) return;
    const int32_t found = find(text.get<std::string>());
    if (found >= 0) id = found;
  }

  std::string name_;
  Json json_, config_;
  TokenizerSpec spec_;
  bool post_processed_ = false;
};

std::string read_if_there(const fs::path& path) { return fs::exists(path) ? read_file(path) : std::string(); }

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view json, std::string_view config, const std::string& name) {
  return Reader(json, config, name).read();
}

TokenizerSpec read_tokenizer_json(const fs::path& path) {
  const MappedFile file(path);
  const std::string config = read_if_there(path.parent_path() / "tokenizer_config.json");
  TokenizerSpec spec = parse_tokenizer_json(file.text(), config, path.string());
  const std::string chat = read_if_there(path.parent_path() / "chat_template.jinja");
  if (!chat.empty()) spec.chat_template = chat;
  return spec;
}

TokenizerSpec read_vocab_and_merges(const fs::path& vocab_json, const fs::path& merges_txt,
                                    const std::string& pre_tokenizer) {
  const MappedFile vocab(vocab_json), merges(merges_txt);
  Json list = Json::array();
  std::string_view rest = merges.text();
  for (bool first = true; !rest.empty(); first = false) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !(first && line.starts_with("#version"))) list.push_back(std::string(line));
  }
  Json json, tokens = Json::array();
  try {
    json["model"] = {{"type", "BPE"}, {"vocab", Json::parse(vocab.text())}, {"merges", std::move(list)}};
  } catch (const nlohmann::json::exception& e) {
    throw Error(vocab_json.string() + ": " + e.what(), "the file is damaged; fetch it again");
  }
  const std::string end_of_text = "<|endoftext|>";
  const Json& ids = json["model"]["vocab"];
  if (ids.is_object() && ids.contains(end_of_text)) {
    tokens.push_back({{"id", ids[end_of_text]}, {"content", end_of_text}, {"special", true}, {"normalized", false}});
  }
  json["added_tokens"] = std::move(tokens);
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  Json config = {{"bos_token", end_of_text}, {"eos_token", end_of_text}};
  TokenizerSpec spec = Reader(json.dump(), config.dump(), vocab_json.string()).read();
  spec.pre_tokenizer = pre_tokenizer;
  apply_known_defaults(spec);
  return spec;
}

namespace {

OrderedJson template_processing(const TokenizerSpec& spec) {
  OrderedJson single = OrderedJson::array(), special = OrderedJson::object();
  const auto add = [&](bool wanted, int32_t id) {
    if (!wanted || id < 0) return;
    const std::string& text = spec.tokens.at(size_t(id));
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
  };
  add(spec.add_bos, spec.bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(spec.add_eos, spec.eos);
  if (special.empty()) return nullptr;
  const OrderedJson pair = {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                            {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}};
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

}  // namespace

std::string write_tokenizer_json(const TokenizerSpec& spec) {
  OrderedJson json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  OrderedJson added = OrderedJson::array(), vocab = OrderedJson::object(), stages = OrderedJson::array();
  for (const AddedToken& t : spec.added) {
    added.push_back({{"id", t.id},
                     {"content", t.text},
                     {"single_word", t.single_word},
                     {"lstrip", t.lstrip},
                     {"rstrip", t.rstrip},
                     {"normalized", t.normalized},
                     {"special", t.special}});
  }
  std::vector<bool> is_added(spec.tokens.size());
  for (const AddedToken& t : spec.added) is_added.at(size_t(t.id)) = true;
  auto& object =
      vocab.get_ref<OrderedJson::object_t&>();  // appended directly: looking a key up is linear in an ordered object
  for (size_t id = 0; id < spec.tokens.size(); id++)
    if (!is_added[id] && !spec.tokens[id].empty()) object.emplace_back(spec.tokens[id], id);
  json["added_tokens"] = std::move(added);
  json["normalizer"] = spec.nfc ? OrderedJson{{"type", "NFC"}} : OrderedJson();
  for (const std::string& pattern : spec.pre_tokenizer.empty()
                                        ? spec.patterns
                                        : patterns_of(std::string(canonical_pre_tokenizer(spec.pre_tokenizer))))
    stages.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  const OrderedJson byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  stages.push_back(byte_level);
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(stages)}};
  json["post_processor"] = template_processing(spec);
  json["decoder"] = byte_level;
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", spec.ignore_merges},
                   {"vocab", std::move(vocab)},
                   {"merges", spec.merges}};
  return json.dump();
}

}  // namespace sedum
