#include "text/pre_tokenizer.h"

#include <array>
#include <cstring>

#include "text/unicode.h"

namespace sedum {

namespace {

using unicode::Decoded;

enum Class : uint8_t { kOther, kLetter, kNumber, kSpace, kMultibyte };

constexpr std::array<Class, 256> ascii_classes() {
  std::array<Class, 256> classes{};
  for (int c = 0; c < 256; c++) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    classes[size_t(c)] = c >= 0x80              ? kMultibyte
                         : letter               ? kLetter
                         : c >= '0' && c <= '9' ? kNumber
                         : space                ? kSpace
                                                : kOther;
  }
  return classes;
}
constexpr std::array<Class, 256> kAscii = ascii_classes();

struct Symbol {
  Class kind;
  int length;
};

[[gnu::noinline]] Symbol multibyte_symbol(const char* p, const char* end) {
  const Decoded c = unicode::decode_multibyte(p, end);
  const uint8_t properties = unicode::properties(c.code);
  const uint8_t category = properties & 31;
  const Class kind = properties & unicode::kWhiteSpace                              ? kSpace
                     : uint8_t(category - unicode::Lu) <= unicode::Lo - unicode::Lu ? kLetter
                     : uint8_t(category - unicode::Nd) <= unicode::No - unicode::Nd ? kNumber
                                                                                    : kOther;
  return {kind, c.length};
}

inline Symbol symbol(const char* p, const char* end) {
  const Class kind = kAscii[static_cast<unsigned char>(*p)];
  if (kind == kMultibyte) return multibyte_symbol(p, end);
  return {kind, 1};
}

inline const char* skip(const char* p, const char* end, Class kind) {
  while (p < end) {
    const Symbol s = symbol(p, end);
    if (s.kind != kind) break;
    p += s.length;
  }
  return p;
}

// The end of 's 't 'm 'd 're 've 'll at p, or null.
template <bool any_case>
const char* contraction(const char* p, const char* end) {
  if (*p != '\'' || end - p < 2) return nullptr;
  const auto lower = [](char c) { return any_case && c >= 'A' && c <= 'Z' ? char(c + 32) : c; };
  const char a = lower(p[1]);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
  if (end - p < 3) return nullptr;
  // The long s is an s where case does not count.
  if (any_case && p[1] == '\xC5' && p[2] == '\xBF') return p + 3;
  const char b = lower(p[2]);
  if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l')) return p + 3;
  return nullptr;
}

// \s+(?!\S)|\s+ : a run of whitespace leaves its last character to what follows, unless that is all there is.
const char* whitespace(const char* p, const char* end, const char* run_end, const char* last) {
  return run_end == end || last == p ? run_end : last;
}

struct Run {
  const char *end, *last, *newline;  // where it ends, its last character, behind its last \r or \n (or null)
};
Run whitespace_run(const char* p, const char* end) {
  Run run{p, p, nullptr};
  while (run.end < end) {
    const Symbol s = symbol(run.end, end);
    if (s.kind != kSpace) break;
    run.last = run.end;
    run.end += s.length;
    if (*run.last == '\n' || *run.last == '\r') run.newline = run.end;
  }
  return run;
}

const char* next_gpt2(const char* p, const char* end) {
  if (*p == '\'')
    if (const char* q = contraction<false>(p, end)) return q;
  Symbol s = symbol(p, end);
  const char* q = p;
  if (*p == ' ' && p + 1 < end) {
    const Symbol after = symbol(p + 1, end);
    if (after.kind != kSpace) s = after, q = p + 1;
  }
  if (s.kind != kSpace) return skip(q + s.length, end, s.kind);
  const Run run = whitespace_run(p, end);
  return whitespace(p, end, run.end, run.last);
}

// Digits are cut out first and end what they border on: whitespace before a digit stays whole.
const char* next_smollm(const char* p, const char* end) {
  const Symbol first = symbol(p, end);
  if (first.kind == kNumber) return p + first.length;
  if (*p == ' ' && p + 1 < end && symbol(p + 1, end).kind == kNumber) return p + 1;
  if (first.kind != kSpace) return next_gpt2(p, end);
  const Run run = whitespace_run(p, end);
  if (run.end < end && symbol(run.end, end).kind == kNumber) return run.end;
  return next_gpt2(p, end);
}

template <int digits>
const char* next_qwen2(const char* p, const char* end) {
  if (*p == '\'')
    if (const char* q = contraction<true>(p, end)) return q;
  const Symbol first = symbol(p, end);
  if (first.kind == kLetter) return skip(p + first.length, end, kLetter);
  if (first.kind == kNumber) {
    const char* q = p + first.length;
    for (int i = 1; i < digits && q < end; i++) {
      const Symbol s = symbol(q, end);
      if (s.kind != kNumber) break;
      q += s.length;
    }
    return q;
  }
  const char* second = p + first.length;
  Symbol after{kSpace, 0};
  if (second < end) after = symbol(second, end);
  if (after.kind == kLetter && *p != '\r' && *p != '\n') return skip(second + after.length, end, kLetter);
  if (first.kind == kOther || (*p == ' ' && after.kind == kOther)) {
    const char* q = skip(first.kind == kOther ? second : second + after.length, end, kOther);
    while (q < end && (*q == '\r' || *q == '\n')) q++;
    return q;
  }
  const Run run = whitespace_run(p, end);
  if (run.newline) return run.newline;
  return whitespace(p, end, run.end, run.last);
}

}  // namespace

NextWord find_pre_tokenizer(std::string_view name) {
  const std::string_view canonical = canonical_pre_tokenizer(name);
  if (canonical == "gpt-2") return next_gpt2;
  if (canonical == "smollm") return next_smollm;
  if (canonical == "qwen2") return next_qwen2<1>;
  if (canonical == "llama-bpe") return next_qwen2<3>;
  return nullptr;
}

}  // namespace sedum
