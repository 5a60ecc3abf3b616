#include "compute/ops/dropout.h"

#include <algorithm>
#include <cmath>

#include "compute/ops/check.h"

namespace sedum::ops {
namespace {

std::array<uint32_t, 2> key_of(const Context& ctx, Purpose purpose, uint32_t site) {
  return {uint32_t(ctx.seed) ^ site, uint32_t(ctx.seed >> 32) ^ uint32_t(purpose) * 0x9E3779B9u};
}

void check_rows(const char* op, const Context& ctx, int64_t rows) {
  check(int64_t(ctx.rows->sequence.size()) == rows && int64_t(ctx.rows->position.size()) == rows, op,
        std::to_string(rows) + " rows, the context has keys for " + std::to_string(ctx.rows->sequence.size()));
}

void apply(Context& ctx, const CountedDropout& drop, const Tensor& x, Tensor& y) {
  const int64_t rows = x.size(0), cols = x.count() / std::max<int64_t>(rows, 1);
  with_type("dropout", x.dtype(), [&]<class T>(T) {
    ctx.pool->parallel_for(rows, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        DropoutRow row(&drop.dropout, r, 0);
        const T* from = x.data<T>() + r * cols;
        T* to = y.data<T>() + r * cols;
        for (int64_t c = 0; c < cols; ++c) to[c] = T(static_cast<stat_t<T>>(from[c]) * stat_t<T>(row.at(c)));
      }
    });
  });
}

}  // namespace

std::optional<CountedDropout> counted_dropout(const Context& ctx, float p, uint32_t site, int64_t rows) {
  check(p >= 0 && p < 1, "dropout", "a share of " + std::to_string(p) + " is not in [0, 1)");
  const auto threshold = uint32_t(std::lround(p * 65536));
  if (threshold == 0 || !ctx.rows || !ctx.runs()) return std::nullopt;
  check_rows("dropout", ctx, rows);
  return CountedDropout{{.threshold = threshold,
                         .scale = 65536.0f / float(65536 - threshold),
                         .key = key_of(ctx, Purpose::kDropout, site),
                         .step = ctx.step,
                         .sequence = ctx.rows->sequence.data(),
                         .position = ctx.rows->position.data()},
                        ctx.rows};
}

Variable dropout(Context& ctx, const Variable& x, float p, uint32_t site) {
  check(p >= 0 && p < 1, "dropout", "a share of " + std::to_string(p) + " is not in [0, 1)");
  if (p == 0 || !ctx.rows) return x;
  check_contiguous("dropout", x.value());
  const std::optional<CountedDropout> drop = counted_dropout(ctx, p, site, x.shape()[0]);
  if (!drop && ctx.runs()) return x;  // a share below the resolution of 2^-17
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (drop) apply(ctx, *drop, x.value(), y);
  return record(ctx, "dropout", {&x}, y, [drop](BackwardPass& pass) {
    Tensor dx = pass.context().empty(pass.gradient().dtype(), pass.gradient().shape());
    if (drop) apply(pass.context(), *drop, pass.gradient(), dx);
    pass.add(0, dx);
  });
}

Variable neftune(Context& ctx, const Variable& x, float alpha, const Segments& segments) {
  if (alpha == 0 || !ctx.rows) return x;
  const int64_t rows = x.shape().rows(), cols = x.shape()[-1];
  check_contiguous("neftune", x.value());
  check_rows("neftune", ctx, rows);
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (ctx.runs()) {
    std::vector<float> most(size_t(rows), 0.0f);
    for (const AttentionSegment& s : *segments)
      for (int64_t r = s.query_begin; r < s.query_begin + s.query_count; ++r)
        most[size_t(r)] = alpha / std::sqrt(float(s.query_count) * float(cols));
    const auto key = key_of(ctx, Purpose::kNoise, 0);
    with_type("neftune", x.dtype(), [&]<class T>(T) {
      ctx.pool->parallel_for(rows, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          std::array<uint32_t, 4> words{};
          for (int64_t c = 0; c < cols; ++c) {
            if (c % 4 == 0)
              words = philox4x32(
                  {uint32_t(c / 4), ctx.rows->position[size_t(r)], ctx.rows->sequence[size_t(r)], ctx.step}, key);
            const float u = float(words[size_t(c % 4)] >> 8) * 0x1p-23f - 1;  // [−1, 1)
            const int64_t i = r * cols + c;
            y.data<T>()[i] =
                T(static_cast<stat_t<T>>(x.value().data<T>()[i]) + stat_t<T>(u) * stat_t<T>(most[size_t(r)]));
          }
        }
      });
    });
  }
  return record(ctx, "neftune", {&x}, y, [](BackwardPass& pass) { pass.add(0, pass.gradient()); });
}

}  // namespace sedum::ops
