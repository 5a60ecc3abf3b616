#include "text/tokenizer_json.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "text/json_fields.h"
#include "text/pre_tokenizer.h"
#include "text/regex.h"

namespace sedum {

namespace {

using Json = nlohmann::json;  // the ordered kind looks keys up one by one: quadratic for a vocabulary
namespace fs = std::filesystem;

const std::string kDigitPattern = R"(\p{N})";

class Reader {
 public:
  Reader(std::string_view text, std::string_view config, const std::string& name) : name_(name) {
    json_ = parse(text, name);
    if (!config.empty()) config_ = parse(config, "tokenizer_config.json");
  }

  TokenizerSpec read() {
    const bool plain = is_byte_level();
    read_model();
    read_added_tokens();
    if (plain) {
      read_normalizer(at(json_, "normalizer"));
      read_pre_tokenizer(at(json_, "pre_tokenizer"));
      read_post_processor(at(json_, "post_processor"));
    } else {
      keep_components();
    }
    read_config();
    return std::move(spec_);
  }

 private:
  static const Json& at(const Json& object, const char* key) { return fields::at(object, key); }
  static bool flag(const Json& object, const char* key, bool otherwise = false) {
    return fields::flag(object, key, otherwise);
  }
  static std::string type_of(const Json& object) { return fields::text(object, "type"); }
  static Json parse(std::string_view text, const std::string& name) {
    try {
      Json json = parse_json(text);
      if (!json.is_object()) throw Error(name + ": is no JSON object");
      return json;
    } catch (const nlohmann::json::exception& e) {
      throw Error(name + ": " + e.what(), "the file is damaged; fetch it again");
    }
  }
  [[noreturn]] void fail(const std::string& problem) const { throw Error(name_ + ": " + problem); }
  [[noreturn]] void not_supported(const std::string& what, const Json& value) const {
    fields::not_supported(name_, what, value);
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

  // Whether the fields of TokenizerSpec say it all: byte-level BPE behind pre-tokenizers that isolate matches.
  bool is_byte_level() const {
    const Json& model = at(json_, "model");
    const auto empty = [&](const char* key) { return fields::text(model, key).empty(); };
    if (model_type(model) != "BPE" || flag(model, "byte_fallback") || flag(model, "fuse_unk")) return false;
    if (!empty("continuing_subword_prefix") || !empty("end_of_word_suffix")) return false;
    for (const char* limit : {"truncation", "padding"})
      if (!at(json_, limit).is_null()) return false;
    const auto all = [](const Json& part, const char* list, const auto& good) {
      if (fields::text(part, "type") != "Sequence") return part.is_null() || good(part);
      const Json& parts = at(part, list);
      return parts.is_array() && std::all_of(parts.begin(), parts.end(), good);
    };
    const auto one_of = [](std::initializer_list<const char*> types) {
      return [types = std::vector<std::string>(types.begin(), types.end())](const Json& part) {
        return std::find(types.begin(), types.end(), fields::text(part, "type")) != types.end();
      };
    };
    return all(at(json_, "normalizer"), "normalizers", one_of({"NFC"})) &&
           all(at(json_, "decoder"), "decoders", one_of({"ByteLevel"})) && isolates() &&
           all(at(json_, "post_processor"), "processors", [](const Json& part) { return is_simple_frame(part); });
  }

  // BOS before and EOS behind at most.
  static bool is_simple_frame(const Json& processor) {
    const std::string type = type_of(processor);
    if (type != "TemplateProcessing") return type == "ByteLevel";
    int before = 0, behind = 0, texts = 0;
    for (const Json& item : at(processor, "single")) {
      if (at(item, "Sequence").is_object())
        texts++;
      else
        (texts ? behind : before)++;
    }
    return before <= 1 && behind <= 1 && texts == 1;
  }

  bool isolates() const {
    const Json& pre_tokenizer = at(json_, "pre_tokenizer");
    std::vector<Json> stages = {pre_tokenizer};
    if (type_of(pre_tokenizer) == "Sequence" && at(pre_tokenizer, "pretokenizers").is_array())
      stages = at(pre_tokenizer, "pretokenizers").get<std::vector<Json>>();
    if (stages.empty() || type_of(stages.back()) != "ByteLevel") return false;
    if (flag(stages.back(), "add_prefix_space", true) && stages.size() > 1) return false;
    stages.pop_back();
    return std::all_of(stages.begin(), stages.end(), [](const Json& stage) {
      return type_of(stage) == "Digits" ||
             (type_of(stage) == "Split" && at(stage, "behavior") == "Isolated" && !flag(stage, "invert"));
    });
  }

  // The parts as they are, for the engine that puts them together; it says what it does not know.
  void keep_components() {
    Json parts = Json::object(), model = at(json_, "model");
    for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation", "padding"})
      parts[key] = at(json_, key);
    const std::string type = model_type(model);
    if (model.is_object()) model.erase("vocab"), model.erase("merges");
    model["type"] = type;
    parts["model"] = std::move(model);
    spec_.model = "components";
    spec_.components = parts.dump(-1, ' ', false, Json::error_handler_t::replace);
    post_processed_ = !at(json_, "post_processor").is_null();
  }

  // Files of old versions leave the type out.
  static std::string model_type(const Json& model) {
    const std::string type = type_of(model);
    if (!type.empty()) return type;
    if (at(model, "merges").is_array()) return "BPE";
    return at(model, "vocab").is_array()                       ? "Unigram"
           : at(model, "max_input_chars_per_word").is_number() ? "WordPiece"
                                                               : "WordLevel";
  }

  void read_model() {
    const Json& model = at(json_, "model");
    if (!model.is_object()) fail("has no model");
    const std::string type = model_type(model);
    if (!at(model, "dropout").is_null() && at(model, "dropout") != 0.0) not_supported("dropout", at(model, "dropout"));
    const Json& vocab = at(model, "vocab");
    if (type == "Unigram") {
      if (!vocab.is_array()) fail("model.vocab is no array");
      for (size_t id = 0; id < vocab.size(); id++) {
        const Json& entry = vocab[id];
        if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
          fail("model.vocab holds " + entry.dump());
        put_token(entry[0].get<std::string>(), Json(id), vocab.size());
        spec_.scores.push_back(entry[1].get<double>());
      }
      const int64_t unk = fields::number(model, "unk_id", -1);
      spec_.unk = unk >= 0 && unk < int64_t(vocab.size()) ? int32_t(unk) : -1;
      return;
    }
    if (!vocab.is_object()) fail("model.vocab is no object");
    for (const auto& [text, id] : vocab.items()) put_token(text, id, vocab.size());
    if (type == "BPE") {
      const Json& merges = at(model, "merges");
      if (!merges.is_array()) fail("model.merges is no array");
      for (const Json& merge : merges) spec_.merges.push_back(read_merge(merge));
      spec_.ignore_merges = flag(model, "ignore_merges");
    } else if (type != "WordPiece" && type != "WordLevel") {
      not_supported("the model", Json(type));
    }
    if (const std::string unk = fields::text(model, "unk_token"); !unk.empty()) spec_.unk = find(unk);
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
    spec_.pre_tokenizer = pre_tokenizer_of_patterns(spec_.patterns);
    if (!spec_.pre_tokenizer.empty()) spec_.patterns.clear();
  }

  void add_stage(const Json& stage) {
    const std::string type = type_of(stage);
    if (type == "ByteLevel") {
      if (flag(stage, "use_regex", true)) spec_.patterns.push_back(pre_tokenizer_patterns("gpt-2")[0]);
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
      spec_.patterns.push_back(Regex::escape(literal.get<std::string>()));
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
    } else {
      not_supported("the post-processor", processor);
    }
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

}  // namespace sedum
