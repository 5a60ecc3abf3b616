#pragma once
// The optimizers behind make_optimizer.

#include "train/optim/optimizer.h"

namespace sedum {

// Adam's two moments of a parameter, and the update by them: AdamW and Adam, and Muon's share that is no hidden matrix.
class Moments {
 public:
  Moments(Context& ctx, const Shape& shape, const OptimizerOptions& options);
  void update(Context& ctx, const OptimizerOptions& options, double learning_rate, double gradient_scale,
              double weight_decay, int64_t step, const Tensor& gradient, StoredArray parameter,
              StochasticRounding rounding);
  void add_states(const std::string& parameter, std::vector<OptimizerState>& to) const;

 private:
  StoredArray stored(Tensor& values, Tensor& absmax, bool sign, uint32_t stream);
  Tensor first_, second_;                // f32, bf16, or codes (u8)
  Tensor first_absmax_, second_absmax_;  // of codes: one for each 256
};

class AdamW : public Optimizer {
 public:
  AdamW(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options);
  std::vector<OptimizerState> states() const override;

 private:
  void update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) override;
  std::vector<Moments> moments_;
};

class Sgd : public Optimizer {
 public:
  Sgd(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options);
  std::vector<OptimizerState> states() const override;

 private:
  void update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) override;
  std::vector<Tensor> buffers_;  // undefined without momentum
};

// Of a matrix the means of squares by row and by column, of a vector those of its values. Its update is divided by its own root mean square
// where that is above 1, so that the gradient must be read three times: once is not possible.
class Adafactor : public Optimizer {
 public:
  Adafactor(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options);
  std::vector<OptimizerState> states() const override;

 private:
  void update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) override;
  std::vector<Tensor> rows_, columns_;  // f32; a vector has columns alone
};

class Muon : public Optimizer {
 public:
  Muon(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options);
  std::vector<OptimizerState> states() const override;

 private:
  void update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) override;
  std::vector<Tensor> buffers_;                    // of hidden matrices
  std::vector<std::unique_ptr<Moments>> moments_;  // of all others
};

// Whether Muon takes it: a matrix that is neither an embedding nor a head.
bool is_hidden_matrix(const Variable& parameter);

// An f32 or bf16 tensor as the kernels take it.
StoredArray stored_array(Tensor& t, uint32_t stream);

// X (A, B) ← an approximation of U·Vᵀ of its singular value decomposition, by `steps` of Newton's and Schulz's iteration with Muon's quintic
// coefficients: singular values end up between about 0.7 and 1.2. Products at ctx.compute.
void orthogonalise(Context& ctx, Tensor& x, int steps);

}  // namespace sedum
