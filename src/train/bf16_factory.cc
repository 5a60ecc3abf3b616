#include "train/bf16_factory.h"

#include "base/error.h"

namespace sedum {

std::unique_ptr<Linear> Bf16Factory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                            bool bias) {
  const auto layer = base_.linear(name, out_features, in_features, bias);
  const DenseLinear& dense = layer->dense();
  const Variable weight = narrowed(dense.weight().stored);
  if (dense.bias()) parameters_.push_back(*dense.bias());
  return std::make_unique<DenseLinear>(ops::Weight{weight}, dense.bias() ? *dense.bias() : Variable());
}

Variable Bf16Factory::vector(const std::string& name, int64_t size) {
  parameters_.push_back(base_.vector(name, size));
  return parameters_.back();
}

ops::Weight Bf16Factory::table(const std::string& name, int64_t rows, int64_t cols) {
  return {narrowed(base_.table(name, rows, cols).stored)};
}

Variable Bf16Factory::narrowed(const Variable& wide) {
  SEDUM_CHECK(wide.needs_gradient() && wide.dtype() == DType::kF32 && wide.shape().rank() == 2);
  Tensor narrow = Tensor::empty(arena_, DType::kBF16, wide.shape());
  if (arena_.backed())
    pool_.parallel_for(
        wide.value().count(),
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) narrow.data<bf16>()[i] = bf16(wide.value().data<float>()[i]);
        },
        4096);
  parameters_.push_back(Variable::parameter(narrow, wide.name()));
  return parameters_.back();
}

}  // namespace sedum
