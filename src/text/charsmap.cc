#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/charsmap.h"

#include <cstring>
#include <memory>

#include <pcre2.h>

#include "base/error.h"
#include "text/unicode.h"

namespace sedum {

namespace {

// A unit of darts-clone: bit 8 says that a value hangs below, bits 10–30 (shifted by 8 more when bit 9 is set) lead to the children,
// bits 0–7 and 31 are the label.
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }

// Extended grapheme clusters (UAX #29) by PCRE2's \X.
class Graphemes {
 public:
  Graphemes() {
    int error;
    PCRE2_SIZE at;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>("\\X"), 2, PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
    SEDUM_CHECK(code_ != nullptr);
    pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
  }
  ~Graphemes() { pcre2_code_free(code_); }
  Graphemes(const Graphemes&) = delete;

  // Bytes of the cluster at `at` of valid UTF-8.
  size_t length(std::string_view text, size_t at, pcre2_match_data* data) const {
    const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, data, nullptr);
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data);
    if (found > 0 && span[1] > at) return span[1] - at;
    return size_t(unicode::decode(text.data() + at, text.data() + text.size()).length);
  }

 private:
  pcre2_code* code_;
};

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  if (bytes.empty()) return;
  uint32_t size = 0;
  if (bytes.size() >= 4) std::memcpy(&size, bytes.data(), 4);
  if (bytes.size() < 4 || size > bytes.size() - 4 || size < 4 || size % 4 != 0)
    throw Error("tokenizer: the normaliser's tables (precompiled charsmap) are damaged", "fetch the file again");
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes.data() + 4, size);
  replacements_ = bytes.substr(4 + size);
  replacements_.push_back('\0');
  untouched_.resize(0x10000);
  std::string text;
  for (char32_t code = 0x80; code < untouched_.size(); code++) {
    text.clear();
    unicode::append(text, code);
    untouched_[code] = !begins_rule(text.data(), text.data() + text.size());
  }
  plain_.resize(128);
  for (int c = 0; c < 128; c++) {
    const char one = char(c);
    plain_[size_t(c)] = find(&one, &one + 1, true).length == 0;
    for (int d = 0; d < 128 && plain_[size_t(c)]; d++) {
      const char two[2] = {one, char(d)};
      plain_[size_t(c)] = find(two, two + 2, true).length == 0;
    }
  }
}

// Whether some rule is a part of [p, end) from its beginning, or goes on behind it.
bool Charsmap::begins_rule(const char* p, const char* end) const {
  size_t node = offset(units_[0]);
  for (; p < end; p++) {
    const auto byte = static_cast<unsigned char>(*p);
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) return false;
    if (has_leaf(units_[node])) return true;
    node ^= offset(units_[node]);
  }
  return true;
}

Charsmap::Rule Charsmap::find(const char* p, const char* end, bool longest) const {
  Rule best;
  if (units_.empty()) return best;
  size_t node = offset(units_[0]);
  for (const char* q = p; q < end; q++) {
    const auto byte = static_cast<unsigned char>(*q);
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) break;
    const uint32_t value = units_[node] & 0x7FFFFFFF;
    if (value >= replacements_.size()) break;
    best = {size_t(q + 1 - p), std::string_view(replacements_.c_str() + value)};
    if (!longest) break;
  }
  return best;
}

std::string Charsmap::normalize_graphemes(std::string_view text) const {
  static const Graphemes graphemes;
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> data(pcre2_match_data_create(1, nullptr),
                                                                            pcre2_match_data_free);
  std::string out;
  out.reserve(text.size());
  const char* end = text.data() + text.size();
  const auto put = [&](size_t at, size_t length) {
    const Rule rule = shortest(text.data() + at, text.data() + at + length);
    if (rule.length > 0) out += rule.to;
    return rule.length > 0;
  };
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    const bool alone = is_ascii(c) && c != '\r' && (at + 1 == text.size() || is_ascii(text[at + 1]));
    if (alone && plain(static_cast<unsigned char>(c))) {
      out.push_back(c), at++;
      continue;
    }
    const size_t length = alone ? 1 : graphemes.length(text, at, data.get());
    if (length >= 6 || !put(at, length)) {
      for (const char* p = text.data() + at; p < text.data() + at + length;) {
        const unicode::Decoded d = unicode::decode(p, end);
        if (!put(size_t(p - text.data()), size_t(d.length))) out.append(p, size_t(d.length));
        p += d.length;
      }
    }
    at += length;
  }
  return out;
}

}  // namespace sedum
