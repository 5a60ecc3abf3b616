#include "train/optim/optimizers.h"

namespace sedum {

Sgd::Sgd(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options)
    : Optimizer(std::move(parameters), options) {
  for (const Variable& p : parameters_)
    buffers_.push_back(options_.momentum > 0 ? ctx.zeros(options_.state_dtype, p.shape()) : Tensor());
}

void Sgd::update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) {
  if (!ctx.runs()) return;
  const SgdStep s{.learning_rate = u.learning_rate,
                  .momentum = options_.momentum,
                  .weight_decay = u.weight_decay,
                  .gradient_scale = u.gradient_scale,
                  .nesterov = options_.nesterov};
  const StoredArray parameter = stored_parameter(i);
  sgd(*ctx.pool, s, gradient.count(), gradient.data<float>(), parameter,
      stored_array(buffers_[i], parameter.stream + 1), u.rounding);
}

std::vector<OptimizerState> Sgd::states() const {
  std::vector<OptimizerState> all;
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (buffers_[i].defined()) all.push_back({"momentum_buffer." + parameters_[i].name(), buffers_[i]});
  return all;
}

}  // namespace sedum
