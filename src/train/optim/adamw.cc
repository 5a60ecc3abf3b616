// AdamW, Adam, and AdamW with 8-bit moments.

#include <cmath>

#include "compute/kernels/dynamic8.h"
#include "train/optim/optimizers.h"

namespace sedum {
namespace {

constexpr int64_t kLeastIn8Bits = 4096;  // bitsandbytes' min_8bit_size

}  // namespace

Moments::Moments(Context& ctx, const Shape& shape, const OptimizerOptions& options) {
  if (options.kind == OptimizerKind::kAdamW8Bit && shape.count() >= kLeastIn8Bits) {
    const Shape blocks{(shape.count() + kBlock8 - 1) / kBlock8};
    first_ = ctx.zeros(DType::kU8, shape), second_ = ctx.zeros(DType::kU8, shape);
    first_absmax_ = ctx.zeros(DType::kF32, blocks), second_absmax_ = ctx.zeros(DType::kF32, blocks);
  } else {
    const DType type = options.kind == OptimizerKind::kAdamW8Bit ? DType::kF32 : options.state_dtype;
    first_ = ctx.zeros(type, shape), second_ = ctx.zeros(type, shape);
  }
}

StoredArray Moments::stored(Tensor& values, Tensor& absmax, bool sign, uint32_t stream) {
  if (!absmax.defined()) return stored_array(values, stream);
  return {sign ? StoredAs::kSigned8 : StoredAs::kUnsigned8, values.raw(), absmax.data<float>(), stream};
}

void Moments::update(Context& ctx, const OptimizerOptions& options, double learning_rate, double gradient_scale,
                     double weight_decay, int64_t step, const Tensor& gradient, StoredArray parameter,
                     StochasticRounding rounding) {
  if (!ctx.runs()) return;
  const AdamWStep s{.learning_rate = learning_rate,
                    .beta1 = options.beta1,
                    .beta2 = options.beta2,
                    .eps = options.eps,
                    .weight_decay = weight_decay,
                    .correction1 = 1 - std::pow(double(options.beta1), double(step)),
                    .correction2 = 1 - std::pow(double(options.beta2), double(step)),
                    .gradient_scale = gradient_scale,
                    .decoupled = options.kind != OptimizerKind::kAdam};
  adamw(*ctx.pool, s, gradient.count(), gradient.data<float>(), parameter,
        stored(first_, first_absmax_, true, parameter.stream + 1),
        stored(second_, second_absmax_, false, parameter.stream + 2), rounding);
}

void Moments::add_states(const std::string& parameter, std::vector<OptimizerState>& to) const {
  to.push_back({"first_moment." + parameter, first_});
  to.push_back({"second_moment." + parameter, second_});
  if (!first_absmax_.defined()) return;
  to.push_back({"first_moment_absmax." + parameter, first_absmax_});
  to.push_back({"second_moment_absmax." + parameter, second_absmax_});
}

AdamW::AdamW(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options)
    : Optimizer(std::move(parameters), options) {
  for (const Variable& p : parameters_) moments_.emplace_back(ctx, p.shape(), options_);
}

void AdamW::update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) {
  moments_[i].update(ctx, options_, u.learning_rate, u.gradient_scale, u.weight_decay, u.step, gradient,
                     stored_parameter(i), u.rounding);
}

std::vector<OptimizerState> AdamW::states() const {
  std::vector<OptimizerState> all;
  for (size_t i = 0; i < parameters_.size(); ++i) moments_[i].add_states(parameters_[i].name(), all);
  return all;
}

}  // namespace sedum
