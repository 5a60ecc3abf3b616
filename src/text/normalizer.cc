#include "text/normalizer.h"

#include <algorithm>
#include <memory>

#include "text/bpe.h"
#include "text/charsmap.h"
#include "text/json_fields.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace sedum {

namespace {

using fields::Json;

template <class Map>
std::string each_character(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    map(c.code, std::string_view(p, size_t(c.length)), out);
    p += c.length;
  }
  return out;
}

// What Hugging Face's parts do otherwise than Unicode 16: they have tables of the years 2015 and 2016. Nothing below U+061D is in them.
bool otherwise(const unicode::tables::Range* ranges, int count, char32_t code) {
  if (code < 0x61D) return false;
  const auto* end = ranges + count;
  const auto* found = std::lower_bound(ranges, end, code, [](const auto& range, char32_t c) { return range.last < c; });
  return found != end && found->first <= code;
}

// Cc, Cf and Co but for tab and line breaks.
bool is_bert_control(char32_t code) {
  if (code == '\t' || code == '\n' || code == '\r') return false;
  const unicode::Category c = unicode::category(code);
  if (c != unicode::Cc && c != unicode::Cf && c != unicode::Co && c != unicode::Cs) return false;
  return !otherwise(unicode::tables::kBertControlsOtherwise, unicode::tables::kBertControlsOtherwiseCount, code);
}

bool is_accent(char32_t code) {
  return unicode::is_mark(code) !=
         otherwise(unicode::tables::kAccentsOtherwise, unicode::tables::kAccentsOtherwiseCount, code);
}

bool is_bert_accent(char32_t code) {
  return (unicode::category(code) == unicode::Mn) !=
         otherwise(unicode::tables::kBertAccentsOtherwise, unicode::tables::kBertAccentsOtherwiseCount, code);
}

std::string without(std::string_view text, bool (*removed)(char32_t)) {
  return each_character(text, [removed](char32_t code, std::string_view bytes, std::string& out) {
    if (!removed(code)) out += bytes;
  });
}

std::string strip(std::string_view text, bool left, bool right) {
  const char *begin = text.data(), *end = begin + text.size(), *last = begin;
  while (left && begin < end) {
    const unicode::Decoded c = unicode::decode(begin, end);
    if (!unicode::is_space(c.code)) break;
    begin += c.length;
  }
  if (!right) return std::string(begin, end);
  last = begin;
  for (const char* p = begin; p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    p += c.length;
    if (!unicode::is_space(c.code)) last = p;
  }
  return std::string(begin, last);
}

// The cleaning of "Neural Machine Translation" that SentencePiece calls nmt: controls go, kinds of space become one.
std::string nmt(std::string_view text) {
  return each_character(text, [](char32_t code, std::string_view bytes, std::string& out) {
    const bool removed = (code >= 0x1 && code <= 0x8) || code == 0xB || (code >= 0xE && code <= 0x1F) || code == 0x7F ||
                         code == 0x8F || code == 0x9F;
    const bool space = code == 0x9 || code == 0xA || code == 0xC || code == 0xD || code == 0x1680 ||
                       (code >= 0x200B && code <= 0x200F) || code == 0x2028 || code == 0x2029 || code == 0x2581 ||
                       code == 0xFEFF || code == 0xFFFD;
    if (space)
      out += ' ';
    else if (!removed)
      out += bytes;
  });
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t at; (at = text.find(from, done)) != std::string_view::npos; done = at + from.size()) {
    out += text.substr(done, at - done);
    out += to;
  }
  return out += text.substr(done);
}

std::string base64_decoded(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (value < 0) continue;
    bits = bits << 6 | uint32_t(value);
    if ((count += 6) >= 8) out.push_back(char(bits >> (count -= 8)));
  }
  return out;
}

}  // namespace

bool is_chinese_character(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_bert_punctuation(char32_t c) {
  if (c < 0x80) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return unicode::is_punctuation(c) !=
         otherwise(unicode::tables::kBertPunctuationOtherwise, unicode::tables::kBertPunctuationOtherwiseCount, c);
}

std::string BertNormalization::operator()(std::string_view text) const {
  std::string out = each_character(text, [this](char32_t code, std::string_view bytes, std::string& to) {
    if (clean_text) {
      if (code == 0 || code == 0xFFFD || is_bert_control(code)) return;
      if (unicode::is_space(code)) return to.push_back(' ');
    }
    const bool apart = chinese_characters && is_chinese_character(code);
    if (apart) to += ' ';
    to += bytes;
    if (apart) to += ' ';
  });
  if (strip_accents) out = without(unicode::nfd(out), is_bert_accent);
  if (lowercase) out = unicode::lower_each(out);
  return out;
}

Normalizer::Normalizer(const Json& json, const std::string& name) {
  if (!json.is_null()) add(json, name);
}

void Normalizer::add(const Json& json, const std::string& name) {
  const std::string type = fields::text(json, "type");
  if (type == "Sequence") {
    for (const Json& part : fields::at(json, "normalizers")) add(part, name);
  } else if (type == "NFC") {
    steps_.push_back([](std::string_view t) { return unicode::nfc(t); });
  } else if (type == "NFD") {
    steps_.push_back([](std::string_view t) { return unicode::nfd(t); });
  } else if (type == "NFKC") {
    steps_.push_back([](std::string_view t) { return unicode::nfkc(t); });
  } else if (type == "NFKD") {
    steps_.push_back([](std::string_view t) { return unicode::nfkd(t); });
  } else if (type == "Nmt") {
    steps_.push_back(nmt);
  } else if (type == "Lowercase") {
    steps_.push_back([](std::string_view t) { return unicode::lower_each(t); });
  } else if (type == "StripAccents") {
    steps_.push_back([](std::string_view t) { return without(t, is_accent); });
  } else if (type == "Strip") {
    const bool left = fields::flag(json, "strip_left", true), right = fields::flag(json, "strip_right", true);
    steps_.push_back([=](std::string_view t) { return strip(t, left, right); });
  } else if (type == "Prepend") {
    steps_.push_back([prefix = fields::text(json, "prepend")](std::string_view t) {
      return t.empty() ? std::string() : prefix + std::string(t);
    });
  } else if (type == "ByteLevel") {
    steps_.push_back(to_byte_alphabet);
  } else if (type == "BertNormalizer") {
    BertNormalization bert;
    bert.clean_text = fields::flag(json, "clean_text", true);
    bert.chinese_characters = fields::flag(json, "handle_chinese_chars", true);
    bert.lowercase = fields::flag(json, "lowercase", true);
    bert.strip_accents = fields::flag(json, "strip_accents", bert.lowercase);
    steps_.push_back(bert);
  } else if (type == "Precompiled") {
    const Json& map = fields::at(json, "precompiled_charsmap");
    auto charsmap = std::make_shared<const Charsmap>(map.is_string() ? base64_decoded(map.get_ref<const std::string&>())
                                                                     : std::string());
    if (!charsmap->empty())
      steps_.push_back([charsmap](std::string_view t) { return charsmap->normalize_graphemes(t); });
  } else if (type == "Replace") {
    const Json& pattern = fields::at(json, "pattern");
    const std::string to = fields::text(json, "content"), literal = fields::text(pattern, "String");
    if (fields::at(pattern, "Regex").is_string()) {
      steps_.push_back(
          [regex = Regex(fields::text(pattern, "Regex")), to](std::string_view t) { return regex.replace(t, to); });
    } else if (!literal.empty()) {
      steps_.push_back([literal, to](std::string_view t) { return replace_all(t, literal, to); });
    }
  } else {
    fields::not_supported(name, "the normalizer", json);
  }
}

std::string Normalizer::operator()(std::string_view text) const {
  if (steps_.empty()) return std::string(text);
  std::string out = steps_[0](text);
  for (size_t i = 1; i < steps_.size(); i++) out = steps_[i](out);
  return out;
}

}  // namespace sedum
