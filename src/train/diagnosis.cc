#include "train/diagnosis.h"

#include <cmath>

#include <fmt/format.h>

#include "compute/kernels/optimizer.h"

namespace sedum {
namespace {

// The sum of squares in double is finite exactly when every f32 is.
bool all_finite(const Context& ctx, const Tensor& t) {
  if (t.dtype() == DType::kF32) return std::isfinite(sum_of_squares(*ctx.pool, t.data<float>(), t.count()));
  if (t.dtype() == DType::kBF16)
    for (int64_t i = 0; i < t.count(); ++i)
      if (!std::isfinite(float(t.data<bf16>()[i]))) return false;
  return true;
}

std::pair<int64_t, double> first_bad(const Tensor& t) {
  for (int64_t i = 0; i < t.count(); ++i) {
    const double value = t.dtype() == DType::kF32 ? double(t.data<float>()[i]) : double(float(t.data<bf16>()[i]));
    if (!std::isfinite(value)) return {i, value};
  }
  return {0, 0};
}

}  // namespace

Observer NanWatch::observer() {
  return [this](const Seen& seen) { look(seen); };
}

void NanWatch::look(const Seen& seen) {
  if (!seen.name.empty()) last_name_ = seen.name;
  if (found_ || all_finite(ctx_, seen.values)) return;
  const auto [index, value] = first_bad(seen.values);
  found_ = true;
  const int64_t cols = seen.values.shape().rank() >= 2 ? seen.values.size(-1) : 1;
  if (seen.values.shape().rank() >= 2 && !seen.parameter) token_ = index / cols;
  what_ = fmt::format("{}{} {} {} gave {} at place {} of {}", seen.backward ? "going back, " : "", seen.op,
                      seen.name.empty() ? "after" : "of", last_name_.empty() ? "the input" : last_name_, value, index,
                      seen.values.shape().text());
}

std::string parameter_that_is_no_number(const Context& ctx, const std::vector<Variable>& parameters) {
  for (const Variable& p : parameters)
    if (!all_finite(ctx, p.value())) {
      const auto [index, value] = first_bad(p.value());
      return fmt::format("the parameter {} itself is {} at place {} of {}", p.name(), value, index, p.shape().text());
    }
  return "";
}

std::string diagnose(Context& ctx, const TrainConfig& config, const TrainableModel& trained, const data::Loader& loader,
                     Objective& objective, int64_t step) {
  const auto drop_gradients = [&] {
    for (const Variable& p : trained.parameters) p.gradient() = Tensor();
  };
  drop_gradients();
  std::string what = parameter_that_is_no_number(ctx, trained.parameters);
  objective.begin_step(ctx, step);
  for (int micro = 0; what.empty() && micro < config.gradient_accumulation_steps; ++micro) {
    Tape tape;
    NanWatch watch(ctx);
    const ScopedObserver watching(watch.observer());
    const data::StepBatch batch = loader.batch(step, micro);
    objective.train_on(ctx, tape, batch);
    if (watch.found()) what = watch.what() + "; " + name_rows(batch, watch.token());
  }
  drop_gradients();
  return what.empty() ? "each result is a number: only their sum is not" : what;
}

std::string name_rows(const data::StepBatch& batch, int64_t token) {
  std::vector<uint32_t> rows;
  for (size_t i = 0; i < batch.segments.size(); ++i) {
    if (token >= batch.segments[i].begin && token < batch.segments[i].begin + batch.segments[i].count)
      return fmt::format("in the training row {}", batch.samples[i] + 1);
    if (rows.empty() || rows.back() != batch.samples[i] + 1) rows.push_back(batch.samples[i] + 1);
  }
  std::string text = "the batch's training rows are";
  for (size_t i = 0; i < rows.size(); ++i)
    text += (i == 0 ? " " : i + 1 == rows.size() ? " and " : ", ") + std::to_string(rows[i]);
  return text;
}

}  // namespace sedum
