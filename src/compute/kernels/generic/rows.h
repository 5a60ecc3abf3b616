#pragma once
// Row kernels over the vector vocabulary: the fast twins of ref/rows.h, where their meaning stands. Included in the target region of
// an isa/*_rows.cc. Products and sums along a row run in f32; how they are ordered depends on the row's length alone.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {
namespace rows {

template <class T>
void rms_norm_forward(const T* x, const float* weight, float eps, int64_t rows, int64_t cols, T* y,
                      float* inverse_rms) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float squares = fold_sum(cols, [&](Vec sum, int64_t c, auto part) {
      const Vec v = load(x + c, part);
      return fma(v, v, sum);
    });
    const float inverse = 1 / __builtin_sqrtf(squares / float(cols) + eps);
    for_vectors(cols, [&](int64_t c, auto part) {
      store(y + c, load(x + c, part) * broadcast(inverse) * load(weight + c, part), part);
    });
    if (inverse_rms) inverse_rms[r] = inverse;
  }
}

template <class T>
void rms_norm_backward(const T* dy, const T* x, const float* weight, const float* inverse_rms, int64_t rows,
                       int64_t cols, T* dx) {
  for (int64_t r = 0; r < rows; ++r, dy += cols, x += cols, dx += cols) {
    const float inverse = inverse_rms[r];
    const float sum = fold_sum(cols, [&](Vec s, int64_t c, auto part) {
      return fma(load(dy + c, part) * load(weight + c, part), load(x + c, part), s);
    });
    const Vec factor = broadcast(sum * inverse * inverse / float(cols));
    for_vectors(cols, [&](int64_t c, auto part) {
      store(dx + c, broadcast(inverse) * fnma(load(x + c, part), factor, load(dy + c, part) * load(weight + c, part)),
            part);
    });
  }
}

template <class T>
void layer_norm_forward(const T* x, const float* weight, const float* bias, float eps, int64_t rows, int64_t cols, T* y,
                        float* means, float* inverse_deviations) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float mean =
        fold_sum(cols, [&](Vec sum, int64_t c, auto part) { return sum + load(x + c, part); }) / float(cols);
    const float squares = fold_sum(cols, [&](Vec sum, int64_t c, auto part) {
      const Vec v = part_or(load(x + c, part) - broadcast(mean), part, 0);
      return fma(v, v, sum);
    });
    const float inverse = 1 / __builtin_sqrtf(squares / float(cols) + eps);
    for_vectors(cols, [&](int64_t c, auto part) {
      const Vec n = (load(x + c, part) - broadcast(mean)) * broadcast(inverse);
      store(y + c, fma(n, load(weight + c, part), load(bias + c, part)), part);
    });
    if (means) means[r] = mean, inverse_deviations[r] = inverse;
  }
}

template <class T>
void layer_norm_backward(const T* dy, const T* x, const float* weight, const float* means,
                         const float* inverse_deviations, int64_t rows, int64_t cols, T* dx) {
  for (int64_t r = 0; r < rows; ++r, dy += cols, x += cols, dx += cols) {
    const Vec mean = broadcast(means[r]), inverse = broadcast(inverse_deviations[r]);
    const float sum =
        fold_sum(cols, [&](Vec s, int64_t c, auto part) { return fma(load(dy + c, part), load(weight + c, part), s); });
    const float along = fold_sum(cols, [&](Vec s, int64_t c, auto part) {
      return fma(load(dy + c, part) * load(weight + c, part), (load(x + c, part) - mean) * inverse, s);
    });
    const Vec shift = broadcast(sum / float(cols)), factor = broadcast(along / float(cols));
    for_vectors(cols, [&](int64_t c, auto part) {
      const Vec g = load(dy + c, part) * load(weight + c, part) - shift;
      store(dx + c, inverse * fnma((load(x + c, part) - mean) * inverse, factor, g), part);
    });
  }
}

// term(r, c, part) summed over rows in their order and added to sums[c], for the columns [begin, end): four vectors of columns at a
// time, so that a row's visit uses whole cache lines.
template <class Term>
SEDUM_INLINE void add_over_rows(int64_t rows, int64_t begin, int64_t end, float* sums, Term&& term) {
  int64_t c = begin;
  for (; c + 4 * kLanes <= end; c += 4 * kLanes) {
    Vec sum[4] = {zero(), zero(), zero(), zero()};
    for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) sum[k] = term(r, c + k * kLanes, Whole{}, sum[k]);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) store(sums + c + k * kLanes, load(sums + c + k * kLanes) + sum[k]);
  }
  for_vectors(end - c, [&](int64_t i, auto part) {
    Vec sum = zero();
    for (int64_t r = 0; r < rows; ++r) sum = term(r, c + i, part, sum);
    store(sums + c + i, load(sums + c + i, part) + sum, part);
  });
}

template <class T>
void rms_norm_backward_weight(const T* dy, const T* x, const float* inverse_rms, int64_t rows, int64_t cols,
                              int64_t begin, int64_t end, float* dweight) {
  add_over_rows(rows, begin, end, dweight, [&](int64_t r, int64_t c, auto part, Vec sum) {
    return fma(load(dy + r * cols + c, part), load(x + r * cols + c, part) * broadcast(inverse_rms[r]), sum);
  });
}

template <class T>
void layer_norm_backward_weight(const T* dy, const T* x, const float* means, const float* inverse_deviations,
                                int64_t rows, int64_t cols, int64_t begin, int64_t end, float* dweight) {
  add_over_rows(rows, begin, end, dweight, [&](int64_t r, int64_t c, auto part, Vec sum) {
    const Vec n = (load(x + r * cols + c, part) - broadcast(means[r])) * broadcast(inverse_deviations[r]);
    return fma(load(dy + r * cols + c, part), n, sum);
  });
}

template <class T>
void add_column_sums(const T* x, int64_t rows, int64_t cols, int64_t begin, int64_t end, float* sums) {
  add_over_rows(rows, begin, end, sums,
                [&](int64_t r, int64_t c, auto part, Vec sum) { return sum + load(x + r * cols + c, part); });
}

// The maximum of a row (NaN ignored, −∞ if there is nothing else) and Σ exp(scale · x − max), in one pass over memory: a block
// small enough for L1 is visited twice, and what was summed before is scaled when the maximum rises.
struct RowExponentials {
  float max, sum;
};
template <class T>
RowExponentials row_exponentials(const T* x, float scale, int64_t cols) {
  constexpr int64_t kBlock = 2048;
  RowExponentials row{-kInfinity, 0};
  for (int64_t at = 0; at < cols; at += kBlock, x += kBlock) {
    const int64_t n = cols - at < kBlock ? cols - at : kBlock;
    Vec top[4];
    for (Vec& t : top) t = broadcast(row.max);
    fold(n, top, [&](Vec t, int64_t c, auto part) {
      const Vec v = load(x + c, part) * broadcast(scale);
      return max(part_or(v, part, -kInfinity), t);
    });
    const float new_max = reduce_max(max(max(top[0], top[1]), max(top[2], top[3])));
    const float safe = new_max == -kInfinity ? 0 : new_max;  // −∞ − 0 is −∞: nothing is added, and NaN stays NaN
    if (row.sum != 0) row.sum *= reduce_max(exp(broadcast(row.max - safe)));
    row.max = new_max;
    row.sum += fold_sum(n, [&](Vec sum, int64_t c, auto part) {
      return sum + part_or(exp(load(x + c, part) * broadcast(scale) - broadcast(safe)), part, 0);
    });
  }
  return row;
}

template <class T>
void softmax_forward(const T* x, float scale, int64_t rows, int64_t cols, T* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const RowExponentials row = row_exponentials(x, scale, cols);
    const Vec max = broadcast(row.max), inverse = broadcast(1 / row.sum);
    for_vectors(cols, [&](int64_t c, auto part) {
      store(y + c, exp(load(x + c, part) * broadcast(scale) - max) * inverse, part);
    });
  }
}

template <class T>
void softmax_backward(const T* dy, const T* y, float scale, int64_t rows, int64_t cols, T* dx) {
  for (int64_t r = 0; r < rows; ++r, dy += cols, y += cols, dx += cols) {
    const Vec sum = broadcast(
        fold_sum(cols, [&](Vec s, int64_t c, auto part) { return fma(load(dy + c, part), load(y + c, part), s); }));
    for_vectors(cols, [&](int64_t c, auto part) {
      store(dx + c, broadcast(scale) * (load(y + c, part) * (load(dy + c, part) - sum)), part);
    });
  }
}

template <class T>
void cross_entropy(T* logits, const int32_t* labels, float scale, int64_t rows, int64_t cols, float* losses,
                   bool keep_logits) {
  constexpr int32_t kIgnoredLabel = -100;
  for (int64_t r = 0; r < rows; ++r, logits += cols) {
    const int32_t label = labels[r];
    if (label == kIgnoredLabel) {
      losses[r] = 0;
      if (!keep_logits) for_vectors(cols, [&](int64_t c, auto part) { store(logits + c, zero(), part); });
      continue;
    }
    const RowExponentials row = row_exponentials(logits, 1, cols);
    const float chosen = static_cast<float>(logits[label]);
    losses[r] = __builtin_logf(row.sum) + (row.max - chosen);
    if (keep_logits) continue;
    const Vec max = broadcast(row.max), inverse = broadcast(1 / row.sum);
    for_vectors(cols, [&](int64_t c, auto part) {
      store(logits + c, broadcast(scale) * (exp(load(logits + c, part) - max) * inverse), part);
    });
    const float chosen_p = reduce_max(exp(broadcast(chosen) - max) * inverse);
    logits[label] = T(scale * (chosen_p - 1));
  }
}

template <class T>
void rope(const T* x, const float* cos, const float* sin, int64_t rows, int64_t heads, int64_t head_dim, int64_t half,
          float sign, T* y) {
  for (int64_t r = 0; r < rows; ++r, cos += half, sin += half) {
    for (int64_t h = 0; h < heads; ++h, x += head_dim, y += head_dim) {
      for_vectors(half, [&](int64_t c, auto part) {
        const Vec x1 = load(x + c, part), x2 = load(x + half + c, part), k = load(cos + c, part),
                  s = load(sin + c, part) * broadcast(sign);
        store(y + c, fnma(x2, s, x1 * k), part);
        store(y + half + c, fma(x1, s, x2 * k), part);
      });
      if (x != y)
        for (int64_t c = 2 * half; c < head_dim; ++c) y[c] = x[c];
    }
  }
}

template <class T>
void silu_forward(const T* x, int64_t n, T* y) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec v = load(x + i, part);
    store(y + i, v * sigmoid(v), part);
  });
}

SEDUM_INLINE Vec silu_slope(Vec x, Vec s) { return s * fma(x, broadcast(1.0f) - s, broadcast(1.0f)); }

template <class T>
void silu_backward(const T* dy, const T* x, int64_t n, T* dx) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec v = load(x + i, part);
    store(dx + i, load(dy + i, part) * silu_slope(v, sigmoid(v)), part);
  });
}

SEDUM_INLINE Vec normal_share(Vec x) { return fma(broadcast(0.5f), erf(x * broadcast(0.707106781f)), broadcast(0.5f)); }

template <class T>
void gelu_forward(const T* x, int64_t n, T* y) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec v = load(x + i, part);
    store(y + i, v * normal_share(v), part);
  });
}

template <class T>
void gelu_backward(const T* dy, const T* x, int64_t n, T* dx) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec v = load(x + i, part), density = broadcast(0.398942280f) * exp(broadcast(-0.5f) * v * v);
    store(dx + i, load(dy + i, part) * fma(v, density, normal_share(v)), part);
  });
}

SEDUM_INLINE Vec gelu_tanh(Vec x) {
  return tanh(broadcast(0.797884561f) * x * fma(broadcast(0.044715f), x * x, broadcast(1.0f)));
}

template <class T>
void gelu_tanh_forward(const T* x, int64_t n, T* y) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec v = load(x + i, part);
    store(y + i, broadcast(0.5f) * v * (broadcast(1.0f) + gelu_tanh(v)), part);
  });
}

template <class T>
void gelu_tanh_backward(const T* dy, const T* x, int64_t n, T* dx) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec v = load(x + i, part), t = gelu_tanh(v), one = broadcast(1.0f);
    const Vec near =
        max(broadcast(-1e4f), min(broadcast(1e4f), v));  // beyond, 1 − t² is 0, and must not meet an overflow
    const Vec du = broadcast(0.797884561f) * fma(broadcast(3 * 0.044715f), near * near, one);
    store(dx + i, load(dy + i, part) * (broadcast(0.5f) * fma(near * fnma(t, t, one), du, one + t)), part);
  });
}

template <class T>
void soft_cap_forward(const T* x, float cap, int64_t n, T* y) {
  for_vectors(
      n, [&](int64_t i, auto part) { store(y + i, broadcast(cap) * tanh(load(x + i, part) / broadcast(cap)), part); });
}

template <class T>
void soft_cap_backward(const T* dy, const T* y, float cap, int64_t n, T* dx) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec t = load(y + i, part) / broadcast(cap);
    store(dx + i, load(dy + i, part) * fnma(t, t, broadcast(1.0f)), part);
  });
}

template <class T>
void swiglu_forward(const T* gate, const T* up, int64_t n, T* y) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec g = load(gate + i, part);
    store(y + i, g * sigmoid(g) * load(up + i, part), part);
  });
}

template <class T>
void swiglu_backward(const T* dy, const T* gate, const T* up, int64_t n, T* dgate, T* dup) {
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec d = load(dy + i, part), g = load(gate + i, part), u = load(up + i, part), s = sigmoid(g);
    store(dgate + i, d * u * silu_slope(g, s), part);
    store(dup + i, d * (g * s), part);
  });
}

template <class T>
void embedding_backward(const T* dy, const int32_t* ids, int64_t rows, int64_t cols, int64_t begin, int64_t end,
                        float* dtable) {
  for (int64_t r = 0; r < rows; ++r) {
    float* to = dtable + ids[r] * cols + begin;
    const T* from = dy + r * cols + begin;
    for_vectors(end - begin,
                [&](int64_t c, auto part) { store(to + c, load(to + c, part) + load(from + c, part), part); });
  }
}

template <class T>
void add(const T* a, const T* b, int64_t n, T* y) {
  for_vectors(n, [&](int64_t i, auto part) { store(y + i, load(a + i, part) + load(b + i, part), part); });
}
template <class T>
void multiply(const T* a, const T* b, int64_t n, T* y) {
  for_vectors(n, [&](int64_t i, auto part) { store(y + i, load(a + i, part) * load(b + i, part), part); });
}
template <class T>
void scale(const T* a, float s, int64_t n, T* y) {
  for_vectors(n, [&](int64_t i, auto part) { store(y + i, load(a + i, part) * broadcast(s), part); });
}
template <class T>
void add_row_vector(const T* x, const float* vector, int64_t rows, int64_t cols, T* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols)
    for_vectors(cols, [&](int64_t c, auto part) { store(y + c, load(x + c, part) + load(vector + c, part), part); });
}

}  // namespace rows

// The table that the including file offers under a name of its own.
template <class T>
constexpr RowKernels<T> kRowKernels = {rows::rms_norm_forward<T>,
                                       rows::rms_norm_backward<T>,
                                       rows::rms_norm_backward_weight<T>,
                                       rows::layer_norm_forward<T>,
                                       rows::layer_norm_backward<T>,
                                       rows::layer_norm_backward_weight<T>,
                                       rows::softmax_forward<T>,
                                       rows::softmax_backward<T>,
                                       rows::rope<T>,
                                       rows::silu_forward<T>,
                                       rows::silu_backward<T>,
                                       rows::gelu_forward<T>,
                                       rows::gelu_backward<T>,
                                       rows::gelu_tanh_forward<T>,
                                       rows::gelu_tanh_backward<T>,
                                       rows::soft_cap_forward<T>,
                                       rows::soft_cap_backward<T>,
                                       rows::swiglu_forward<T>,
                                       rows::swiglu_backward<T>,
                                       rows::embedding_backward<T>,
                                       rows::cross_entropy<T>,
                                       rows::add<T>,
                                       rows::multiply<T>,
                                       rows::scale<T>,
                                       rows::add_row_vector<T>,
                                       rows::add_column_sums<T>};

}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
