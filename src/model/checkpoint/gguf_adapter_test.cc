#include "model/checkpoint/gguf_adapter.h"

#include <cmath>

#include <gmock/gmock.h>

#include "base/random.h"
#include "formats/gguf.h"
#include "model/checkpoint/merge.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::tiny_model;

StoredAdapter random_adapter(const Checkpoint& base, Arena& arena, const std::vector<std::string>& layers) {
  StoredAdapter adapter;
  adapter.config = {.r = 3, .lora_alpha = 5, .target_modules = {"all-linear"}};
  const Random random(9, Purpose::kTest);
  uint64_t n = 0;
  const auto matrix = [&](int64_t rows, int64_t cols) {
    Tensor t = Tensor::empty(arena, DType::kF32, {rows, cols});
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = 0.1f * random.normal(n++);
    return t;
  };
  for (const std::string& layer : layers) {
    const std::string stem = "model.layers.1." + layer;
    const Shape shape = base.tensor(stem + ".weight").shape();
    adapter.weights[peft_name(stem, 'A')] = matrix(3, shape[1]);
    adapter.weights[peft_name(stem, 'B')] = matrix(shape[0], 3);
  }
  return adapter;
}

const std::vector<std::string> kLayers{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"};

float at(const StoredTensor& t, int64_t i) { return static_cast<const float*>(t.data)[i]; }

// W + 5 / 3 · B · A is the merged W, whether the tensor is (rows, columns) or (experts, rows, columns).
void expect_sum(const StoredTensor& w, const StoredTensor* a, const StoredTensor* b, const StoredTensor& merged) {
  const int64_t cols = w.shape.back(), rows = w.shape.size() < 2 ? 1 : w.shape[w.shape.size() - 2];
  for (int64_t i = 0; i < int64_t(w.bytes / 4); ++i) {
    const int64_t row = i / cols, expert = row / rows;
    double sum = at(w, i);
    for (int64_t r = 0; a && r < 3; ++r)
      sum += 5.0 / 3 * at(*b, row * 3 + r) * at(*a, (expert * 3 + r) * cols + i % cols);
    ASSERT_NEAR(sum, at(merged, i), 1e-6) << i;
  }
}

// In GGUF's own order: base + alpha / r · B · A is what a merge writes.
void expect_adds_up(const std::filesystem::path& model, const std::vector<std::string>& layers, size_t tensors) {
  const ScratchFolder scratch;
  Runtime runtime(1);
  const Checkpoint base = Checkpoint::open(model);
  const StoredAdapter adapter = random_adapter(base, runtime.arena, layers);
  write_gguf_adapter(scratch / "adapter.gguf", base, adapter);
  write_gguf(scratch / "base.gguf", base, DType::kF32, stored_values(base));
  write_gguf(scratch / "merged.gguf", base, DType::kF32, merged_values(base, adapter, runtime));
  const GgufFile lora(scratch / "adapter.gguf"), plain(scratch / "base.gguf"), merged(scratch / "merged.gguf");
  EXPECT_EQ(lora.get<std::string>("general.type"), "adapter");
  EXPECT_EQ(lora.get<std::string>("adapter.type"), "lora");
  EXPECT_EQ(lora.get<float>("adapter.lora.alpha"), 5);
  EXPECT_EQ(lora.names().size(), tensors);
  for (const std::string& tensor : plain.names()) {
    SCOPED_TRACE(tensor);
    expect_sum(plain.get(tensor), lora.find(tensor + ".lora_a"), lora.find(tensor + ".lora_b"), merged.get(tensor));
  }
}

TEST(GgufAdapter, AddsUpToTheMergedModel) {
  for (const char* name : {"llama", "qwen2"}) expect_adds_up(tiny_model(name), kLayers, 8);
}

// llama.cpp has the experts of a layer together; those that the adapter left alone add nothing.
TEST(GgufAdapter, HoldsTheExpertsOfALayerTogether) {
  expect_adds_up(testing::golden("families/qwen3_moe"),
                 {"self_attn.q_proj", "mlp.experts.0.down_proj", "mlp.experts.4.down_proj", "mlp.experts.5.up_proj"},
                 6);
  expect_adds_up(testing::golden("families/mixtral"),
                 {"block_sparse_moe.experts.1.w2", "block_sparse_moe.experts.0.w1"}, 4);
}

TEST(GgufAdapter, RefusesWhatItCannotHold) {
  const ScratchFolder scratch;
  Runtime runtime(1);
  const Checkpoint base = Checkpoint::open(tiny_model());
  StoredAdapter adapter = random_adapter(base, runtime.arena, kLayers);
  adapter.weights["base_model.model.lm_head.modules_to_save.weight"] =
      Tensor::zeros(runtime.arena, DType::kF32, {2, 2});
  EXPECT_THAT(testing::problem_of([&] { write_gguf_adapter(scratch / "a.gguf", base, adapter); }),
              HasSubstr("lm_head"));
  adapter = random_adapter(base, runtime.arena, kLayers);
  adapter.config.r = 4;
  EXPECT_THAT(testing::problem_of([&] { write_gguf_adapter(scratch / "a.gguf", base, adapter); }),
              HasSubstr("do not fit"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace
}  // namespace sedum
