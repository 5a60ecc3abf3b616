#include "train/optim/adamw.h"

#include <algorithm>
#include <cmath>

#include "compute/kernels/optimizer.h"

namespace sedum {

AdamW::AdamW(Context& ctx, std::vector<Variable> parameters, AdamWOptions options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const Variable& p : parameters_) {
    m_.push_back(ctx.zeros(DType::kF32, p.shape()));
    v_.push_back(ctx.zeros(DType::kF32, p.shape()));
  }
}

double AdamW::gradient_norm(Context& ctx) const {
  double sum = 0;
  if (!ctx.runs()) return 0;
  for (const Variable& p : parameters_)
    if (p.gradient().defined()) sum += sum_of_squares(*ctx.pool, p.gradient().data<float>(), p.gradient().count());
  return std::sqrt(sum);
}

void AdamW::step(Context& ctx, float learning_rate, float gradient_scale, int64_t steps_done) {
  AdamWStep s{.learning_rate = learning_rate,
              .beta1 = options_.beta1,
              .beta2 = options_.beta2,
              .eps = options_.eps,
              .weight_decay = 0,
              .correction1 = float(1 - std::pow(double(options_.beta1), double(steps_done + 1))),
              .correction2 = float(1 - std::pow(double(options_.beta2), double(steps_done + 1))),
              .gradient_scale = gradient_scale};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Variable& p = parameters_[i];
    s.weight_decay = p.shape().rank() >= 2 ? options_.weight_decay : 0;
    if (ctx.runs() && p.gradient().defined())
      adamw(*ctx.pool, s, p.value().count(), p.gradient().data<float>(), p.value().data<float>(), m_[i].data<float>(),
            v_[i].data<float>());
    p.gradient() = Tensor();
  }
}

float clip_scale(double norm, float max_norm) {
  return max_norm > 0 ? float(std::min(1.0, double(max_norm) / (norm + 1e-6))) : 1.0f;
}

}  // namespace sedum
