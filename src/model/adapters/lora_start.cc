#include "model/adapters/lora_start.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "compute/kernels/products.h"
#include "model/adapters/low_rank.h"

namespace sedum {
namespace {

struct Layer {
  ThreadPool& pool;
  const float* w;
  int64_t out, in, rank;
  float factor;
};

std::vector<float> drawn(const std::string& name, uint64_t seed, int64_t count, float size, bool normal) {
  const Random random(seed, Purpose::kInit, stream_of(name));
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = normal ? size * random.normal(uint64_t(i)) : (2 * random.uniform(uint64_t(i)) - 1) * size;
  return values;
}

// √(Σ/s)·Vᵀ and U·√(Σ/s).
LoraStart halves(const LowRank& top, int64_t rank, float factor) {
  LoraStart start{.a = top.right, .b = top.left, .base = {}};
  const int64_t in = int64_t(top.right.size()) / rank, out = int64_t(top.left.size()) / rank;
  for (int64_t i = 0; i < rank; ++i) {
    const float root = float(std::sqrt(top.values[size_t(i)] / double(factor)));
    for (int64_t l = 0; l < in; ++l) start.a[size_t(i * in + l)] *= root;
    for (int64_t l = 0; l < out; ++l) start.b[size_t(l * rank + i)] *= root;
  }
  return start;
}

// W − factor · B · A.
std::vector<float> without(const Layer& layer, const LoraStart& start, float factor) {
  std::vector<float> base(layer.w, layer.w + layer.out * layer.in), b = start.b;
  for (float& x : b) x *= -factor;
  product_nn(layer.pool, Compute::kF32, {DType::kF32, b.data(), layer.out, layer.rank, size_t(layer.rank) * 4},
             {DType::kF32, start.a.data(), layer.rank, layer.in, size_t(layer.in) * 4},
             {DType::kF32, base.data(), layer.out, layer.in, size_t(layer.in) * 4}, true);
  return base;
}

std::vector<float> through_nf4(ThreadPool& pool, const std::vector<float>& values) {
  std::vector<BlockNF4> blocks(values.size() / kNf4Block);
  std::vector<float> back(values.size());
  as_nf4(pool, values, blocks.data());
  decode_nf4(blocks.data(), back.data(), int64_t(back.size()));
  return back;
}

LoraStart loftq(const Layer& layer, int iterations) {
  LoraStart start;
  std::vector<float> rest(layer.w, layer.w + layer.out * layer.in);
  for (int i = 0; i < iterations; ++i) {
    std::vector<float> base = through_nf4(layer.pool, rest);
    for (size_t j = 0; j < rest.size(); ++j) rest[j] = layer.w[j] - base[j];
    start = halves(largest_singular(layer.pool, rest.data(), layer.out, layer.in, layer.rank), layer.rank, 1);
    rest = without(layer, start, 1);
    start.base = std::move(base);
  }
  return start;
}

// Rows of one orthogonal matrix (r,r), every other for A and for B: A's and B's rows are then orthogonal, so that B·A is 0.
LoraStart orthogonal(const Layer& layer, const std::string& name, uint64_t seed) {
  const int64_t r = layer.rank, half = r / 2;
  const std::vector<float> square = drawn(name + ".q", seed, r * r, 1, true),
                           left = drawn(name + ".a", seed, layer.in * half, 0.1f, true),
                           right = drawn(name + ".b", seed, layer.out * half, 0.1f, true);
  const LowRank q = leading_qr(layer.pool, square.data(), r, r, r);  // left: (r,r) orthogonal
  LoraStart start{
      .a = std::vector<float>(size_t(r * layer.in)), .b = std::vector<float>(size_t(layer.out * r)), .base = {}};
  for (int64_t j = 0; j < r; ++j)
    for (int64_t h = 0; h < half; ++h) {
      const float for_a = q.left[size_t(2 * h * r + j)], for_b = q.left[size_t((2 * h + 1) * r + j)];
      for (int64_t l = 0; l < layer.in; ++l) start.a[size_t(j * layer.in + l)] += for_a * left[size_t(l * half + h)];
      for (int64_t l = 0; l < layer.out; ++l) start.b[size_t(l * r + j)] += for_b * right[size_t(l * half + h)];
    }
  return start;
}

LoraStart random_start(const Layer& layer, const std::string& init, const std::string& name, uint64_t seed) {
  const bool gaussian = init == "gaussian";
  const float bound = 1 / std::sqrt(float(layer.in));  // PEFT: Kaiming with a = √5
  LoraStart start{
      .a = drawn(peft_name(name, 'A'), seed, layer.rank * layer.in, gaussian ? 1 / float(layer.rank) : bound, gaussian),
      .b = std::vector<float>(size_t(layer.out * layer.rank)),
      .base = {}};
  if (init == "false")
    start.b = drawn(peft_name(name, 'B'), seed, layer.out * layer.rank, 1 / std::sqrt(float(layer.rank)), false);
  return start;
}

}  // namespace

void as_nf4(ThreadPool& pool, const std::vector<float>& values, BlockNF4* to) {
  const Nf4Quantised quantised = quantise_nf4(pool, values.data(), int64_t(values.size()));
  for (size_t i = 0; i < values.size() / kNf4Block; ++i) {
    const float* block = values.data() + i * kNf4Block;
    float most = 0;
    for (int j = 0; j < kNf4Block; ++j) most = std::max(most, std::abs(block[j]));
    std::copy_n(quantised.packed.begin() + int64_t(i) * 32, 32, to[i].qs);
    to[i].set_scale(most);
  }
}

LoraStart lora_start(ThreadPool& pool, const LoraConfig& config, const std::string& name, const float* w, int64_t out,
                     int64_t in, uint64_t seed) {
  const Layer layer{pool, w, out, in, config.rank_of(name), config.factor(name)};
  const std::string& init = config.init_lora_weights;
  const bool decomposes = config.changes_base();
  if (decomposes && layer.rank > std::min(out, in))
    throw Error("init_lora_weights: " + init + " of rank " + std::to_string(layer.rank) + " on " + name + " (" +
                    std::to_string(out) + ", " + std::to_string(in) + ")",
                "lower r, or give the layer its own in rank_pattern");
  if (init == "orthogonal") return orthogonal(layer, name, seed);
  if (!decomposes) return random_start(layer, init, name, seed);
  if (init == "loftq") {
    if (in % kNf4Block)
      throw Error(name + " has rows of " + std::to_string(in) + " values, and NF4 has blocks of 64",
                  "use another init_lora_weights");
    return loftq(layer, config.loftq_iter);
  }
  LoraStart start;
  if (init == "olora") {
    LowRank qr = leading_qr(pool, w, out, in, layer.rank);
    start.a = std::move(qr.right), start.b = std::move(qr.left);
  } else {
    const int iterations = config.pissa_iterations();
    start = halves(iterations < 0 ? largest_singular(pool, w, out, in, layer.rank)
                                  : sketched_singular(pool, w, out, in, layer.rank, iterations,
                                                      Random(seed, Purpose::kInit, stream_of(name))),
                   layer.rank, layer.factor);
  }
  start.base = without(layer, start, layer.factor);
  return start;
}

}  // namespace sedum
