// Shazeer, Stern: "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, as transformers has it with an external learning
// rate: no first moment, no scaling by the parameter.

#include <algorithm>
#include <cmath>

#include "train/optim/optimizers.h"

namespace sedum {
namespace {

constexpr double kEps = 1e-30, kClipThreshold = 1, kDecayRate = -0.8;  // eps[0], clip_threshold, decay_rate

// The running means of squares with `mean(i)` of this step.
template <class F>
void move_means(Tensor& means, double rest, F&& mean) {
  float* at = means.data<float>();
  for (int64_t i = 0; i < means.count(); ++i) at[i] = float(double(at[i]) * (1 - rest) + rest * (mean(i) + kEps));
}

double mean_of(const Tensor& t) {
  double sum = 0;
  for (int64_t i = 0; i < t.count(); ++i) sum += double(t.data<float>()[i]);
  return sum / double(t.count());
}

}  // namespace

Adafactor::Adafactor(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options)
    : Optimizer(std::move(parameters), options) {
  for (const Variable& p : parameters_) {
    const bool factored = p.shape().rank() >= 2;
    rows_.push_back(factored ? ctx.zeros(DType::kF32, {p.shape().rows()}) : Tensor());
    columns_.push_back(ctx.zeros(DType::kF32, {factored ? p.shape()[-1] : p.shape().count()}));
  }
}

void Adafactor::update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) {
  const bool factored = rows_[i].defined();
  const int64_t cols = columns_[i].count(), rows = gradient.count() / std::max<int64_t>(cols, 1);
  Tensor scratch = ctx.empty(DType::kF32, {adafactor_scratch(rows, cols)}), sums = ctx.empty(DType::kF64, {rows}),
         r = ctx.empty(DType::kF32, {rows}), c = ctx.empty(DType::kF32, {cols});
  if (!ctx.runs()) return;
  const double rest = std::pow(double(u.step), kDecayRate);  // 1 − β2 of this step
  const double square = u.gradient_scale * u.gradient_scale;
  const float* g = gradient.data<float>();
  squares_by_row_and_column(*ctx.pool, g, rows, cols, sums.data<double>(), c.data<float>(), scratch.data<float>());
  move_means(columns_[i], rest, [&](int64_t k) { return square * double(c.data<float>()[k]) / double(rows); });
  if (factored) move_means(rows_[i], rest, [&](int64_t k) { return square * sums.data<double>()[k] / double(cols); });
  const double mean = factored ? mean_of(rows_[i]) : 1;
  for (int64_t k = 0; k < rows; ++k)
    r.data<float>()[k] = factored ? float(1 / std::sqrt(double(rows_[i].data<float>()[k]) / mean)) : 1.0f;
  for (int64_t k = 0; k < cols; ++k) c.data<float>()[k] = float(1 / std::sqrt(double(columns_[i].data<float>()[k])));
  const double size =
      std::sqrt(square * sum_of_factored_squares(*ctx.pool, g, r.data<float>(), c.data<float>(), rows, cols) /
                double(gradient.count()));
  factored_step(*ctx.pool, 1 - u.weight_decay * u.learning_rate,
                u.learning_rate * u.gradient_scale / std::max(1.0, size / kClipThreshold), g, r.data<float>(),
                c.data<float>(), rows, cols, stored_parameter(i), u.rounding);
}

std::vector<OptimizerState> Adafactor::states() const {
  std::vector<OptimizerState> all;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (rows_[i].defined()) all.push_back({"row_means." + parameters_[i].name(), rows_[i]});
    all.push_back({"column_means." + parameters_[i].name(), columns_[i]});
  }
  return all;
}

}  // namespace sedum
