#include "model/checkpoint/merge.h"

#include "base/error.h"
#include "compute/ops/check.h"

namespace sedum {

TensorReader merged_values(const Checkpoint& checkpoint, StoredAdapter adapter, Runtime& runtime) {
  const auto shared = std::make_shared<const StoredAdapter>(std::move(adapter));
  std::map<std::string, bool> used;
  for (const auto& entry : shared->weights) used[entry.first] = false;
  for (const std::string& name : checkpoint.tensor_names()) {
    if (!name.ends_with(".weight")) continue;
    const std::string stem = name.substr(0, name.size() - 7);
    for (const char which : {'A', 'B'})
      if (const auto found = used.find(peft_name(stem, which)); found != used.end()) found->second = true;
  }
  for (const auto& [name, known] : used)
    if (!known)
      throw Error("the adapter's " + name + " fits no layer of " + checkpoint.path().string(),
                  "it was made for another model");

  return [&checkpoint, shared, &runtime, plain = stored_values(checkpoint)](const std::string& name) {
    std::vector<float> values = plain(name);
    if (!name.ends_with(".weight")) return values;
    const std::string stem = name.substr(0, name.size() - 7);
    const auto a = shared->weights.find(peft_name(stem, 'A')), b = shared->weights.find(peft_name(stem, 'B'));
    if (a == shared->weights.end() || b == shared->weights.end()) return values;
    const int64_t rows = b->second.size(0), cols = a->second.size(1), rank = a->second.size(0);
    if (b->second.size(1) != rank || rows * cols != int64_t(values.size()))
      throw Error("the adapter's weights of " + stem + " do not fit the model", "it was made for another model");
    Tensor scaled = Tensor::empty(runtime.arena, DType::kF32, b->second.shape());
    for (int64_t i = 0; i < scaled.count(); ++i)
      scaled.data<float>()[i] = b->second.data<float>()[i] * shared->config.factor();
    // W (N,K) += (factor · B) (N,r) · A (r,K)
    product_nn(runtime.pool, Compute::kF32, ops::matrix(scaled), ops::matrix(a->second),
               {DType::kF32, values.data(), rows, cols, size_t(cols) * sizeof(float)}, true);
    return values;
  };
}

}  // namespace sedum
