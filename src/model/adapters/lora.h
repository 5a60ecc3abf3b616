#pragma once
// Low-rank adapters (Hu et al. 2021) as a replacement for Linear, in PEFT's terms.
//
//   LoraConfig config{.r = 16, .lora_alpha = 32, .target_modules = {"all-linear"}};
//   LoraFactory factory(base_factory, config, arena, seed);     // wraps the layers that config targets
//   auto model = build_model(model_config, factory);
//   factory.parameters();                                       // A and B of each, named as PEFT names them

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/nn/linear.h"

namespace sedum {

struct LoraConfig {
  int64_t r = 8;
  float lora_alpha = 8;
  bool use_rslora = false;                       // factor alpha / sqrt(r) (Kalajdzievski 2023) instead of alpha / r
  std::vector<std::string> target_modules = {};  // last parts of names, or "all-linear"
  std::string base_model_name_or_path = {};

  float factor() const;
  bool targets(const std::string& name) const;  // of a Linear
};

class LoraLinear : public Linear {
 public:
  LoraLinear(std::unique_ptr<DenseLinear> base, Variable a, Variable b, float factor)
      : base_(std::move(base)), a_(std::move(a)), b_(std::move(b)), factor_(factor) {}
  Variable forward(Context& ctx, const Variable& x) const override {
    return ops::lora_linear(ctx, x, base_->weight(), base_->bias(), a_, b_, factor_);
  }
  const DenseLinear& dense() const override { return *base_; }
  void adapt(Context& ctx, const Variable& x, Tensor& y) const override {
    ops::add_low_rank(ctx, x, a_, b_, factor_, y);
  }
  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }

 private:
  std::unique_ptr<DenseLinear> base_;
  Variable a_, b_;
  float factor_;
};

class LoraFactory : public LayerFactory {
 public:
  // A new adapter: A uniform as PEFT initialises it (Kaiming with a = √5: bound 1/√in), B zero; numbers from (seed, name).
  LoraFactory(LayerFactory& base, LoraConfig config, Arena& arena, uint64_t seed);
  // A stored one: `weights` by PEFT's names, f32. trainable false: constants, for inference.
  LoraFactory(LayerFactory& base, LoraConfig config, Arena& arena, std::map<std::string, Tensor> weights,
              bool trainable);

  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override { return base_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return base_.table(name, rows, cols);
  }

  const std::vector<Variable>& parameters() const { return parameters_; }
  const LoraConfig& config() const { return config_; }
  // Error when the target modules matched nothing, or a stored weight was not used.
  void check_complete() const;

 private:
  Variable matrix(const std::string& name, const Shape& shape, bool random);
  LayerFactory& base_;
  LoraConfig config_;
  Arena& arena_;
  uint64_t seed_ = 0;
  bool stored_ = false, trainable_ = true;
  std::map<std::string, Tensor> weights_;
  std::vector<std::string> seen_;  // last parts of all Linear names, for the error message
  std::vector<Variable> parameters_;
  size_t wrapped_ = 0;
};

// PEFT's name of a Linear's adapter weight: which is 'A' or 'B'.
std::string peft_name(const std::string& linear, char which);

}  // namespace sedum
