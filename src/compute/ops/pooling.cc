#include "compute/ops/pooling.h"

#include "compute/ops/check.h"

namespace sedum::ops {

Variable segment_mean(Context& ctx, const Variable& x, const Segments& segments) {
  check_contiguous("segment_mean", x.value());
  const int64_t cols = x.shape()[-1], count = int64_t(segments->size());
  for (const AttentionSegment& s : *segments)
    check(s.query_count > 0 && s.query_begin >= 0 && s.query_begin + s.query_count <= x.shape().rows(), "segment_mean",
          "a segment is empty or reaches beyond the rows");
  Tensor y = ctx.empty(x.dtype(), {count, cols});
  if (ctx.runs())
    with_type("segment_mean", x.dtype(), [&]<class T>(T) {
      using S = stat_t<T>;
      ctx.pool->parallel_for(count, [&](int64_t begin, int64_t end) {
        std::vector<S> sum(static_cast<size_t>(cols));
        for (int64_t i = begin; i < end; ++i) {
          const AttentionSegment& s = (*segments)[size_t(i)];
          std::fill(sum.begin(), sum.end(), S(0));
          for (int64_t r = s.query_begin; r < s.query_begin + s.query_count; ++r)
            for (int64_t c = 0; c < cols; ++c) sum[size_t(c)] += static_cast<S>(x.value().data<T>()[r * cols + c]);
          for (int64_t c = 0; c < cols; ++c) y.data<T>()[i * cols + c] = T(sum[size_t(c)] / S(s.query_count));
        }
      });
    });
  return record(ctx, "segment_mean", {&x}, y, [segments, shape = x.shape(), cols](BackwardPass& pass) {
    Context& c = pass.context();
    const Tensor& dy = pass.gradient();
    Tensor dx = c.zeros(dy.dtype(), shape);
    if (c.runs())
      with_type("segment_mean", dy.dtype(), [&]<class T>(T) {
        using S = stat_t<T>;
        for (size_t i = 0; i < segments->size(); ++i) {
          const AttentionSegment& s = (*segments)[i];
          const T* from = dy.data<T>() + int64_t(i) * cols;
          for (int64_t r = s.query_begin; r < s.query_begin + s.query_count; ++r)
            for (int64_t d = 0; d < cols; ++d)
              dx.data<T>()[r * cols + d] = T(static_cast<S>(from[d]) / S(s.query_count));
        }
      });
    pass.add(0, dx);
  });
}

}  // namespace sedum::ops
