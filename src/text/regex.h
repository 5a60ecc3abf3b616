#pragma once
// Regular expressions of files from strangers: PCRE2 over UTF-8 with limits on steps and memory. They are written for Oniguruma, Hugging
// Face's engine (regex_dialect.cc): \s is White_Space, \w has marks, \p{Han} is the script, {3}+ is no possessive, [A&&[^B]] intersects.
//
//   Regex regex("\\p{N}+");                              // Error when it does not compile
//   regex.for_each_match(text, [&](size_t begin, size_t end) { … });

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace sedum {

class Regex {
 public:
  explicit Regex(const std::string& pattern);
  // Matches from left to right in valid UTF-8, empty ones too but right behind another. Error when the limits are exceeded.
  void for_each_match(std::string_view text, const std::function<void(size_t begin, size_t end)>& found) const;
  std::string replace(std::string_view text, std::string_view by) const;  // every match
  static std::string escape(const std::string& literal);

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

// The same expression for PCRE2. Error for what has no counterpart.
std::string pcre2_pattern(std::string_view oniguruma);

}  // namespace sedum
