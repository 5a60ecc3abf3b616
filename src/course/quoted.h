#pragma once
// Numbers that a note quotes from a result: <!--result week1/day5/sgd_lr_test:threshold-->0.08
// docs/writing-a-lesson.md has the rules.
//
//   for (const Quote& q : quotes_in(text)) if (auto problem = wrong_quote(q, "course/results"); !problem.empty()) …

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sedum::course {

struct Quote {
  int line = 0;
  std::string place, key;
  std::string number;  // as it is printed; "" when none follows the comment
};
std::vector<Quote> quotes_in(std::string_view text);

// Whether the value, rounded to the digits that `printed` shows, is what `printed` says.
bool same_when_rounded(double value, std::string_view printed);

// Why the quote is wrong (no such result, key or number; another value), or "" when it is right.
std::string wrong_quote(const Quote& quote, const std::filesystem::path& results);

}  // namespace sedum::course
