#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace sedum {

namespace {

// Backtracking steps and memory of one match. A word takes some hundred steps; what takes more is a pattern made to hang us.
constexpr uint32_t kMatchLimit = 10'000'000, kDepthLimit = 100'000, kHeapLimitKiB = 64 << 10;

std::string pcre_message(int code) {
  unsigned char buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

// Pieces of `text` that are either valid UTF-8 or hold nothing but invalid bytes.
bool is_valid(std::string_view piece) {
  return unicode::decode(piece.data(), piece.data() + piece.size()).code != unicode::kInvalid;
}

std::vector<std::string_view> split_at_invalid(std::string_view text) {
  std::vector<std::string_view> pieces;
  const char *begin = text.data(), *end = begin + text.size();
  bool valid = true;
  for (const char* p = begin; p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    if ((c.code != unicode::kInvalid) != valid) {
      if (p > begin) pieces.emplace_back(begin, size_t(p - begin));
      begin = p;
      valid = !valid;
    }
    p += c.length;
  }
  if (begin < end) pieces.emplace_back(begin, size_t(end - begin));
  return pieces;
}

}  // namespace

struct PatternSplitter::Pattern {
  explicit Pattern(const std::string& text) : source(text) {
    int error;
    PCRE2_SIZE offset;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset,
                         nullptr);
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
  ~Pattern() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
  Pattern(const Pattern&) = delete;

  std::string source;
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;

  // Checking the encoding anew at every match would make this quadratic; `text` is valid.
  int match(std::string_view text, size_t at, pcre2_match_data* data) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    const int found = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, context);
    if (found != PCRE2_ERROR_JIT_STACKLIMIT) return found;
    return pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
  }

  void cut(std::string_view text, pcre2_match_data* data, std::vector<std::string_view>& out) const {
    size_t done = 0, at = 0;
    while (at < text.size()) {
      const int found = match(text, at, data);
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0) throw Error("pre-tokenizer pattern " + source + ": " + pcre_message(found));
      const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data);
      if (span[1] <= span[0]) {  // an empty match cuts nothing; go on behind the next character
        at = std::max(at, size_t(span[0])) + 1;
        while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) at++;
        continue;
      }
      if (span[0] > done) out.push_back(text.substr(done, span[0] - done));
      out.push_back(text.substr(span[0], span[1] - span[0]));
      done = at = span[1];
    }
    if (done < text.size()) out.push_back(text.substr(done));
  }
};

PatternSplitter::PatternSplitter(std::span<const std::string> patterns) {
  for (const std::string& pattern : patterns) patterns_.push_back(std::make_unique<Pattern>(pattern));
}
PatternSplitter::~PatternSplitter() = default;

std::vector<std::string_view> PatternSplitter::split(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> data(pcre2_match_data_create(1, nullptr),
                                                                            pcre2_match_data_free);
  std::vector<std::string_view> pieces = split_at_invalid(text);
  for (const auto& pattern : patterns_) {
    std::vector<std::string_view> finer;
    for (std::string_view piece : pieces) {
      if (is_valid(piece)) {
        pattern->cut(piece, data.get(), finer);
      } else {
        finer.push_back(piece);
      }
    }
    pieces = std::move(finer);
  }
  return pieces;
}

}  // namespace sedum
