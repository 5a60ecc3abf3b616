#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace sedum {

namespace {

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
  explicit Pattern(const std::string& text) : regex(text) {}
  Regex regex;

  void cut(std::string_view text, std::vector<std::string_view>& out) const {
    size_t done = 0;
    regex.for_each_match(text, [&](size_t begin, size_t end) {
      if (begin > done) out.push_back(text.substr(done, begin - done));
      if (end > begin) out.push_back(text.substr(begin, end - begin));
      done = end;
    });
    if (done < text.size()) out.push_back(text.substr(done));
  }
};

PatternSplitter::PatternSplitter(std::span<const std::string> patterns) {
  for (const std::string& pattern : patterns) patterns_.push_back(std::make_unique<Pattern>(pattern));
}
PatternSplitter::~PatternSplitter() = default;

std::vector<std::string_view> PatternSplitter::split(std::string_view text) const {
  std::vector<std::string_view> pieces = split_at_invalid(text);
  for (const auto& pattern : patterns_) {
    std::vector<std::string_view> finer;
    for (std::string_view piece : pieces) {
      if (is_valid(piece)) {
        pattern->cut(piece, finer);
      } else {
        finer.push_back(piece);
      }
    }
    pieces = std::move(finer);
  }
  return pieces;
}

}  // namespace sedum
