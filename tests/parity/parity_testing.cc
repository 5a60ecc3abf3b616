#include "base/json.h"
#include "parity_testing.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"

namespace sedum::parity {
namespace fs = std::filesystem;
namespace {

std::optional<fs::path> folder_of(const char* variable) {
  const char* value = std::getenv(variable);
  if (!value || !*value) return std::nullopt;
  return value;
}

}  // namespace

fs::path golden(const std::string& name) { return fs::path(SEDUM_SOURCE_DIR) / "tests/golden" / name; }
nlohmann::json golden_json(const std::string& name) { return parse_json(read_file(golden(name))); }
std::vector<std::vector<int32_t>> golden_ids() { return golden_json("models/ids.json"); }

std::vector<float> values(const Variable& v) {
  const float* data = v.value().data<float>();
  return {data, data + v.value().count()};
}

std::vector<float> logits_of(const RuntimeModel& model, const std::vector<std::vector<int32_t>>& sequences) {
  Context ctx = model.runtime().context(model.compute());
  return values(model.model().logits(ctx, model.model().hidden_states(ctx, Batch::of_sequences(sequences))));
}

Difference difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  Difference d;
  if (a.size() != b.size()) return {.largest = std::numeric_limits<double>::infinity(), .spread = 1};
  double sum = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double gap = std::abs(double(a[i]) - double(b[i]));
    d.largest = std::isnan(gap) ? std::numeric_limits<double>::infinity() : std::max(d.largest, gap);
    sum += double(b[i]), squares += double(b[i]) * double(b[i]);
  }
  const double n = double(b.size()), mean = sum / n;
  d.spread = std::sqrt(squares / n - mean * mean);
  return d;
}

void Difference::report(const std::string& what) const {
  char text[64];
  std::snprintf(text, sizeof text, "%.2e of the spread %.3g", relative(), spread);
  std::printf("  %s: largest error %s\n", what.c_str(), text);
  testing::Test::RecordProperty("error", text);
}

ScratchFolder::ScratchFolder() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name() + "." + std::to_string(getpid());
  for (char& c : name)
    if (c == '/') c = '.';
  path_ = fs::path(testing::TempDir()) / ("sedum_parity." + name);
  fs::remove_all(path_);
  fs::create_directories(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::optional<fs::path> models_folder() { return folder_of("SEDUM_TEST_MODELS"); }
std::optional<fs::path> data_folder() { return folder_of("SEDUM_TEST_DATA"); }

}  // namespace sedum::parity
