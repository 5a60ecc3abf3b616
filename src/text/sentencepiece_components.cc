// SentencePiece's models in the form of tokenizer.json: merges that scores imply, normaliser and decoder as components.

#include <algorithm>

#include "base/json.h"
#include "text/sentencepiece.h"
#include "text/unicode.h"
#include "text/word_model.h"

namespace sedum {

namespace {

using Json = nlohmann::ordered_json;

// Every way to make a piece of two others, the best piece first.
std::vector<std::string> implied_merges(const TokenizerSpec& spec) {
  TokenIds ids;
  for (size_t id = 0; id < spec.tokens.size(); id++)
    if (spec.kinds[id] == TokenKind::kNormal) ids.emplace(spec.tokens[id], int32_t(id));
  std::vector<int32_t> order;
  for (const auto& [text, id] : ids) order.push_back(id);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const double x = spec.scores[size_t(a)], y = spec.scores[size_t(b)];
    return x != y ? x > y : a < b;
  });
  std::vector<std::string> merges;
  for (const int32_t id : order) {
    const std::string& piece = spec.tokens[size_t(id)];
    std::vector<std::pair<std::pair<int32_t, int32_t>, std::string>> ways;
    for (const char *begin = piece.data(), *p = begin, *end = p + piece.size(); p < end;) {
      p += unicode::decode(p, end).length;
      if (p >= end) break;
      const auto left = ids.find({begin, size_t(p - begin)}), right = ids.find({p, size_t(end - p)});
      if (left != ids.end() && right != ids.end())
        ways.push_back({{left->second, right->second}, std::string(left->first) + " " + std::string(right->first)});
    }
    std::sort(ways.begin(), ways.end());
    for (auto& [key, line] : ways) merges.push_back(std::move(line));
  }
  return merges;
}

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; j++)
      bits = bits << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (size_t j = 0; j < 4; j++) out += i + j < bytes.size() + 1 ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

Json replace(const char* kind, const char* pattern, const char* content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

Json post_processor(const TokenizerSpec& spec) {
  Json single = Json::array(), special = Json::object();
  const auto add = [&](bool wanted, int32_t id) {
    if (!wanted || id < 0) return;
    const std::string& text = spec.tokens[size_t(id)];
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
  };
  add(spec.add_bos, spec.bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(spec.add_eos, spec.eos);
  if (special.empty()) return nullptr;
  const Json pair =
      Json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "B"}, {"type_id", 0}}}}});
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

}  // namespace

TokenizerSpec sentencepiece_components(const TokenizerSpec& spec) {
  TokenizerSpec out = spec;
  const SentencePieceOptions& options = spec.sentencepiece;
  const bool prefix = options.add_dummy_prefix && !options.space_as_suffix;
  const std::string unknown = spec.unk >= 0 ? spec.tokens[size_t(spec.unk)] : "";
  Json parts, normalizers = Json::array(), decoders = Json::array();
  if (!options.charsmap.empty())
    normalizers.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64(options.charsmap)}});
  if (options.remove_extra_spaces) {
    normalizers.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
    normalizers.push_back(replace("Regex", " {2,}", " "));
  }
  if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
  normalizers.push_back(replace("String", " ", "▁"));
  parts["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}};
  parts["pre_tokenizer"] = nullptr;
  parts["post_processor"] = post_processor(spec);
  decoders.push_back(replace("String", "▁", " "));
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  parts["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
  if (spec.model == "sentencepiece-bpe") {
    out.merges = implied_merges(spec);
    parts["model"] = {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", unknown},
                      {"fuse_unk", true},
                      {"byte_fallback", options.byte_fallback},
                      {"ignore_merges", false}};
  } else {
    parts["model"] = {{"type", "Unigram"}, {"unk_id", spec.unk}, {"byte_fallback", options.byte_fallback}};
  }
  const auto is_unknown = [&](const AddedToken& token) { return token.id == spec.unk; };
  if (spec.unk >= 0 && std::none_of(out.added.begin(), out.added.end(), is_unknown)) {
    AddedToken token;
    token.text = unknown, token.id = spec.unk, token.special = true;
    out.added.push_back(token);
  }
  out.model = "components";
  out.components = parts.dump(-1, ' ', false, Json::error_handler_t::replace);
  return out;
}

}  // namespace sedum
