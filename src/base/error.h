#pragma once
// The three kinds of failure.
//
//   throw Error("cannot open model.gguf: no such file", "check the path, or fetch it with `sedum pull`");   a user or a file
//   throw ApiError("matmul", "inner sizes differ: (4, 8) and (9, 2)");                                     a caller of the library
//   SEDUM_CHECK(offset < size);                                                                            cannot happen
//
// `cli/` prints an Error as one line and exits with 1. Kernels never report: what reaches them was checked.

#include <stdexcept>
#include <string>
#include <string_view>

namespace sedum {

// What a user, a file or the system got wrong. `what()` is one line: what and where (path, byte offset, tensor name, expected
// and found), then the mend.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& problem, const std::string& mend = "");
  const std::string& problem() const { return problem_; }
  const std::string& mend() const { return mend_; }

 private:
  std::string problem_, mend_;
};

// What a caller of the library got wrong: the operator and what does not fit.
class ApiError : public std::logic_error {
 public:
  ApiError(std::string_view where, std::string_view problem);
};

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& detail = "");

// The candidate closest to `word` by edit distance, or "" if none is near enough to be what was meant.
template <class Range>
std::string nearest_name(std::string_view word, const Range& candidates);
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace sedum

// A broken invariant: always tested, also in release builds. The second form adds a text.
#define SEDUM_CHECK(condition, ...)                                                     \
  do {                                                                                  \
    if (!(condition)) [[unlikely]]                                                      \
      ::sedum::check_failed(#condition, __FILE__, __LINE__ __VA_OPT__(, ) __VA_ARGS__); \
  } while (0)

template <class Range>
std::string sedum::nearest_name(std::string_view word, const Range& candidates) {
  std::string best;
  size_t best_distance = word.size() / 3 + 2;  // a third of the letters may differ
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) best_distance = distance, best = std::string(candidate);
  }
  return best;
}
