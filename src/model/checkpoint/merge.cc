#include "model/checkpoint/merge.h"

#include <cmath>
#include <cstring>
#include <set>

#include "base/error.h"
#include "compute/ops/check.h"

namespace sedum {

namespace {

// The tensors of an adapter that belong to one of the model's: what merging one needs.
struct Parts {
  const Tensor *a = nullptr, *b = nullptr, *magnitude = nullptr;
  const Tensor* whole = nullptr;  // in place of the stored one: a bias, or a layer that was trained whole
};

const Tensor* find(const StoredAdapter& adapter, const std::string& name) {
  const auto found = adapter.weights.find(name);
  return found == adapter.weights.end() ? nullptr : &found->second;
}

std::string stem_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

std::vector<std::string> names_of(const std::string& tensor) {
  const std::string stem = stem_of(tensor);
  if (tensor.ends_with(".bias"))
    return {peft_saved_name(tensor), peft_bias_name(stem, true), peft_bias_name(stem, false)};
  return {peft_saved_name(tensor), peft_name(stem, 'A'), peft_name(stem, 'B'), peft_magnitude_name(stem)};
}

Parts parts_of(const StoredAdapter& adapter, const std::string& tensor) {
  Parts p;
  for (const std::string& name : names_of(tensor))
    if (name.find(".lora_") == std::string::npos && !p.whole) p.whole = find(adapter, name);
  const std::string stem = stem_of(tensor);
  if (tensor.ends_with(".weight"))
    p.a = find(adapter, peft_name(stem, 'A')), p.b = find(adapter, peft_name(stem, 'B')),
    p.magnitude = find(adapter, peft_magnitude_name(stem));
  return p;
}

// A tied model has one tensor for embeddings and head; an adapter that holds both must hold the same twice.
void check_tied(const StoredAdapter& adapter, const Checkpoint& checkpoint) {
  const Tensor *head = find(adapter, peft_saved_name("lm_head.weight")),
               *table = find(adapter, peft_saved_name("model.embed_tokens.weight"));
  if (!checkpoint.config().tie_word_embeddings || (!head && !table)) return;
  if (!head || !table || head->bytes() != table->bytes() || std::memcmp(head->raw(), table->raw(), head->bytes()) != 0)
    throw Error("the adapter makes embeddings and head two, which are one in " + checkpoint.path().string(),
                "keep the adapter beside the model");
}

// W (N,K) + factor · B (N,r) · A (r,K); with magnitudes each row is brought to its own.
void add_adapter(std::vector<float>& w, const Parts& p, float factor, Runtime& runtime) {
  const int64_t rows = p.b->size(0), cols = p.a->size(1);
  Tensor scaled = Tensor::empty(runtime.arena, DType::kF32, p.b->shape());
  for (int64_t i = 0; i < scaled.count(); ++i) scaled.data<float>()[i] = p.b->data<float>()[i] * factor;
  product_nn(runtime.pool, Compute::kF32, ops::matrix(scaled), ops::matrix(*p.a),
             {DType::kF32, w.data(), rows, cols, size_t(cols) * sizeof(float)}, true);
  for (int64_t r = 0; p.magnitude && r < rows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) sum += double(w[size_t(r * cols + c)]) * double(w[size_t(r * cols + c)]);
    const float scale = float(double(p.magnitude->data<float>()[r]) / std::sqrt(sum));
    for (int64_t c = 0; c < cols; ++c) w[size_t(r * cols + c)] *= scale;
  }
}

}  // namespace

TensorReader merged_values(const Checkpoint& checkpoint, StoredAdapter adapter, Runtime& runtime, TensorReader base) {
  if (!base) base = stored_values(checkpoint);
  const auto shared = std::make_shared<const StoredAdapter>(std::move(adapter));
  std::set<std::string> unused;
  for (const auto& entry : shared->weights) unused.insert(entry.first);
  for (const std::string& tensor : checkpoint.tensor_names())
    for (const std::string& name : names_of(tensor)) unused.erase(name);
  if (checkpoint.config().tie_word_embeddings) unused.erase(peft_saved_name("lm_head.weight"));
  if (!unused.empty())
    throw Error("the adapter's " + *unused.begin() + " fits no layer of " + checkpoint.path().string(),
                "it was made for another model");
  check_tied(*shared, checkpoint);

  return [&checkpoint, shared, &runtime, plain = std::move(base)](const std::string& name) {
    std::vector<float> values = plain(name);
    const Parts p = parts_of(*shared, name);
    const auto misfit = [&] {
      return Error("the adapter's weights of " + stem_of(name) + " do not fit the model",
                   "it was made for another model");
    };
    if (p.whole) {
      if (p.whole->count() != int64_t(values.size())) throw misfit();
      return std::vector<float>(p.whole->data<float>(), p.whole->data<float>() + p.whole->count());
    }
    if (!p.a || !p.b) return values;
    if (p.a->shape().rank() != 2 || p.b->shape().rank() != 2 || p.b->size(1) != p.a->size(0) ||
        p.b->size(0) * p.a->size(1) != int64_t(values.size()) || (p.magnitude && p.magnitude->count() != p.b->size(0)))
      throw misfit();
    if (shared->config.changes_base())
      values =
          lora_start(runtime.pool, shared->config, stem_of(name), values.data(), p.b->size(0), p.a->size(1), 0).base;
    add_adapter(values, p, shared->config.factor(stem_of(name)), runtime);
    return values;
  };
}

}  // namespace sedum
