#pragma once
// Low-rank adapters (Hu et al. 2021) as a replacement for Linear, in PEFT's terms.
//
//   LoraConfig config{.r = 16, .lora_alpha = 32, .target_modules = {"all-linear"}};
//   LoraFactory factory(base_factory, config, pool, arena, seed);     // wraps the layers that config targets
//   auto model = build_model(model_config, factory);
//   factory.parameters();                                             // A and B of each, named as PEFT names them

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "compute/ops/dora.h"
#include "model/adapters/lora_config.h"
#include "model/nn/linear.h"

namespace sedum {

// What DoRA adds to a layer: a magnitude for each row, and the rows' sums of squares of the base weight.
struct Magnitudes {
  Variable magnitude;  // (out)
  Tensor squares;      // (out)
};

class LoraLinear : public Linear {
 public:
  LoraLinear(std::unique_ptr<DenseLinear> base, Variable a, Variable b, float factor, float dropout, uint32_t site,
             std::optional<Magnitudes> dora)
      : base_(std::move(base)),
        a_(std::move(a)),
        b_(std::move(b)),
        factor_(factor),
        dropout_(dropout),
        site_(site),
        dora_(std::move(dora)) {}
  Variable forward(Context& ctx, const Variable& x) const override;
  const DenseLinear& dense() const override { return *base_; }
  void adapt(Context& ctx, const Variable& x, Tensor& y) const override;
  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }

 private:
  Tensor norms(Context& ctx) const;
  std::unique_ptr<DenseLinear> base_;
  Variable a_, b_;
  float factor_, dropout_;
  uint32_t site_;  // of its random numbers
  std::optional<Magnitudes> dora_;
  mutable std::once_flag once_;  // of an adapter that does not change
  mutable Tensor constant_norms_;
};

class LoraFactory : public LayerFactory {
 public:
  // A new adapter: A uniform as PEFT initialises it (Kaiming with a = √5: bound 1/√in), B zero; numbers from (seed, name).
  LoraFactory(LayerFactory& base, LoraConfig config, ThreadPool& pool, Arena& arena, uint64_t seed);
  // A stored one: `weights` by PEFT's names, f32. trainable false: constants, for inference.
  LoraFactory(LayerFactory& base, LoraConfig config, ThreadPool& pool, Arena& arena,
              std::map<std::string, Tensor> weights, bool trainable);

  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override;
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override;
  ops::Weight tied_head(const ops::Weight& embeddings) override;

  const std::vector<Variable>& parameters() const { return parameters_; }
  const LoraConfig& config() const { return config_; }
  // Error when the target modules matched nothing, or a stored weight was not used.
  void check_complete() const;

 private:
  enum class Fill { kZero, kUniform, kNormal };
  Variable parameter(const std::string& name, const Shape& shape, const std::function<void(Tensor&)>& fill);
  Variable matrix(const std::string& name, const Shape& shape, Fill fill);
  Variable copy_of(const std::string& name, const Variable& stored);
  bool has_own(const std::string& peft_name, bool asked) const;
  std::optional<Magnitudes> magnitudes(const std::string& name, const DenseLinear& layer, const Variable& a,
                                       const Variable& b);
  LayerFactory& base_;
  LoraConfig config_;
  ThreadPool& pool_;
  Arena& arena_;
  uint64_t seed_ = 0;
  bool stored_ = false, trainable_ = true;
  std::map<std::string, Tensor> weights_;
  std::vector<std::string> seen_;    // last parts of all Linear names, for the error message
  std::vector<std::string> layers_;  // all names that could be saved whole
  std::vector<Variable> parameters_;
  ops::Weight embeddings_;  // the base's, where the adapter has its own
  size_t wrapped_ = 0;
};

}  // namespace sedum
