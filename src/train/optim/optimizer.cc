#include "train/optim/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "train/optim/optimizers.h"

namespace sedum {

Optimizer::Optimizer(std::vector<Variable> parameters, OptimizerOptions options)
    : parameters_(std::move(parameters)), options_(options) {}

double Optimizer::gradient_norm(Context& ctx) const {
  double sum = 0;
  if (!ctx.runs()) return 0;
  for (const Variable& p : parameters_)
    if (p.gradient().defined()) sum += sum_of_squares(*ctx.pool, p.gradient().data<float>(), p.gradient().count());
  return std::sqrt(sum);
}

void Optimizer::clip_gradient_values(Context& ctx, float most) {
  if (most <= 0 || !ctx.runs()) return;
  for (const Variable& p : parameters_)
    if (p.gradient().defined()) clip_values(*ctx.pool, p.gradient().data<float>(), most, p.gradient().count());
}

void Optimizer::step(Context& ctx, float learning_rate, float gradient_scale, int64_t steps_done) {
  Update u{.learning_rate = learning_rate,
           .gradient_scale = gradient_scale,
           .weight_decay = 0,
           .step = steps_done + 1,
           .rounding = {ctx.seed, uint32_t(steps_done)}};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Variable& p = parameters_[i];
    if (!p.gradient().defined()) continue;
    u.weight_decay = p.shape().rank() >= 2 ? options_.weight_decay : 0;
    update(ctx, i, p.gradient(), u);
    p.gradient() = Tensor();
  }
}

void Optimizer::drop_gradients() {
  for (const Variable& p : parameters_) p.gradient() = Tensor();
}

StoredArray Optimizer::stored_parameter(size_t i) { return stored_array(parameters_[i].value(), 3 * uint32_t(i)); }

StoredArray stored_array(Tensor& t, uint32_t stream) {
  if (!t.defined()) return {};
  SEDUM_CHECK(t.dtype() == DType::kF32 || t.dtype() == DType::kBF16);
  return {t.dtype() == DType::kF32 ? StoredAs::kF32 : StoredAs::kBF16, t.raw(), nullptr, stream};
}

std::unique_ptr<Optimizer> make_optimizer(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options) {
  switch (options.kind) {
    case OptimizerKind::kSgd:
      return std::make_unique<Sgd>(ctx, std::move(parameters), options);
    case OptimizerKind::kAdafactor:
      return std::make_unique<Adafactor>(ctx, std::move(parameters), options);
    case OptimizerKind::kMuon:
      return std::make_unique<Muon>(ctx, std::move(parameters), options);
    case OptimizerKind::kAdamW:
    case OptimizerKind::kAdamW8Bit:
    case OptimizerKind::kAdam:
      break;
  }
  return std::make_unique<AdamW>(ctx, std::move(parameters), options);
}

float clip_scale(double norm, float max_norm) {
  return max_norm > 0 ? float(std::min(1.0, double(max_norm) / (norm + 1e-6))) : 1.0f;
}

}  // namespace sedum
