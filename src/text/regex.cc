#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <algorithm>
#include <cctype>

#include <pcre2.h>

#include "base/error.h"

namespace sedum {

namespace {

// Backtracking steps and memory of one match. A word takes some hundred steps; what takes more is a pattern made to hang us.
constexpr uint32_t kMatchLimit = 10'000'000, kDepthLimit = 100'000, kHeapLimitKiB = 64 << 10;

std::string pcre_message(int code) {
  unsigned char buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Code {
  explicit Code(const std::string& text) : source(text) {
    int error;
    PCRE2_SIZE offset;
    const std::string translated = pcre2_pattern(text);
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), PCRE2_UTF | PCRE2_UCP,
                         &error, &offset, nullptr);
    if (!code) {
      throw Error("pre-tokenizer pattern " + text + ": " + pcre_message(error) + " at offset " + std::to_string(offset),
                  "this tokenizer needs a regular expression that PCRE2 does not know");
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matching is slower, nothing else
    context = pcre2_match_context_create(nullptr);
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_depth_limit(context, kDepthLimit);
    pcre2_set_heap_limit(context, kHeapLimitKiB);
  }
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
  Code(const Code&) = delete;

  // Checking the encoding anew at every match would make this quadratic; `text` is valid.
  int match(std::string_view text, size_t at, pcre2_match_data* data) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    const int found = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, context);
    if (found != PCRE2_ERROR_JIT_STACKLIMIT) return found;
    return pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
  }

  std::string source;
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
};

Regex::Regex(const std::string& pattern) : code_(std::make_shared<const Code>(pattern)) {}

void Regex::for_each_match(std::string_view text, const std::function<void(size_t, size_t)>& on_match) const {
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> data(pcre2_match_data_create(1, nullptr),
                                                                            pcre2_match_data_free);
  size_t last = std::string_view::npos;  // where the last match ended
  for (size_t at = 0; at <= text.size();) {
    const int found = code_->match(text, at, data.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) throw Error("pre-tokenizer pattern " + code_->source + ": " + pcre_message(found));
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
    if (span[1] > span[0] || span[0] != last) {
      on_match(span[0], span[1]);
      at = last = span[1];
      continue;
    }
    at++;  // an empty match right behind another is none; go on behind the next character
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) at++;
  }
}

std::string Regex::replace(std::string_view text, std::string_view by) const {
  std::string out;
  size_t done = 0;
  for_each_match(text, [&](size_t begin, size_t end) {
    out += text.substr(done, begin - done);
    out += by;
    done = end;
  });
  return out += text.substr(done);
}

std::string Regex::escape(const std::string& literal) {
  std::string out;
  for (char c : literal) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace sedum
