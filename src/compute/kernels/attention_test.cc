#include "compute/kernels/attention.h"

#include <limits>

#include "compute/kernels/isa.h"
#include "compute/kernels/ref/attention.h"
#include "compute/kernels/rows_testing.h"

namespace sedum {
namespace {

struct Lengths {
  int64_t queries, keys;
};

struct Case {
  const char* name;
  AttentionShape shape;
  std::vector<Lengths> segments;
  bool bias = false;
};

std::vector<Case> cases() {
  const float eighth = 0.125f;
  return {
      {"one", {1, 1, 64, eighth, true}, {{1, 1}}},
      {"grouped", {9, 3, 64, eighth, true}, {{70, 70}, {3, 129}, {1, 200}}},
      {"odd", {3, 1, 33, 0.17f, true}, {{65, 65}, {7, 20}}},
      {"tiny heads", {4, 4, 3, 0.6f, true}, {{13, 13}, {1, 5}}},
      {"wide", {2, 2, 128, 0.09f, true}, {{40, 130}}},
      {"eighty", {2, 1, 80, 0.11f, true}, {{30, 30}}},
      {"encoder", {2, 2, 64, eighth, false}, {{67, 67}, {5, 90}, {90, 5}}},
      {"window", {4, 2, 64, eighth, true, 20}, {{150, 150}, {1, 100}, {10, 30}}},
      {"capped", {2, 2, 32, 0.5f, true, 0, 5.0f}, {{90, 90}}},
      {"bias", {4, 2, 32, 0.18f, true}, {{37, 70}, {5, 5}}, true},
      {"all", {4, 2, 48, 0.3f, true, 50, 3.0f}, {{100, 140}, {1, 77}}, true},
      {"more queries than keys", {2, 1, 16, 0.25f, true}, {{20, 8}}},
      {"chunks", {2, 1, 64, eighth, true}, {{1, 1300}, {20, 1030}}},
      {"far window", {2, 1, 32, eighth, true, 100}, {{3, 1300}}},
  };
}

// Products of bf16 have kernels of their own.
std::vector<Isa> isas_of_attention() {
  std::vector<Isa> all = isas_to_test();
  if (available(Isa::kAvx512Bf16)) all.push_back(Isa::kAvx512Bf16);
  return all;
}

// The same with products of f32 and of bf16.
std::vector<Case> both_products() {
  std::vector<Case> all = cases();
  for (Case& c : cases()) c.shape.bf16_products = true, all.push_back(c);
  return all;
}

// The tensors of a case in type T, keys and values in type K; and where they stand.
template <class T, class K>
struct Tensors {
  std::vector<AttentionSegment> segments;
  std::vector<T> q, dout, out, dq, dk, dv;
  std::vector<K> keys, values;
  std::vector<float> bias;
  std::vector<stat_t<T>> lse;
  int64_t rows = 0, key_rows = 0, q_cols, kv_cols;
  KeysValues kv;

  explicit Tensors(const Case& c, double size = 1)
      : q_cols(int64_t(c.shape.num_heads) * c.shape.head_dim),
        kv_cols(int64_t(c.shape.num_key_value_heads) * c.shape.head_dim) {
    int64_t biases = 0;
    for (const auto [queries, key_count] : c.segments) {
      segments.push_back({rows, queries, key_rows, key_count});
      rows += queries, key_rows += key_count, biases += c.shape.num_heads * queries * key_count;
    }
    q = test_values<T>(rows * q_cols, 1, size), keys = test_values<K>(key_rows * kv_cols, 2, size);
    values = test_values<K>(key_rows * kv_cols, 3, size), dout = test_values<T>(rows * q_cols, 4, size);
    out.resize(q.size()), dq.resize(q.size()), dk.resize(keys.size()), dv.resize(keys.size());
    lse.resize(static_cast<size_t>(rows * c.shape.num_heads));
    if (c.bias) {
      bias = test_values<float>(biases, 5);
      for (size_t i = 0; i < bias.size(); i += 7) bias[i] = -std::numeric_limits<float>::infinity();
      int64_t at = 0;
      for (AttentionSegment& s : segments)
        s.bias = bias.data() + at, at += c.shape.num_heads * s.query_count * s.key_count;
    }
    point();
  }
  void point() { kv = {dtype_of<K>, keys.data(), values.data(), kv_cols, 0, 0}; }

  void forward(ThreadPool& pool, const AttentionShape& shape) {
    attention_forward<T>(pool, shape, segments, q.data(), q_cols, kv, out.data(), q_cols, lse.data());
  }
  void backward(ThreadPool& pool, const AttentionShape& shape) {
    attention_backward<T>(pool, shape, segments, dout.data(), q.data(), q_cols, kv, out.data(), q_cols, lse.data(),
                          dq.data(), dk.data(), dv.data());
  }
};

// The same numbers in double, by the naive twin.
template <class T, class K>
Tensors<double, double> oracle(ThreadPool& pool, const Case& c, const Tensors<T, K>& t) {
  Tensors<double, double> o(c);
  o.q = widened(t.q), o.dout = widened(t.dout), o.keys = widened(t.keys), o.values = widened(t.values);
  o.point();
  o.forward(pool, c.shape);
  return o;
}

// Scores carry the error of a dot product of head_dim, outputs that of a sum over keys; both grow like a random walk, and 16 of its
// steps are allowed. A score is of size 4 at most here, so its error is one of 4 units.
double slack(const Case& c) {
  double most = 0;
  for (const Lengths& s : c.segments) most = std::max(most, double(s.keys));
  return 16 * (4 * std::sqrt(double(c.shape.head_dim)) + std::sqrt(most));
}

template <class T, class K>
void expect_forward_like_twin() {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const Case& c : cases()) {
      Tensors<T, K> t(c);
      const auto o = oracle(pool, c, t);
      t.forward(pool, c.shape);
      const std::string what = std::string(c.name) + " on " + name(isa);
      expect_near(t.out, o.out, slack(c), 1, what + ": out");
      expect_near(t.lse, o.lse, slack(c), 1, what + ": log-sum-exp");
    }
  }
}

TEST(Attention, ForwardLikeTwin) { expect_forward_like_twin<float, float>(); }
TEST(Attention, ForwardLikeTwinHalfKeys) { expect_forward_like_twin<float, bf16>(); }
TEST(Attention, ForwardLikeTwinHalf) { expect_forward_like_twin<bf16, bf16>(); }
TEST(Attention, ForwardLikeTwinHalfQueries) { expect_forward_like_twin<bf16, float>(); }

template <class T, class K>
void expect_backward_like_twin() {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const Case& c : cases()) {
      Tensors<T, K> t(c);
      auto o = oracle(pool, c, t);
      // The same output and log-sum-exp for both, so that their rounding is not compared again.
      t.forward(pool, c.shape);
      o.out = widened(t.out), o.lse = widened(t.lse);
      o.backward(pool, c.shape);
      t.backward(pool, c.shape);
      const std::string what = std::string(c.name) + " on " + name(isa);
      // dP − D is of size √head_dim, and so is what its error is one of.
      const double size = std::sqrt(double(c.shape.head_dim));
      expect_near(t.dq, o.dq, slack(c), size, what + ": dq");
      expect_near(t.dk, o.dk, slack(c), size, what + ": dk");
      expect_near(t.dv, o.dv, slack(c), size, what + ": dv");
    }
  }
}

TEST(Attention, BackwardLikeTwin) { expect_backward_like_twin<float, float>(); }
TEST(Attention, BackwardLikeTwinHalf) { expect_backward_like_twin<bf16, bf16>(); }

double rms(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum / double(x.size()));
}
template <class T>
double rms_difference(const std::vector<T>& a, const std::vector<double>& b) {
  std::vector<double> difference = widened(a);
  for (size_t i = 0; i < b.size(); ++i) difference[i] -= b[i];
  return rms(difference);
}
double largest(const std::vector<double>& x) {
  double most = 0;
  for (const double v : x) most = std::max(most, std::abs(v));
  return most;
}

// Inputs that are bf16 already: what is left are weights and score gradients, each rounded by at most 2^-9 of itself. So an output is off by 2^-9
// Σ p |v| at most, dv by that of Σ p |dout| over queries, dq and dk by that of Σ |ds| |k| and Σ |ds| |q|, where |ds| ≤ 2 p scale max |dp|. Errors
// are independent: their root mean square is smaller still, and told by the results' own.
template <class T>
void expect_pairs_like_twin() {
  ThreadPool pool(2);
  for (const Isa isa : isas_of_attention()) {
    if (isa < Isa::kAvx512Bf16) continue;  // there nothing is rounded, and nothing is other than above
    const ScopedIsa forced(isa);
    for (Case c : cases()) {
      Tensors<T, bf16> t(c);
      for (auto* values : {&t.q, &t.dout})
        for (T& v : *values) v = T(float(bf16(static_cast<float>(v))));
      auto o = oracle(pool, c, t);
      c.shape.bf16_products = true;
      t.forward(pool, c.shape);
      const std::string what = std::string(c.name) + " on " + name(isa);
      const double flips = 0x1p15;  // 2^-9 in units of 2^-24
      expect_near(t.out, o.out, slack(c) + flips, largest(o.values), what + ": out");
      expect_near(t.lse, o.lse, slack(c), 1, what + ": log-sum-exp");
      const double own = sizeof(T) == 2 ? 0x1p-9 : 0;  // results that are stored as bf16
      EXPECT_LE(rms_difference(t.out, o.out), (0x1p-9 + own) * rms(o.out)) << what;
      o.out = widened(t.out), o.lse = widened(t.lse);
      auto sums = o;
      sums.point();
      std::fill(sums.dout.begin(), sums.dout.end(), 1.0);
      sums.backward(pool, c.shape);
      o.backward(pool, c.shape);
      t.backward(pool, c.shape);
      const double weights = std::max(1.0, largest(sums.dv)),  // Σ p over the queries that see a key
          ds = 2 * double(c.shape.scale) * 6 * std::sqrt(double(c.shape.head_dim));
      expect_near(t.dq, o.dq, slack(c) + flips, ds * largest(o.keys), what + ": dq");
      expect_near(t.dk, o.dk, slack(c) + flips, ds * weights * largest(o.q), what + ": dk");
      expect_near(t.dv, o.dv, slack(c) + flips, weights * largest(o.dout), what + ": dv");
      EXPECT_LE(rms_difference(t.dq, o.dq), (0x1p-8 + own) * rms(o.dq)) << what;
      EXPECT_LE(rms_difference(t.dk, o.dk), (0x1p-8 + own) * rms(o.dk)) << what;
      EXPECT_LE(rms_difference(t.dv, o.dv), (0x1p-8 + own) * rms(o.dv)) << what;
    }
  }
}

TEST(Attention, PairsLikeTwin) { expect_pairs_like_twin<float>(); }
TEST(Attention, PairsLikeTwinHalf) { expect_pairs_like_twin<bf16>(); }

// (f(x + h) − f(x − h)) / 2h against the twin's gradients in double, every input of small cases.
TEST(Attention, TwinByFiniteDifferences) {
  ThreadPool pool(1);
  const std::vector<Case> small = {
      {"grouped", {4, 2, 3, 0.6f, true}, {{3, 3}, {2, 4}}},
      {"window", {2, 1, 3, 0.6f, true, 2}, {{4, 5}}},
      {"capped, biased", {2, 2, 3, 0.9f, true, 0, 1.5f}, {{3, 4}}, true},
      {"encoder", {2, 1, 2, 0.6f, false}, {{2, 3}}},
  };
  for (const Case& c : small) {
    Tensors<double, double> t(c);
    t.forward(pool, c.shape);
    t.backward(pool, c.shape);
    const auto objective = [&] {
      auto copy = t;
      copy.point();
      copy.forward(pool, c.shape);
      double sum = 0;
      for (size_t i = 0; i < copy.out.size(); ++i) sum += copy.out[i] * copy.dout[i];
      return sum;
    };
    const auto check = [&](std::vector<double>& x, const std::vector<double>& gradient, const char* what) {
      for (size_t i = 0; i < x.size(); ++i) {
        const double before = x[i], h = 1e-5;
        x[i] = before + h;
        const double above = objective();
        x[i] = before - h;
        const double below = objective();
        x[i] = before;
        EXPECT_NEAR((above - below) / (2 * h), gradient[i], 1e-8) << c.name << ", " << what << " " << i;
      }
    };
    check(t.q, t.dq, "q"), check(t.keys, t.dk, "k"), check(t.values, t.dv, "v");
  }
}

// A causal window is what a bias of −∞ elsewhere is.
TEST(Attention, MasksAreBiases) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    Case c{"masked", {2, 2, 24, 0.2f, true, 9}, {{30, 41}}};
    Tensors<float, float> masked(c);
    masked.forward(pool, c.shape);
    masked.backward(pool, c.shape);
    c.shape.causal = false, c.shape.window = 0, c.bias = true;
    Tensors<float, float> biased(c);
    for (int64_t h = 0, at = 0; h < 2; ++h)
      for (int64_t i = 0; i < 30; ++i)
        for (int64_t j = 0; j < 41; ++j, ++at)
          biased.bias[size_t(at)] = j <= i + 11 && j > i + 11 - 9 ? 0 : -std::numeric_limits<float>::infinity();
    biased.forward(pool, c.shape);
    biased.backward(pool, c.shape);
    EXPECT_TRUE(same_bits(masked.out, biased.out) && same_bits(masked.lse, biased.lse)) << name(isa);
    expect_near(biased.dq, widened(masked.dq), 4, 1, "dq"), expect_near(biased.dk, widened(masked.dk), 4, 1, "dk");
  }
}

TEST(Attention, SameBitsForAnyThreadCount) {
  for (const Isa isa : isas_of_attention()) {
    const ScopedIsa forced(isa);
    for (const Case& c : both_products()) {
      ThreadPool one(1);
      Tensors<float, float> alone(c);
      alone.forward(one, c.shape), alone.backward(one, c.shape);
      for (const int threads : {2, 5}) {
        ThreadPool pool(threads);
        Tensors<float, float> t(c);
        t.forward(pool, c.shape), t.backward(pool, c.shape);
        EXPECT_TRUE(same_bits(t.out, alone.out) && same_bits(t.lse, alone.lse))
            << c.name << " on " << name(isa) << ", " << threads;
        EXPECT_TRUE(same_bits(t.dq, alone.dq) && same_bits(t.dk, alone.dk) && same_bits(t.dv, alone.dv))
            << c.name << " on " << name(isa) << ", " << threads;
      }
    }
  }
}

TEST(Attention, SegmentsLikeSeparateRuns) {
  ThreadPool pool(2);
  for (const Isa isa : isas_of_attention()) {
    const ScopedIsa forced(isa);
    for (const Case& c : both_products()) {
      Tensors<float, bf16> together(c), apart(c);
      together.forward(pool, c.shape), together.backward(pool, c.shape);
      for (const AttentionSegment& segment : together.segments) {
        apart.segments = {segment};
        apart.forward(pool, c.shape), apart.backward(pool, c.shape);
      }
      EXPECT_TRUE(same_bits(together.out, apart.out) && same_bits(together.lse, apart.lse))
          << c.name << " on " << name(isa);
      EXPECT_TRUE(same_bits(together.dq, apart.dq) && same_bits(together.dk, apart.dk) &&
                  same_bits(together.dv, apart.dv))
          << c.name << " on " << name(isa);
    }
  }
}

// A prefill of 1,100 keys at once, in pieces, and as single tokens over ever longer caches: the same bits.
TEST(Attention, DecodeLikePrefill) {
  for (const Isa isa : isas_of_attention()) {
    if (isa == Isa::kPortable) continue;  // slow, and one query at a time by construction
    const ScopedIsa forced(isa);
    for (const auto& [window, pairs] : {std::pair{0, false}, {300, false}, {0, true}, {300, true}}) {
      const Case c{"prefill", {6, 2, 64, 0.125f, true, window, 0, pairs}, {{1100, 1100}}};
      ThreadPool one(1), three(3);
      Tensors<float, float> whole(c), pieces(c), steps(c);
      whole.forward(three, c.shape);
      for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 1}, {1, 130}, {130, 513}, {513, 1100}}) {
        pieces.segments = {{begin, end - begin, 0, end}};
        pieces.forward(begin % 2 ? one : three, c.shape);
      }
      EXPECT_TRUE(same_bits(whole.out, pieces.out) && same_bits(whole.lse, pieces.lse))
          << name(isa) << ", window " << window;
      std::copy(whole.out.begin(), whole.out.end(), steps.out.begin());
      std::copy(whole.lse.begin(), whole.lse.end(), steps.lse.begin());
      for (int64_t i = 0; i < 1100; i += i % 64 < 2 ? 1 : 31) {
        std::fill_n(steps.out.begin() + i * steps.q_cols, steps.q_cols, 7.0f);
        steps.segments = {{i, 1, 0, i + 1}};
        steps.forward(i % 2 ? one : three, c.shape);
      }
      EXPECT_TRUE(same_bits(whole.out, steps.out) && same_bits(whole.lse, steps.lse))
          << name(isa) << ", window " << window;
    }
  }
}

// Whatever stands in a page beyond the last key: here NaN.
TEST(Attention, PagedLikeContiguous) {
  ThreadPool pool(2);
  for (const Isa isa : isas_of_attention()) {
    const ScopedIsa forced(isa);
    for (const int page_size : {1, 16, 24, 32, 128}) {
      for (const Case& c : both_products()) {
        Tensors<float, bf16> flat(c), paged(c);
        AttentionShape same = c.shape;
        same.bf16_products =
            c.shape.bf16_products && (page_size == 16 || page_size == 32) && c.shape.head_dim % 16 == 0;
        flat.forward(pool, same);
        // Pages in reverse order, with room between them.
        const int64_t dim = c.shape.head_dim, heads = c.shape.num_key_value_heads,
                      stride = heads * page_size * dim + 40;
        int64_t count = 0;
        for (const Lengths& s : c.segments) count += (s.keys + page_size - 1) / page_size;
        std::vector<bf16> keys(static_cast<size_t>(count * stride), bf16(NAN)), values = keys;
        std::vector<std::vector<int32_t>> tables;
        int64_t next = count;
        for (AttentionSegment& s : paged.segments) {
          std::vector<int32_t>& table = tables.emplace_back();
          for (int64_t j = 0; j < s.key_count; ++j) {
            if (j % page_size == 0) table.push_back(int32_t(--next));
            for (int64_t h = 0; h < heads; ++h)
              for (int64_t d = 0; d < dim; ++d) {
                const size_t from = size_t(((s.key_begin + j) * heads + h) * dim + d);
                keys[size_t(next * stride + (h * dim + d) * page_size + j % page_size)] = flat.keys[from];
                values[size_t(next * stride + (h * page_size + j % page_size) * dim + d)] = flat.values[from];
              }
          }
        }
        for (size_t i = 0; i < tables.size(); ++i)
          paged.segments[i].key_begin = 0, paged.segments[i].pages = tables[i].data();
        paged.kv = {DType::kBF16, keys.data(), values.data(), 0, page_size, stride};
        paged.forward(pool, c.shape);
        EXPECT_TRUE(same_bits(flat.out, paged.out) && same_bits(flat.lse, paged.lse))
            << c.name << " on " << name(isa) << ", " << page_size << (same.bf16_products ? ", pairs" : "");
      }
    }
  }
}

// Keys and values of `t` in pages of integers, and in floats what those stand for.
struct ScaledPages {
  std::vector<int8_t> keys, values;
  std::vector<std::vector<int32_t>> tables;
  static constexpr int kPage = 24;

  ScaledPages(const Case& c, Tensors<float, float>& t, Tensors<float, float>& paged) {
    const int64_t dim = c.shape.head_dim, heads = c.shape.num_key_value_heads, bytes = scaled_head_bytes(dim);
    const int64_t stride = heads * kPage * bytes + 40;
    int64_t count = 0;
    for (const Lengths& s : c.segments) count += (s.keys + kPage - 1) / kPage;
    keys.assign(size_t(count * stride), -1), values = keys;  // as scales: NaN
    int64_t next = count;
    for (AttentionSegment& s : paged.segments) {
      std::vector<int32_t>& table = tables.emplace_back();
      for (int64_t j = 0; j < s.key_count; ++j) {
        if (j % kPage == 0) table.push_back(int32_t(--next));
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t to = next * stride + (h * kPage + j % kPage) * bytes,
                        from = ((s.key_begin + j) * heads + h) * dim;
          const auto put = [&](std::vector<float>& x, std::vector<int8_t>& pages) {
            int8_t* const row = &pages[size_t(to)];
            quantise_head()(&x[size_t(from)], dim, row);
            for (int64_t d = 0; d < dim; ++d)
              x[size_t(from + d)] = float(row[d]) * float(scales_in(row, dim)[d / kScaledValues]);
          };
          put(t.keys, keys), put(t.values, values);
        }
      }
    }
    for (size_t i = 0; i < tables.size(); ++i)
      paged.segments[i].key_begin = 0, paged.segments[i].pages = tables[i].data();
    paged.kv = {DType::kI8, keys.data(), values.data(), 0, kPage, stride};
  }
};

// Integers are widened exactly, so the kernels must give what they give for the floats that are meant: bit for bit. What is stored are turned
// keys, which meet turned queries.
TEST(Attention, IntegersLikeWhatTheyStandFor) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    std::vector<Case> all = cases();
    all.push_back({"wide heads", {4, 2, 80, 0.1f, true}, {{3, 70}, {66, 66}}});
    for (const Case& c : all) {
      Tensors<float, float> flat(c), paged(c);
      const ScaledPages pages(c, flat, paged);
      for (size_t at = 0; at < flat.q.size(); at += size_t(c.shape.head_dim)) turn_query(&flat.q[at], c.shape.head_dim);
      flat.forward(pool, c.shape), paged.forward(pool, c.shape);
      EXPECT_TRUE(same_bits(flat.out, paged.out) && same_bits(flat.lse, paged.lse)) << c.name << " on " << name(isa);
    }
  }
}

// A channel of outliers: what attention loses by integers, with keys that were turned and without. And H·H = 32.
TEST(Attention, TurnedKeysTakeOutliers) {
  constexpr int64_t kDim = 64, kKeys = 256;
  std::vector<float> q = test_values<float>(kDim, 1), keys = test_values<float>(kKeys * kDim, 2);
  for (int64_t j = 0; j < kKeys; ++j) keys[size_t(j * kDim + 5)] = 150 + keys[size_t(j * kDim + 5)];
  const auto error = [&](bool turn) {
    double sum = 0;
    std::vector<float> query = q;
    if (turn) turn_query(query.data(), kDim);
    for (int64_t j = 0; j < kKeys; ++j) {
      std::vector<float> key(keys.begin() + j * kDim, keys.begin() + (j + 1) * kDim);
      double exact = 0, stored = 0;
      for (int64_t d = 0; d < kDim; ++d) exact += double(q[size_t(d)]) * double(key[size_t(d)]);
      if (turn) turn_blocks(key.data(), kDim);
      alignas(2) int8_t row[scaled_head_bytes(kDim)];
      quantise_head()(key.data(), kDim, row);
      for (int64_t d = 0; d < kDim; ++d)
        stored += double(query[size_t(d)]) * double(row[d]) * double(float(scales_in(row, kDim)[d / kScaledValues]));
      sum += (exact - stored) * (exact - stored);
    }
    return std::sqrt(sum / kKeys);
  };
  // The outlier's block loses a step of 150/127 without; √32 times less with.
  EXPECT_LT(error(true), error(false) / 3);
  std::vector<float> twice = test_values<float>(80, 3), once = twice;  // the last 16 stay
  turn_blocks(twice.data(), 80), turn_query(twice.data(), 80);
  for (size_t i = 0; i < twice.size(); ++i) EXPECT_NEAR(twice[i], once[i], 32 * 0x1p-22) << i;
}

TEST(Attention, QuantisedHeads) {
  for (const int64_t dim : {1, 7, 32, 64, 80, 129}) {
    std::vector<float> x = test_values<float>(dim, 9, 30);
    if (dim > 40) std::fill(x.begin() + 32, x.begin() + 40, 0.0f), x[35] = 1e-3f, x[3] = -700;
    alignas(2) int8_t naive[200] = {}, own[200] = {};
    ref::quantise_head(x.data(), dim, naive);
    for (int64_t d = 0; d < dim; ++d) {
      const float scale = float(scales_in(naive, dim)[d / kScaledValues]);
      // Half a step; the largest, where the scale was rounded down, is off by 127 · 2^-9 of a step, which is less.
      EXPECT_LE(std::fabs(float(naive[d]) * scale - x[size_t(d)]), 0.5001f * scale) << dim << " " << d;
    }
    for (const Isa isa : isas_to_test()) {
      const ScopedIsa forced(isa);
      quantise_head()(x.data(), dim, own);
      EXPECT_TRUE(std::equal(naive, naive + dim, own)) << name(isa) << " " << dim;
      for (int64_t b = 0; b < scales_of(dim); ++b)
        EXPECT_EQ(scales_in(own, dim)[b].bits, scales_in(naive, dim)[b].bits) << name(isa) << " " << dim;
    }
  }
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const float odd : {NAN, std::numeric_limits<float>::infinity(), 1e-38f}) {
      const bool tiny = odd < 1;
      std::vector<float> x(64, 1.0f);
      std::fill(x.begin(), x.begin() + 32, tiny ? 0.0f : 1.0f), x[5] = odd;
      alignas(2) int8_t q[80];
      quantise_head()(x.data(), 64, q);
      const float value = float(q[5]) * float(scales_in(q, 64)[0]);
      EXPECT_TRUE(tiny ? value == 0 : std::isnan(value)) << name(isa) << " " << odd;
      EXPECT_NEAR(float(q[40]) * float(scales_in(q, 64)[1]), 1, 2e-3) << name(isa);  // its neighbour is not touched
    }
  }
}

// Rows wider than the heads, as q, k and v have when one product makes all three.
TEST(Attention, StridedRows) {
  ThreadPool pool(2);
  const Case c{"strided", {4, 2, 32, 0.2f, true}, {{20, 20}, {3, 30}}};
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    Tensors<float, float> dense(c), wide(c);
    dense.forward(pool, c.shape), dense.backward(pool, c.shape);
    const auto widen = [](const std::vector<float>& x, int64_t cols, int64_t stride) {
      std::vector<float> y(x.size() / size_t(cols) * size_t(stride), 99.0f);
      for (size_t i = 0; i < x.size(); ++i) y[i / size_t(cols) * size_t(stride) + i % size_t(cols)] = x[i];
      return y;
    };
    const int64_t q_stride = 200, out_stride = 150, row_stride = 111;
    wide.q = widen(dense.q, 128, q_stride), wide.keys = widen(dense.keys, 64, row_stride),
    wide.values = widen(dense.values, 64, row_stride);
    wide.dout = widen(dense.dout, 128, out_stride);
    wide.out = widen(std::vector<float>(dense.out.size()), 128, out_stride),
    wide.dq = widen(std::vector<float>(dense.q.size()), 128, q_stride);
    wide.kv = {DType::kF32, wide.keys.data(), wide.values.data(), row_stride, 0, 0};
    attention_forward<float>(pool, c.shape, wide.segments, wide.q.data(), q_stride, wide.kv, wide.out.data(),
                             out_stride, wide.lse.data());
    attention_backward<float>(pool, c.shape, wide.segments, wide.dout.data(), wide.q.data(), q_stride, wide.kv,
                              wide.out.data(), out_stride, wide.lse.data(), wide.dq.data(), wide.dk.data(),
                              wide.dv.data());
    EXPECT_TRUE(same_bits(wide.out, widen(dense.out, 128, out_stride))) << name(isa);
    EXPECT_TRUE(same_bits(wide.dq, widen(dense.dq, 128, q_stride))) << name(isa);
    EXPECT_TRUE(same_bits(wide.dk, dense.dk) && same_bits(wide.dv, dense.dv)) << name(isa);
  }
}

TEST(Attention, SpecialValues) {
  ThreadPool pool(1);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    const Case c{"special", {1, 1, 8, 0.3f, true}, {{20, 20}}, true};
    Tensors<float, float> t(c), clean(c);
    for (int j = 0; j < 20; ++j)
      t.bias[size_t(5 * 20 + j)] = clean.bias[size_t(5 * 20 + j)] = -infinity;  // query 5 sees nothing
    clean.forward(pool, c.shape);
    t.q[7 * 8 + 2] = NAN;        // query 7
    t.q[9 * 8] = 1e30f;          // query 9: scores overflow nothing, one key takes all
    t.bias[11 * 20 + 3] = NAN;   // query 11
    t.bias[15 * 20 + 16] = NAN;  // a key that query 15 does not see
    t.forward(pool, c.shape);
    for (int i = 0; i < 20; ++i) {
      for (int d = 0; d < 8; ++d) {
        const float y = t.out[size_t(i * 8 + d)];
        if (i == 5)
          EXPECT_EQ(y, 0) << name(isa);
        else if (i == 7 || i == 11)
          EXPECT_TRUE(std::isnan(y)) << name(isa) << i;
        else if (i == 9)
          EXPECT_TRUE(std::isfinite(y)) << name(isa);
        else
          EXPECT_EQ(y, clean.out[size_t(i * 8 + d)]) << name(isa) << i;
      }
    }
    EXPECT_EQ(t.lse[5], -infinity);
    clean.backward(pool, c.shape);
    for (int d = 0; d < 8; ++d) EXPECT_EQ(clean.dq[size_t(5 * 8 + d)], 0);
    for (const float g : clean.dk) EXPECT_TRUE(std::isfinite(g)) << name(isa);
    for (const float g : clean.dv) EXPECT_TRUE(std::isfinite(g)) << name(isa);
  }
}

}  // namespace
}  // namespace sedum
