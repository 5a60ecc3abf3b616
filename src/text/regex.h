#pragma once
// Regular expressions of files from strangers: PCRE2 over UTF-8 with limits on steps and memory.
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
  // Non-empty matches from left to right in valid UTF-8. Error when the limits are exceeded.
  void for_each_match(std::string_view text, const std::function<void(size_t begin, size_t end)>& found) const;
  static std::string escape(const std::string& literal);

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace sedum
