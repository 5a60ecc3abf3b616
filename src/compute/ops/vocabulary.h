#pragma once
// What operators over the whole vocabulary share: only rows with a label are multiplied, and logits are held a chunk at a time.

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"
#include "compute/ops/loss.h"

namespace sedum::ops {

// Of logits at a time. For each chunk the head's weight is read twice, and its gradient read and written: 32 MiB cost 1-2 % of a step.
inline constexpr int64_t kChunkBytes = 64 << 20;

inline void check_labels(const char* op, const Ids& labels, int64_t rows, int64_t vocabulary) {
  check(int64_t(labels->size()) == rows, op,
        std::to_string(labels->size()) + " labels for " + std::to_string(rows) + " rows");
  for (const int32_t label : *labels)
    check(label == kIgnored || (label >= 0 && label < vocabulary), op,
          "label " + std::to_string(label) + " is not below " + std::to_string(vocabulary));
}

// The rows that have a label, ascending, and their labels.
struct LabelledRows {
  Ids rows;
  std::vector<int32_t> labels;
};
inline LabelledRows labelled_rows(const char* op, const Ids& labels, int64_t rows, int64_t vocabulary) {
  check_labels(op, labels, rows, vocabulary);
  auto chosen = std::make_shared<std::vector<int32_t>>();
  LabelledRows result{chosen, {}};
  for (size_t i = 0; i < labels->size(); ++i)
    if ((*labels)[i] != kIgnored) chosen->push_back(int32_t(i)), result.labels.push_back((*labels)[i]);
  return result;
}

inline DType statistic_type(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

// Chunks of equal length: a last one of a few rows would read the weight for nothing.
inline int64_t chunk_rows(int64_t count, int64_t vocabulary, DType type, int64_t chunk_bytes = kChunkBytes) {
  const int64_t most = std::max<int64_t>(chunk_bytes / int64_t(row_bytes(type, vocabulary)), 1);
  const int64_t chunks = std::max<int64_t>((count + most - 1) / most, 1);
  return std::max<int64_t>((count + chunks - 1) / chunks, 1);
}

// Without packed panels int8 means bf16 operands.
inline Compute head_compute(const Context& ctx) { return ctx.compute == Compute::kInt8 ? Compute::kBF16 : ctx.compute; }

// A chunk's logits = x · Wᵀ, capped where the head says so, by the packed form where the weight has one for this precision.
inline void chunk_logits(Context& ctx, const Tensor& x, const Weight& weight, Tensor& logits) {
  if (!weight.packed || weight.packed->compute() != ctx.compute)
    product_nt(ctx, head_compute(ctx), x, weight.stored.value(), logits);
  else if (ctx.runs())
    product_packed(*ctx.pool, matrix(x), *weight.packed, mutable_matrix(logits));
  if (weight.soft_cap > 0 && ctx.runs())
    with_statistic(logits.dtype(), [&]<class T>(T) {
      soft_cap_forward<T>(*ctx.pool, logits.data<T>(), weight.soft_cap, logits.count(), logits.data<T>());
    });
}

// The capped logits of a chunk, kept while their gradient takes their place: the cap's slope needs them. Without a cap nothing is kept.
class KeptLogits {
 public:
  KeptLogits(Context& ctx, const Weight& weight, DType type, int64_t rows) : cap_(weight.soft_cap) {
    if (cap_ > 0 && rows > 0) kept_ = ctx.empty(type, {rows, weight.out_features()});
  }
  void keep(Context& ctx, const Tensor& logits) {
    if (cap_ > 0 && ctx.runs()) std::memcpy(kept_.raw(), logits.raw(), logits.bytes());
  }
  // d by the capped logits → d by those before the cap, in place.
  void uncap(Context& ctx, Tensor& d) const {
    if (cap_ > 0 && ctx.runs())
      with_statistic(d.dtype(), [&]<class T>(T) {
        soft_cap_backward<T>(*ctx.pool, d.data<T>(), kept_.data<T>(), cap_, d.count(), d.data<T>());
      });
  }

 private:
  float cap_;
  Tensor kept_;
};

// dx = d · W, by the packed form where the weight has one for this precision.
inline void head_gradient(Context& ctx, const Tensor& d, const Weight& weight, Tensor& dx) {
  if (!weight.packed_transposed || weight.packed_transposed->compute() != ctx.compute)
    product_nn(ctx, head_compute(ctx), d, weight.stored.value(), dx);
  else if (ctx.runs())
    product_packed(*ctx.pool, matrix(d), *weight.packed_transposed, mutable_matrix(dx));
}

}  // namespace sedum::ops
