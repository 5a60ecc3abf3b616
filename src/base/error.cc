#include "base/error.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace sedum {
namespace {

// what() ends at the first NUL, and texts quote what strangers sent.
std::string without_nul(std::string text) {
  for (size_t at; (at = text.find('\0')) != text.npos;) text.replace(at, 1, "\\0");
  return text;
}

}  // namespace

Error::Error(const std::string& problem, const std::string& mend)
    : std::runtime_error(without_nul(mend.empty() ? problem : problem + ". " + mend)),
      problem_(without_nul(problem)),
      mend_(without_nul(mend)) {}

ApiError::ApiError(std::string_view where, std::string_view problem)
    : std::logic_error("[" + std::string(where) + "] " + std::string(problem)) {}

void check_failed(const char* condition, const char* file, int line, const std::string& detail) {
  std::fprintf(stderr, "%s:%d: check failed: %s%s%s\n", file, line, condition, detail.empty() ? "" : ": ",
               detail.c_str());
  std::abort();
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace sedum
