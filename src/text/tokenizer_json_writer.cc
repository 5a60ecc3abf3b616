
#include "base/json.h"
#include "text/pre_tokenizer.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace sedum {

namespace {

using OrderedJson = nlohmann::ordered_json;

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

namespace {

// Ids and texts, added tokens too: `tokenizers` numbers those that a vocabulary does not have anew. An object that is appended to directly, since looking a key up is linear in an ordered one.
OrderedJson vocabulary(const TokenizerSpec& spec) {
  OrderedJson vocab = OrderedJson::object();
  auto& object = vocab.get_ref<OrderedJson::object_t&>();
  for (size_t id = 0; id < spec.tokens.size(); id++)
    if (!spec.tokens[id].empty()) object.emplace_back(spec.tokens[id], id);
  return vocab;
}

void write_byte_level(const TokenizerSpec& spec, OrderedJson& json) {
  OrderedJson stages = OrderedJson::array();
  json["normalizer"] = spec.nfc ? OrderedJson{{"type", "NFC"}} : OrderedJson();
  for (const std::string& pattern :
       spec.pre_tokenizer.empty() ? spec.patterns : pre_tokenizer_patterns(spec.pre_tokenizer))
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
                   {"vocab", vocabulary(spec)},
                   {"merges", spec.merges}};
}

// The parts as they were read, with the vocabulary put back.
void write_components(const TokenizerSpec& spec, OrderedJson& json) {
  OrderedJson parts = parse_json<OrderedJson>(spec.components), model = parts.at("model");
  for (const char* key : {"truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"})
    json[key] = parts.value(key, OrderedJson());
  if (model.at("type") == "Unigram") {
    OrderedJson vocab = OrderedJson::array();
    for (size_t id = 0; id < spec.scores.size(); id++) vocab.push_back({spec.tokens[id], spec.scores[id]});
    model["vocab"] = std::move(vocab);
  } else {
    model["vocab"] = vocabulary(spec);
  }
  if (model.at("type") == "BPE") model["merges"] = spec.merges;
  json["model"] = std::move(model);
}

}  // namespace

std::string write_tokenizer_json(const TokenizerSpec& spec) {
  if (spec.model.starts_with("sentencepiece-"))
    return write_tokenizer_json(sentencepiece_components(spec));  // which adds the unknown token
  OrderedJson json = {
      {"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", OrderedJson::array()}};
  for (const AddedToken& t : spec.added) {
    json["added_tokens"].push_back({{"id", t.id},
                                    {"content", t.text},
                                    {"single_word", t.single_word},
                                    {"lstrip", t.lstrip},
                                    {"rstrip", t.rstrip},
                                    {"normalized", t.normalized},
                                    {"special", t.special}});
  }
  if (spec.model == "components")
    write_components(spec, json);
  else
    write_byte_level(spec, json);
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace sedum
