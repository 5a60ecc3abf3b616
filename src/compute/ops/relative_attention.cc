#include "compute/ops/relative_attention.h"

#include <cmath>
#include <functional>

#include "compute/kernels/ref/attention.h"
#include "compute/ops/check.h"
#include "compute/ops/dropout.h"

namespace sedum::ops {
namespace {

// What forward and backward share.
struct Call {
  AttentionShape shape;
  Segments segments;
  RelativeBuckets buckets;
  std::optional<CountedDropout> drop;
  int64_t width, kv_width;
  const Dropout* dropout() const { return drop ? &drop->dropout : nullptr; }
};

KeysValues rows_of(const Tensor& k, const Tensor& v) { return {k.dtype(), k.raw(), v.raw(), k.size(-1), 0, 0}; }

// The bucket of query i and key j of a segment: of j − i + this.
int64_t first_distance(const AttentionSegment& s) { return s.query_count - s.key_count; }

// Every segment with its bias written out, (heads, queries, keys).
std::vector<AttentionSegment> with_bias(Context& ctx, const Call& call, const Tensor& table,
                                        std::vector<Tensor>& keep) {
  std::vector<AttentionSegment> segments = *call.segments;
  const int64_t heads = call.shape.num_heads;
  for (AttentionSegment& s : segments) {
    Tensor bias = ctx.empty(DType::kF32, {heads, s.query_count, s.key_count});
    const float* from = table.data<float>();
    float* to = bias.data<float>();
    std::vector<int64_t> bucket_of(size_t(s.query_count + s.key_count));  // by j − i + queries
    for (int64_t d = 0; d < int64_t(bucket_of.size()); ++d)
      bucket_of[size_t(d)] = call.buckets.of(d - s.query_count + first_distance(s));
    ctx.pool->parallel_for(heads * s.query_count, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t head = r / s.query_count, i = r % s.query_count;
        const int64_t* buckets = bucket_of.data() + s.query_count - i;
        for (int64_t j = 0; j < s.key_count; ++j) to[r * s.key_count + j] = from[buckets[j] * heads + head];
      }
    });
    s.bias = to;
    keep.push_back(std::move(bias));
  }
  return segments;
}

// One row of one head: the probabilities before dropout of query i, given its scores without bias; keys it does not see get 0. Returns log Σ exp.
template <class S>
S probabilities(const Call& call, const AttentionSegment& s, const S* table, int64_t head, int64_t i, S* scores) {
  const auto [begin, end] = ref::visible_keys(call.shape, s, i);
  S max = -INFINITY, sum = 0;
  for (int64_t j = begin; j < end; ++j) {
    scores[j] = S(call.shape.scale) * scores[j] +
                table[call.buckets.of(j - i + first_distance(s)) * call.shape.num_heads + head];
    max = std::max(max, scores[j]);
  }
  for (int64_t j = 0; j < s.key_count; ++j) {
    scores[j] = j < begin || j >= end ? 0 : std::exp(scores[j] - max);
    sum += scores[j];
  }
  for (int64_t j = 0; j < s.key_count; ++j) scores[j] /= sum;
  return max + std::log(sum);
}

// The naive twin, in double: every score held. each(s, head, i, p): the probabilities of one query of one head.
void for_each_row(const Call& call, const double* q, const double* k, const double* table,
                  const std::function<void(const AttentionSegment&, int64_t, int64_t, double*)>& each) {
  const int64_t dim = call.shape.head_dim, group = call.shape.num_heads / call.shape.num_key_value_heads;
  for (const AttentionSegment& s : *call.segments) {
    std::vector<double> p(static_cast<size_t>(s.key_count));
    for (int64_t head = 0; head < call.shape.num_heads; ++head)
      for (int64_t i = 0; i < s.query_count; ++i) {
        const double* query = q + (s.query_begin + i) * call.width + head * dim;
        for (int64_t j = 0; j < s.key_count; ++j)
          p[size_t(j)] = ref::dot<double>(query, k + (s.key_begin + j) * call.kv_width + head / group * dim, int(dim));
        probabilities<double>(call, s, table, head, i, p.data());
        each(s, head, i, p.data());
      }
  }
}

void naive_forward(const Call& call, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& table,
                   Tensor& out) {
  const int64_t dim = call.shape.head_dim, group = call.shape.num_heads / call.shape.num_key_value_heads;
  for_each_row(call, q.data<double>(), k.data<double>(), table.data<double>(),
               [&](const AttentionSegment& s, int64_t head, int64_t i, const double* p) {
                 DropoutRow drops(call.dropout(), s.query_begin + i, uint32_t(head));
                 double* to = out.data<double>() + (s.query_begin + i) * call.width + head * dim;
                 std::fill_n(to, dim, 0.0);
                 for (int64_t j = 0; j < s.key_count; ++j) {
                   const double* value = v.data<double>() + (s.key_begin + j) * call.kv_width + head / group * dim;
                   const double weight = call.drop ? p[j] * double(drops.at(j)) : p[j];
                   for (int64_t d = 0; d < dim; ++d) to[d] += weight * value[d];
                 }
               });
}

// dscore = p (dp − dout · out), as in ref/attention.h; the table gets the sums of its buckets.
void naive_backward(const Call& call, const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor& table, const Tensor& out, Tensor& dq, Tensor& dk, Tensor& dv, double* dtable) {
  const int64_t dim = call.shape.head_dim, group = call.shape.num_heads / call.shape.num_key_value_heads;
  for (Tensor* t : {&dq, &dk, &dv}) std::fill_n(t->data<double>(), t->count(), 0.0);
  for_each_row(call, q.data<double>(), k.data<double>(), table.data<double>(),
               [&](const AttentionSegment& s, int64_t head, int64_t i, const double* p) {
                 DropoutRow drops(call.dropout(), s.query_begin + i, uint32_t(head));
                 const int64_t at = (s.query_begin + i) * call.width + head * dim;
                 const double* dy = dout.data<double>() + at;
                 const double delta = ref::dot<double>(dy, out.data<double>() + at, int(dim));
                 for (int64_t j = 0; j < s.key_count; ++j) {
                   const int64_t from = (s.key_begin + j) * call.kv_width + head / group * dim;
                   const double factor = call.drop ? double(drops.at(j)) : 1;
                   const double dscore =
                       p[j] * (factor * ref::dot<double>(dy, v.data<double>() + from, int(dim)) - delta);
                   for (int64_t d = 0; d < dim; ++d) {
                     dq.data<double>()[at + d] += dscore * double(call.shape.scale) * k.data<double>()[from + d];
                     dk.data<double>()[from + d] += dscore * double(call.shape.scale) * q.data<double>()[at + d];
                     dv.data<double>()[from + d] += factor * p[j] * dy[d];
                   }
                   if (dtable)
                     dtable[call.buckets.of(j - i + first_distance(s)) * call.shape.num_heads + head] += dscore;
                 }
               });
}

// Head `head` of rows [begin, begin + count) as a matrix.
ConstMatrix head_of(const Tensor& t, int64_t begin, int64_t count, int64_t head, int64_t dim) {
  return {DType::kF32, t.data<float>() + begin * t.size(-1) + head * dim, count, dim,
          size_t(t.size(-1)) * sizeof(float)};
}

// The table's gradient beside the kernel's of q, k and v: scores and dp once more, by products, a segment at a time.
void add_table_gradient(Context& ctx, const Call& call, const Tensor& dout, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& table, const Tensor& out, float* dtable) {
  const int64_t dim = call.shape.head_dim, heads = call.shape.num_heads, group = heads / call.shape.num_key_value_heads;
  for (const AttentionSegment& s : *call.segments) {
    Tensor scores = ctx.empty(DType::kF32, {heads, s.query_count, s.key_count}),
           dp = ctx.empty(DType::kF32, scores.shape());
    const int64_t size = s.query_count * s.key_count;
    const auto plane = [&](Tensor& t, int64_t head) {
      return MutableMatrix{DType::kF32, t.data<float>() + head * size, s.query_count, s.key_count,
                           size_t(s.key_count) * sizeof(float)};
    };
    for (int64_t head = 0; head < heads; ++head) {
      sedum::product_nt(*ctx.pool, Compute::kF32, head_of(q, s.query_begin, s.query_count, head, dim),
                        head_of(k, s.key_begin, s.key_count, head / group, dim), plane(scores, head));
      sedum::product_nt(*ctx.pool, Compute::kF32, head_of(dout, s.query_begin, s.query_count, head, dim),
                        head_of(v, s.key_begin, s.key_count, head / group, dim), plane(dp, head));
    }
    ctx.pool->parallel_for(heads, [&](int64_t begin, int64_t end) {
      for (int64_t head = begin; head < end; ++head) {
        std::vector<double> sums(static_cast<size_t>(call.buckets.count));
        for (int64_t i = 0; i < s.query_count; ++i) {
          float* p = scores.data<float>() + head * size + i * s.key_count;
          const float* change = dp.data<float>() + head * size + i * s.key_count;
          const int64_t at = (s.query_begin + i) * call.width + head * dim;
          const float delta = ref::dot<float>(dout.data<float>() + at, out.data<float>() + at, int(dim));
          probabilities<float>(call, s, table.data<float>(), head, i, p);
          DropoutRow drops(call.dropout(), s.query_begin + i, uint32_t(head));
          for (int64_t j = 0; j < s.key_count; ++j)
            sums[size_t(call.buckets.of(j - i + first_distance(s)))] +=
                double(p[j] * ((call.drop ? drops.at(j) : 1) * change[j] - delta));
        }
        for (int64_t b = 0; b < call.buckets.count; ++b) dtable[b * heads + head] += float(sums[size_t(b)]);
      }
    });
  }
}

void check_call(const Call& call, const Variable& q, const Variable& k, const Variable& v, const Variable& table) {
  const char* op = "relative_attention";
  check_same_shape(op, k, v);
  check(q.shape()[-1] == call.width && k.shape()[-1] == call.kv_width &&
            call.shape.num_heads % call.shape.num_key_value_heads == 0 && call.shape.soft_cap == 0,
        op, "q " + q.shape().text() + " and k " + k.shape().text() + " do not fit the heads");
  check(q.dtype() == k.dtype() && (q.dtype() == DType::kF32 || q.dtype() == DType::kF64) && table.dtype() == q.dtype(),
        op, "q, k, v and the table are f32 together");
  check(table.shape() == Shape{call.buckets.count, call.shape.num_heads}, op,
        "the table " + table.shape().text() + " is not (buckets, heads)");
  for (const AttentionSegment& s : *call.segments)
    check(s.query_begin >= 0 && s.query_begin + s.query_count <= q.shape().rows() && s.key_begin >= 0 &&
              s.key_begin + s.key_count <= k.shape().rows() && !s.pages && !s.bias,
          op, "a segment reaches beyond the rows");
}

}  // namespace

int64_t RelativeBuckets::of(int64_t distance) const {
  const int64_t half = bidirectional ? count / 2 : count, exact = half / 2;
  const int64_t base = bidirectional && distance > 0 ? half : 0;
  const int64_t far = bidirectional ? std::abs(distance) : std::max<int64_t>(0, -distance);
  if (far < exact) return base + far;
  // In f32, as the reference computes it: at a bucket's edge the last bit decides.
  const float place = std::log(float(far) / float(exact)) / float(std::log(double(max_distance) / double(exact)));
  return base + std::min<int64_t>(half - 1, exact + int64_t(place * float(half - exact)));
}

Variable relative_attention(Context& ctx, const Variable& q, const Variable& k, const Variable& v,
                            const Variable& table, const RelativeBuckets& buckets, const AttentionShape& shape,
                            const Segments& segments, float dropout, uint32_t site) {
  const Call call{shape,
                  segments,
                  buckets,
                  counted_dropout(ctx, dropout, site, q.shape().rows()),
                  int64_t(shape.num_heads) * shape.head_dim,
                  int64_t(shape.num_key_value_heads) * shape.head_dim};
  check_call(call, q, k, v, table);
  const bool naive = q.dtype() == DType::kF64;
  Tensor out = ctx.empty(q.dtype(), q.shape());
  Tensor lse = recording(ctx, {&q, &k, &v, &table}) && !naive
                   ? ctx.empty(DType::kF32, {q.shape().rows(), shape.num_heads})
                   : Tensor();
  if (ctx.runs() && naive) naive_forward(call, q.value(), k.value(), v.value(), table.value(), out);
  if (ctx.runs() && !naive) {
    std::vector<Tensor> keep;
    attention_forward<float>(*ctx.pool, shape, with_bias(ctx, call, table.value(), keep), q.value().data<float>(),
                             call.width, rows_of(k.value(), v.value()), out.data<float>(), call.width,
                             lse.defined() ? lse.data<float>() : nullptr, call.dropout());
  }
  if (!ctx.runs() && ctx.working) ctx.working->attention(shape, *segments, false);
  return record(
      ctx, "relative_attention", {&q, &k, &v, &table}, out,
      [call, naive, qv = q.value(), kv = k.value(), vv = v.value(), tv = table.value(), out, lse](BackwardPass& pass) {
        Context& c = pass.context();
        Tensor dq = c.empty(qv.dtype(), qv.shape()), dk = c.empty(kv.dtype(), kv.shape()),
               dv = c.empty(vv.dtype(), vv.shape());
        Tensor dtable = pass.wants(3) ? pass.sum(3) : Tensor();
        if (c.runs() && naive)
          naive_backward(call, pass.gradient(), qv, kv, vv, tv, out, dq, dk, dv,
                         dtable.defined() ? dtable.data<double>() : nullptr);
        if (c.runs() && !naive) {
          std::vector<Tensor> keep;
          attention_backward<float>(*c.pool, call.shape, with_bias(c, call, tv, keep), pass.gradient().data<float>(),
                                    qv.data<float>(), call.width, rows_of(kv, vv), out.data<float>(), call.width,
                                    lse.data<float>(), dq.data<float>(), dk.data<float>(), dv.data<float>(),
                                    call.dropout());
          if (dtable.defined()) add_table_gradient(c, call, pass.gradient(), qv, kv, vv, tv, out, dtable.data<float>());
        }
        if (!c.runs() && c.working) c.working->attention(call.shape, *call.segments, true);
        if (pass.wants(0)) pass.add(0, dq);
        if (pass.wants(1)) pass.add(1, dk);
        if (pass.wants(2)) pass.add(2, dv);
      });
}

}  // namespace sedum::ops
