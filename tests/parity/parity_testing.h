#pragma once
// What the parity tests share: golden files, a model's logits, and how far two arrays are apart.
//
//   Runtime runtime(2);
//   const RuntimeModel model(runtime, golden("models/llama"), {.compute = Compute::kF32});
//   Difference d = difference(logits_of(model, golden_ids()), read_npy(golden("models/llama.logits.npy")).values<float>());
//   d.report("llama"); EXPECT_LE(d.relative(), kTolerance);

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/runtime_model.h"

namespace sedum::parity {

// Of the logits' spread. What f32 leaves over three layers is near 1e-6; a forgotten bias or a wrong scale is above 1e-2.
inline constexpr double kTolerance = 1e-4;

std::filesystem::path golden(const std::string& name);  // under tests/golden
nlohmann::json golden_json(const std::string& name);
std::vector<std::vector<int32_t>> golden_ids();  // of the tiny models

// Of all positions of all sequences, one after the other: (tokens, vocabulary).
std::vector<float> logits_of(const RuntimeModel& model, const std::vector<std::vector<int32_t>>& sequences);
std::vector<float> values(const Variable& v);

struct Difference {
  double largest = 0;  // |a − b|
  double spread = 0;   // standard deviation of b: the strictest reading of the word
  double relative() const { return largest / spread; }
  void report(const std::string& what) const;  // on the terminal and in the test's record
};
// Sizes must agree; a NaN makes the difference infinite.
Difference difference(std::span<const float> a, std::span<const float> b);

// A folder of this test's own, empty; gone at the end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Folders of real models and of shared texts, or nothing when the environment does not name them.
std::optional<std::filesystem::path> models_folder();
std::optional<std::filesystem::path> data_folder();

}  // namespace sedum::parity

// A counted skip: ctest shows it, and the line says what would have been tested.
#define SEDUM_NEEDS(folder, variable) \
  if (!(folder)) GTEST_SKIP() << "not tested: " variable " is not set"
