#pragma once
// The naive twins of attention.h: one query head, one query at a time, every score held.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "compute/kernels/attention.h"
#include "compute/kernels/scaled_heads.h"

namespace sedum {
namespace ref {

// A vector of integers with scales, read like one of numbers.
struct ScaledRow {
  const int8_t* q;
  const bf16* scales;
  float operator[](int d) const { return float(q[d]) * float(scales[d / kScaledValues]); }
};

// A key that lies by dimension.
template <class K>
struct StridedRow {
  const K* p;
  int64_t stride;
  K operator[](int d) const { return p[d * stride]; }
};

// One stored value, whatever the layout: of token j of a segment, head h of the key-value heads.
template <class K>
auto value_row(const AttentionShape& shape, const AttentionSegment& segment, const KeysValues& kv, const void* base,
               int64_t j, int64_t h) {
  const K* p = static_cast<const K*>(base);
  if constexpr (std::is_same_v<K, int8_t>) {
    const int64_t page = segment.pages[j / kv.page_size], slot = h * kv.page_size + j % kv.page_size;
    const int8_t* const row = p + page * kv.page_stride + slot * scaled_head_bytes(shape.head_dim);
    return ScaledRow{row, scales_in(row, shape.head_dim)};
  } else {
    if (kv.page_size == 0) return p + (segment.key_begin + j) * kv.row_stride + h * shape.head_dim;
    const int64_t page = segment.pages[j / kv.page_size];
    return p + page * kv.page_stride + (h * kv.page_size + j % kv.page_size) * shape.head_dim;
  }
}
// One stored key.
template <class K>
auto key_row(const AttentionShape& shape, const AttentionSegment& segment, const KeysValues& kv, int64_t j, int64_t h) {
  if constexpr (std::is_same_v<K, int8_t>) {
    return value_row<K>(shape, segment, kv, kv.keys, j, h);
  } else {
    if (kv.page_size == 0) return StridedRow<K>{value_row<K>(shape, segment, kv, kv.keys, j, h), 1};
    const K* const page = static_cast<const K*>(kv.keys) + segment.pages[j / kv.page_size] * kv.page_stride;
    return StridedRow<K>{page + h * shape.head_dim * kv.page_size + j % kv.page_size, kv.page_size};
  }
}

inline void quantise_head(const float* x, int64_t dim, int8_t* q) {
  auto* scales = reinterpret_cast<bf16*>(q + scales_at(dim));
  for (int64_t begin = 0; begin < dim; begin += kScaledValues, ++scales) {
    const int64_t end = std::min(begin + kScaledValues, dim);
    float most = 0;
    bool finite = true;
    for (int64_t d = begin; d < end; ++d) most = std::max(most, std::fabs(x[d])), finite &= std::isfinite(x[d]);
    *scales = bf16(!finite ? NAN : most < 1e-30f ? 0 : most / 127);
    const float inverse = finite && most >= 1e-30f ? 1 / float(*scales) : 0;
    for (int64_t d = begin; d < end; ++d) q[d] = finite ? int8_t(std::nearbyint(x[d] * inverse)) : int8_t{0};
  }
}

// The keys [begin, end) that query i of a segment sees.
struct VisibleKeys {
  int64_t begin, end;
};
inline VisibleKeys visible_keys(const AttentionShape& shape, const AttentionSegment& segment, int64_t i) {
  const int64_t position = segment.key_count - segment.query_count + i;
  const int64_t end = shape.causal ? std::clamp(position + 1, int64_t{0}, segment.key_count) : segment.key_count;
  const int64_t begin = shape.causal && shape.window > 0 ? std::max(int64_t{0}, position + 1 - shape.window) : 0;
  return {std::min(begin, end), end};
}

// score = scale · q·k, capped if asked for, plus the bias. `slope` is its derivative by scale · q·k: 1 − tanh².
template <class S>
struct Score {
  S value, slope;
};
template <class S>
Score<S> score_of(const AttentionShape& shape, const AttentionSegment& segment, int64_t head, int64_t i, int64_t j,
                  S product) {
  Score<S> score{product * S(shape.scale), 1};
  if (shape.soft_cap > 0) {
    const S t = std::tanh(score.value / S(shape.soft_cap));
    score = {S(shape.soft_cap) * t, 1 - t * t};
  }
  if (segment.bias) score.value += S(segment.bias[(head * segment.query_count + i) * segment.key_count + j]);
  return score;
}

template <class S, class A, class B>
S dot(A a, B b, int n) {
  S sum = 0;
  for (int d = 0; d < n; ++d) sum += static_cast<S>(a[d]) * static_cast<S>(b[d]);
  return sum;
}

// out = softmax(scores) · V and log Σ exp(scores), for one query head of one segment. A query that sees no key (or only keys of
// bias −inf) gives zeros and −inf.
template <class T, class K>
void attention_forward(const AttentionShape& shape, const AttentionSegment& segment, int head, const T* q,
                       int64_t q_stride, const KeysValues& kv, T* out, int64_t out_stride, stat_t<T>* log_sum_exp,
                       const Dropout* dropout = nullptr) {
  using S = stat_t<T>;
  const int dim = shape.head_dim, kv_head = head / (shape.num_heads / shape.num_key_value_heads);
  std::vector<S> p(static_cast<size_t>(segment.key_count)), sum_v(static_cast<size_t>(dim));
  std::vector<S> query(static_cast<size_t>(dim));
  for (int64_t i = 0; i < segment.query_count; ++i) {
    const int64_t row = segment.query_begin + i;
    const auto [begin, end] = visible_keys(shape, segment, i);
    S max = -std::numeric_limits<S>::infinity();
    for (int d = 0; d < dim; ++d) query[size_t(d)] = static_cast<S>(q[row * q_stride + head * dim + d]);
    if constexpr (std::is_same_v<K, int8_t>) turn_query(query.data(), dim);
    for (int64_t j = begin; j < end; ++j) {
      const auto k = key_row<K>(shape, segment, kv, j, kv_head);
      p[size_t(j)] = score_of<S>(shape, segment, head, i, j, dot<S>(query.data(), k, dim)).value;
      max = max < p[size_t(j)] ? p[size_t(j)] : max;
    }
    if (max == -std::numeric_limits<S>::infinity()) max = 0;  // nothing seen: exp(−inf − 0) is 0, and NaN stays NaN
    S sum = 0;
    DropoutRow drops(dropout, row, uint32_t(head));
    std::fill(sum_v.begin(), sum_v.end(), S(0));
    for (int64_t j = begin; j < end; ++j) {
      const S weight = std::exp(p[size_t(j)] - max);
      const auto v = value_row<K>(shape, segment, kv, kv.values, j, kv_head);
      sum += weight;
      const S kept = dropout ? weight * S(drops.at(j)) : weight;
      for (int d = 0; d < dim; ++d) sum_v[size_t(d)] += kept * static_cast<S>(v[d]);
    }
    const S inverse = sum == 0 ? S(0) : 1 / sum;
    for (int d = 0; d < dim; ++d) out[row * out_stride + head * dim + d] = T(sum_v[size_t(d)] * inverse);
    if (log_sum_exp) log_sum_exp[row * shape.num_heads + head] = max + std::log(sum);
  }
}

// With p = exp(score − log-sum-exp) computed again and dp = dout · V: dscore = p (dp − Σ p dp), where Σ p dp = dout · out needs no
// second look at the keys. For one key-value head, whose query heads share dk and dv.
template <class T, class K>
void attention_backward(const AttentionShape& shape, const AttentionSegment& segment, int kv_head, const T* dout,
                        const T* q, int64_t q_stride, const KeysValues& kv, const T* out, int64_t out_stride,
                        const stat_t<T>* log_sum_exp, T* dq, T* dk, T* dv, const Dropout* dropout = nullptr) {
  using S = stat_t<T>;
  const int dim = shape.head_dim, group = shape.num_heads / shape.num_key_value_heads;
  std::vector<S> dk_sum(static_cast<size_t>(segment.key_count * dim)), dv_sum(dk_sum.size()),
      dq_sum(static_cast<size_t>(dim));
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t i = 0; i < segment.query_count; ++i) {
      const int64_t row = segment.query_begin + i;
      const T *query = q + row * q_stride + head * dim, *dy = dout + row * out_stride + head * dim;
      const S delta = dot<S>(dy, out + row * out_stride + head * dim, dim),
              lse = log_sum_exp[row * shape.num_heads + head];
      const auto [begin, end] = visible_keys(shape, segment, i);
      DropoutRow drops(dropout, row, uint32_t(head));
      std::fill(dq_sum.begin(), dq_sum.end(), S(0));
      for (int64_t j = begin; j < end && lse != -std::numeric_limits<S>::infinity(); ++j) {
        const auto k = key_row<K>(shape, segment, kv, j, kv_head);
        const auto v = value_row<K>(shape, segment, kv, kv.values, j, kv_head);
        const Score<S> score = score_of<S>(shape, segment, head, i, j, dot<S>(query, k, dim));
        const S p = std::exp(score.value - lse);
        const S factor = dropout ? S(drops.at(j)) : S(1);
        const S dproduct = p * (factor * dot<S>(dy, v, dim) - delta) * score.slope * S(shape.scale);
        for (int d = 0; d < dim; ++d) {
          dq_sum[size_t(d)] += dproduct * static_cast<S>(k[d]);
          dk_sum[size_t(j * dim + d)] += dproduct * static_cast<S>(query[d]);
          dv_sum[size_t(j * dim + d)] += factor * p * static_cast<S>(dy[d]);
        }
      }
      for (int d = 0; d < dim; ++d) dq[row * q_stride + head * dim + d] = T(dq_sum[size_t(d)]);
    }
  }
  for (int64_t j = 0; j < segment.key_count; ++j) {
    const int64_t at = ((segment.key_begin + j) * shape.num_key_value_heads + kv_head) * dim;
    for (int d = 0; d < dim; ++d) {
      dk[at + d] = T(dk_sum[size_t(j * dim + d)]);
      dv[at + d] = T(dv_sum[size_t(j * dim + d)]);
    }
  }
}

}  // namespace ref
}  // namespace sedum
