#pragma once
// Rows that a quantiser looks at: token windows of a text, and what each linear layer sees when they run through the model.
//
//   Calibration rows = read_calibration("book.txt", checkpoint, {.window = 512, .max_windows = 32});
//   observe_inputs(runtime, checkpoint, rows, [&](const std::string& name, const Tensor& x) { ... });   // x (tokens, in_features)
//
// The file: text, or JSONL whose rows have "text", messages or instructions; those are joined by line breaks.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "model/runtime_model.h"

namespace sedum {

struct CalibrationOptions {
  int64_t window = 512;  // tokens
  int64_t max_windows = 32;
};

struct Calibration {
  std::vector<std::vector<int32_t>> windows;
  int64_t tokens() const;
};

// Error when the text has fewer than two tokens. A rest shorter than a window is left out unless it is the only one.
Calibration read_calibration(const std::filesystem::path& path, const Checkpoint& checkpoint,
                             const CalibrationOptions& options);

// Called with the layer's name ("model.layers.0.self_attn.q_proj") and its input, in the order of the model.
using InputObserver = std::function<void(const std::string& name, const Tensor& x)>;

// A factory whose linear layers show what they are given before they compute.
class ObservingFactory : public LayerFactory {
 public:
  ObservingFactory(LayerFactory& base, InputObserver observer) : base_(base), observer_(std::move(observer)) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override { return base_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return base_.table(name, rows, cols);
  }

 private:
  LayerFactory& base_;
  InputObserver observer_;
};

// Runs some windows at a time through the model as it is stored, in bf16.
void observe_inputs(Runtime& runtime, const Checkpoint& checkpoint, const Calibration& rows, InputObserver observer);

}  // namespace sedum
