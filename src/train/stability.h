#pragma once
// What a run remembers about itself to stay on its way: outliers, the best evaluation, the loss scale. All of it is part of a
// checkpoint, so that a resumed run decides alike.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum {

// How far a value is from the last 128, in standard deviations, as llm.c's OutlierDetector has it.
//
//   std::optional<double> z = detector.update(loss);    // none before the window is full
class OutlierDetector {
 public:
  static constexpr size_t kWindow = 128;
  std::optional<double> update(double value);
  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& json);

 private:
  std::vector<double> values_;
  size_t next_ = 0;
};

// The best evaluation so far, and for how many no better one came: transformers' EarlyStoppingCallback.
struct BestMetric {
  std::optional<double> value = {};
  int64_t step = 0;            // of the best one
  int64_t evaluated_step = 0;  // of the last one that was heard
  int without_progress = 0;    // evaluations since one that was better by more than the threshold
  // Whether this is the best so far.
  bool update(int64_t step, double metric, bool greater_is_better, double threshold);
  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& json);
};

// What the loss is multiplied with in f16, as torch.amp.GradScaler has it: halved when a gradient was beyond f16 (that step is left out),
// doubled after `window` good steps in a row. Micikevicius et al.: "Mixed Precision Training", 2018.
struct LossScale {
  double value = 65536;
  int64_t good = 0;     // steps since the last change
  int64_t skipped = 0;  // steps left out so far: updates that were not made
  // Whether the update may be made. A scale at `least` is not halved.
  bool update(bool finite, int64_t window, double least);
  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& json);
};

}  // namespace sedum
