#include "model/checkpoint/factory.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "compute/kernels/outliers.h"
#include "compute/kernels/quantised.h"
#include "compute/ops/check.h"
#include "model/checkpoint/quantised.h"

namespace sedum {

Tensor decoded(const Tensor& stored, ThreadPool& pool, Arena& arena) {
  Tensor t = Tensor::empty(arena, DType::kF32, stored.shape());
  if (!arena.backed()) return t;
  const int64_t rows = stored.shape().rows(), cols = stored.shape().rank() ? stored.size(-1) : 1;
  const size_t bytes = row_bytes(stored.dtype(), cols);
  pool.parallel_for(
      rows,
      [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          decode(stored.dtype(), static_cast<const char*>(stored.raw()) + size_t(r) * bytes, t.data<float>() + r * cols,
                 cols);
      },
      16);
  return t;
}

namespace {

void pack_weight(ops::Weight& w, Pack pack, ThreadPool& pool, const Arena& arena, float outliers = 0) {
  const ConstMatrix stored = ops::matrix(w.stored.value());
  if (pack != Pack::kNone && !w.packed) {
    std::unique_ptr<PackedMatrix> packed = pack_int8(pool, stored, arena.backed());
    if (packed && outliers > 0) keep_outliers(*packed, stored, outliers);
    w.packed = std::move(packed);
  }
  if (pack == Pack::kBoth && w.packed) w.packed_transposed = pack_int8_transposed(pool, stored, arena.backed());
}

}  // namespace

CheckpointFactory::CheckpointFactory(const Checkpoint& checkpoint, Use use, ThreadPool& pool, Arena& arena, Pack pack,
                                     PackedStore* store)
    : checkpoint_(checkpoint), use_(use), pool_(pool), arena_(arena), pack_(pack), store_(store) {
  if (use == Use::kFrozen && pack != Pack::kNone && !checkpoint.is_gguf())
    outliers_ = read_quantisation(checkpoint.path()).int8_outliers;
}

Tensor CheckpointFactory::checked(const std::string& name, const Shape& shape, Tensor t) const {
  if (!(t.shape() == shape))
    throw Error(checkpoint_.source().where() + ": " + checkpoint_.stored_name(name) + " is " + t.shape().text() +
                    ", the config asks for " + shape.text(),
                "weights and config do not belong together");
  return t;
}

Variable CheckpointFactory::variable(const Tensor& stored, const std::string& name, bool keep_type) {
  if (use_ == Use::kFrozen)
    return Variable(keep_type || stored.dtype() == DType::kF32 ? stored : decoded(stored, pool_, arena_));
  parameters_.push_back(Variable::parameter(decoded(stored, pool_, arena_), name));
  return parameters_.back();
}

ops::Weight CheckpointFactory::weight(const std::string& name, const Shape& shape) {
  const Tensor outline = checked(name, shape, checkpoint_.outline(name));
  const bool copies = !outline.defined() && leave_out_copies_ && use_ == Use::kFrozen && pack_ == Pack::kForward;
  if (copies && store_ && arena_.backed())
    if (auto packed = store_->find(name, outline)) {
      packed_bytes_ += packed->bytes();
      return {Variable(outline), std::move(packed)};
    }
  ops::Weight w{variable(outline.defined() ? outline : checkpoint_.tensor(name), name, true)};
  if (use_ == Use::kFrozen) {
    // But for tables and heads, which stay as they were. Outliers are no part of the cache on disk.
    const bool layer = name.find("embed") == name.npos && !name.starts_with("lm_head");
    const float outliers = layer ? outliers_ : 0;
    PackedStore* const store = pack_ != Pack::kNone && arena_.backed() && outliers == 0 ? store_ : nullptr;
    if (store) w.packed = store->find(name, w.stored.value());
    const bool kept = w.packed != nullptr;
    pack_weight(w, pack_, pool_, arena_, outliers);
    if (store && w.packed && !kept) store->add(name, w.stored.value(), w.packed);
    if (copies && w.packed) w.stored = Variable(outline);
  }
  for (const auto& packed : {w.packed, w.packed_transposed}) packed_bytes_ += packed ? packed->bytes() : 0;
  return w;
}

std::unique_ptr<Linear> CheckpointFactory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                                  bool bias) {
  ops::Weight w = weight(name + ".weight", {out_features, in_features});
  Variable b = bias ? variable(checked(name + ".bias", {out_features}), name + ".bias", false) : Variable();
  return std::make_unique<DenseLinear>(std::move(w), std::move(b));
}

Variable CheckpointFactory::vector(const std::string& name, int64_t size) {
  const std::string stored = vector_name(name);
  return variable(checked(stored, {size}), stored, false);
}

ops::Weight CheckpointFactory::table(const std::string& name, int64_t rows, int64_t cols) {
  return weight(name + ".weight", {rows, cols});
}

Variable RandomFactory::filled(const std::string& name, const Shape& shape, float deviation, float mean) {
  Tensor t = Tensor::empty(arena_, DType::kF32, shape);
  const Random rng(seed_, Purpose::kInit, stream_of(name));
  if (arena_.backed())
    pool_.parallel_for(
        t.count(),
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            t.data<float>()[i] = deviation == 0 ? mean : mean + deviation * rng.normal(uint64_t(i));
        },
        4096);
  if (frozen_) {
    if (frozen_dtype_ == DType::kF32 || shape.rank() < 2) return Variable(t);
    Tensor stored = Tensor::empty(arena_, frozen_dtype_, shape);
    if (arena_.backed())
      pool_.parallel_for(shape.rows(), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          encode(frozen_dtype_, t.data<float>() + r * shape[-1],
                 static_cast<char*>(stored.raw()) + size_t(r) * row_bytes(frozen_dtype_, shape[-1]), shape[-1]);
      });
    return Variable(stored);
  }
  parameters_.push_back(Variable::parameter(t, name));
  return parameters_.back();
}

std::unique_ptr<Linear> RandomFactory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                              bool bias) {
  ops::Weight w = table(name, out_features, in_features);
  return std::make_unique<DenseLinear>(std::move(w), bias ? filled(name + ".bias", {out_features}, 0, 0) : Variable());
}
Variable RandomFactory::vector(const std::string& name, int64_t size) {
  return filled(vector_name(name), {size}, 0, is_shift(name) ? 0 : 1);
}
ops::Weight RandomFactory::table(const std::string& name, int64_t rows, int64_t cols) {
  ops::Weight w{filled(name + ".weight", {rows, cols}, deviation_, 0)};
  if (frozen_) pack_weight(w, pack_, pool_, arena_);
  return w;
}

}  // namespace sedum
