// Jordan et al.: "Muon: An optimizer for hidden layers in neural networks", 2024, in the order of torch.optim.Muon.

#include <algorithm>
#include <cmath>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"
#include "train/optim/optimizers.h"

namespace sedum {

bool is_hidden_matrix(const Variable& parameter) {
  const std::string& name = parameter.name();
  return parameter.shape().rank() == 2 && name.find("embed") == std::string::npos &&
         name.find("lm_head") == std::string::npos;
}

void orthogonalise(Context& ctx, Tensor& x, int steps) {
  constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;
  constexpr double kEps = 1e-7;
  const int64_t rows = x.size(0), cols = x.size(1), least = std::min(rows, cols);
  if (ctx.runs()) {
    const double norm = std::sqrt(sum_of_squares(*ctx.pool, x.data<float>(), x.count()));
    sedum::scale<float>(*ctx.pool, x.data<float>(), float(1 / std::max(norm, kEps)), x.count(), x.data<float>());
  }
  const Compute compute = ctx.compute == Compute::kInt8 ? Compute::kBF16 : ctx.compute;
  Tensor gram = ctx.empty(DType::kF32, {least, least}), square = ctx.empty(DType::kF32, {least, least}),
         next = ctx.empty(DType::kF32, x.shape());
  for (int i = 0; i < steps; ++i) {
    if (rows <= cols)
      ops::product_nt(ctx, compute, x, x, gram);  // X·Xᵀ
    else
      ops::product_tn(ctx, compute, x, x, gram);        // Xᵀ·X, so that no tall matrix is transposed
    ops::product_nt(ctx, compute, gram, gram, square);  // it is symmetric
    if (ctx.runs()) combine(*ctx.pool, kB, gram.data<float>(), kC, square.count(), square.data<float>());
    if (rows <= cols)
      ops::product_nn(ctx, compute, square, x, next);
    else
      ops::product_nn(ctx, compute, x, square, next);
    if (ctx.runs()) combine(*ctx.pool, 1, next.data<float>(), kA, x.count(), x.data<float>());
  }
}

Muon::Muon(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options)
    : Optimizer(std::move(parameters), options), moments_(parameters_.size()) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const bool hidden = is_hidden_matrix(parameters_[i]);
    buffers_.push_back(hidden ? ctx.zeros(options_.state_dtype, parameters_[i].shape()) : Tensor());
    if (!hidden) moments_[i] = std::make_unique<Moments>(ctx, parameters_[i].shape(), options_);
  }
}

void Muon::update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) {
  const StoredArray parameter = stored_parameter(i);
  if (moments_[i])
    return moments_[i]->update(ctx, options_, u.learning_rate, u.gradient_scale, u.weight_decay, u.step, gradient,
                               parameter, u.rounding);
  Tensor x = ctx.empty(DType::kF32, gradient.shape());
  if (ctx.runs())
    muon_momentum(*ctx.pool, double(options_.muon_momentum), options_.muon_nesterov, u.gradient_scale, x.count(),
                  gradient.data<float>(), stored_array(buffers_[i], parameter.stream + 1), x.data<float>(), u.rounding);
  orthogonalise(ctx, x, options_.muon_steps);
  if (!ctx.runs()) return;
  const auto rows = double(x.size(0)), cols = double(x.size(1));
  const double adjustment = options_.muon_adjustment == MuonAdjustment::kOriginal
                                ? std::sqrt(std::max(1.0, rows / cols))
                                : 0.2 * std::sqrt(std::max(rows, cols));
  decayed_step(*ctx.pool, 1 - u.learning_rate * u.weight_decay, u.learning_rate * adjustment, x.count(),
               x.data<float>(), parameter, u.rounding);
}

std::vector<OptimizerState> Muon::states() const {
  std::vector<OptimizerState> all;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (buffers_[i].defined())
      all.push_back({"momentum_buffer." + parameters_[i].name(), buffers_[i]});
    else
      moments_[i]->add_states(parameters_[i].name(), all);
  }
  return all;
}

}  // namespace sedum
