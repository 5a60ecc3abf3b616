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
#include "model/adapters/lora_start.h"
#include "model/nn/linear.h"
#include "model/nn/shared_input.h"

namespace sedum {

// What DoRA adds to a layer: a magnitude for each row, and the rows' sums of squares of the base weight.
struct Magnitudes {
  Variable magnitude;  // (out)
  Tensor squares;      // (out)
};

class LoraLinear : public Linear, public SharedInput {
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
  ops::AdaptedTerm term(Context& ctx, const Variable& x) const override;
  Variable finish(Context& ctx, Variable y) const override;
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
  // A new adapter, begun as config.init_lora_weights says (lora_start.h); numbers from (seed, name). Where that changes the base, layers get
  // another, which is kept in `arena`: f32, f16 or bf16 as the base is stored, NF4 for LoftQ.
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
  // Of a new adapter that changed the base: the first A's and B's, by name.
  const std::map<std::string, Tensor>& first_weights() const { return first_weights_; }
  // Error when the target modules matched nothing, or a stored weight was not used.
  void check_complete() const;

 private:
  Variable parameter(const std::string& name, const Shape& shape, const std::function<void(Tensor&)>& fill);
  Variable matrix(const std::string& name, const Shape& shape, const std::vector<float>& start);
  LoraStart start_of(const std::string& name, const Tensor& stored) const;
  Tensor changed_base(const Tensor& stored, const LoraStart& start) const;
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
  std::map<std::string, Tensor> weights_, first_weights_;
  std::vector<std::string> seen_;    // last parts of all Linear names, for the error message
  std::vector<std::string> layers_;  // all names that could be saved whole
  std::vector<Variable> parameters_;
  ops::Weight embeddings_;  // the base's, where the adapter has its own
  size_t wrapped_ = 0;
};

}  // namespace sedum
