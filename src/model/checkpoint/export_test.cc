#include "model/checkpoint/export.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>

#include "base/file.h"
#include "model/model_testing.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::tiny_model;

void expect_same_bits(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_EQ(a.tensor_names(), b.tensor_names());
  for (const std::string& name : a.tensor_names()) EXPECT_EQ(stored_values(a)(name), stored_values(b)(name)) << name;
}

const std::vector<std::string> kModels{"llama", "llama_linear", "llama_scaled", "qwen2", "qwen2_tied"};

TEST(Export, FolderToGgufToFolderKeepsEveryBit) {
  for (const std::string& name : kModels) {
    SCOPED_TRACE(name);
    const ScratchFolder scratch;
    const Checkpoint first = Checkpoint::open(tiny_model(name));
    write_gguf(scratch / "m.gguf", first, DType::kF32, stored_values(first));
    const Checkpoint gguf = Checkpoint::open(scratch / "m.gguf");
    EXPECT_TRUE(gguf.is_gguf());
    expect_same_bits(first, gguf);
    write_folder(scratch / "back", gguf, DType::kF32, stored_values(gguf));
    const Checkpoint back = Checkpoint::open(scratch / "back");
    expect_same_bits(first, back);
    EXPECT_EQ(back.config().max_position_embeddings, first.config().max_position_embeddings);
    EXPECT_EQ(back.config().rms_norm_eps, first.config().rms_norm_eps);
    EXPECT_EQ(back.config().eos_token_id, first.config().eos_token_id);
  }
}

// The files' bytes, not values: a bf16 matrix that went through f32 must come back as it was, and so must the vectors that GGUF keeps in f32.
TEST(Export, FolderToGgufToFolderKeepsEveryBitOfBf16) {
  for (const std::string& name : kModels) {
    SCOPED_TRACE(name);
    const ScratchFolder scratch;
    const Checkpoint f32 = Checkpoint::open(tiny_model(name));
    write_folder(scratch / "first", f32, DType::kBF16, stored_values(f32));
    const Checkpoint first = Checkpoint::open(scratch / "first");
    EXPECT_NE(stored_values(first)("model.embed_tokens.weight"), stored_values(f32)("model.embed_tokens.weight"));
    write_gguf(scratch / "m.gguf", first, DType::kBF16, stored_values(first));
    const Checkpoint gguf = Checkpoint::open(scratch / "m.gguf");
    EXPECT_EQ(gguf.tensor("model.embed_tokens.weight").dtype(), DType::kBF16);
    write_folder(scratch / "back", gguf, DType::kBF16, stored_values(gguf));
    EXPECT_EQ(read_file(scratch / "first/model.safetensors"), read_file(scratch / "back/model.safetensors"));
  }
}

TEST(Export, AFolderInShardsIsTheSameModel) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model());
  write_folder(scratch / "m", first, DType::kF32, stored_values(first), 40'000);
  EXPECT_FALSE(fs::exists(scratch / "m/model.safetensors"));
  int shards = 0;
  for (const auto& entry : fs::directory_iterator(scratch / "m")) shards += entry.path().extension() == ".safetensors";
  EXPECT_GT(shards, 5);
  expect_same_bits(first, Checkpoint::open(scratch / "m"));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Whatever of a model was there goes with it, and nothing else.
TEST(Export, AFolderIsReplacedAndOtherFilesStay) {
  const ScratchFolder scratch;
  const Checkpoint llama = Checkpoint::open(tiny_model()), qwen = Checkpoint::open(tiny_model("qwen2"));
  write_folder(scratch / "m", llama, DType::kF32, stored_values(llama), 40'000);
  write_file(scratch / "m/README.md", "mine");
  write_file(scratch / "m/model_card.safetensors", "mine too");
  fs::create_directory(scratch / "m/adapter");
  write_folder(scratch / "m", qwen, DType::kF32, stored_values(qwen));
  EXPECT_EQ(names_in(scratch / "m"),
            (std::vector<std::string>{"README.md", "adapter", "config.json", "model.safetensors",
                                      "model_card.safetensors", "tokenizer.json", "tokenizer_config.json"}));
  expect_same_bits(qwen, Checkpoint::open(scratch / "m"));
  fs::create_directory_symlink(scratch / "m", scratch / "link");
  write_folder(scratch / "link", llama, DType::kF32, stored_values(llama));
  EXPECT_TRUE(fs::is_symlink(scratch / "link"));
  expect_same_bits(llama, Checkpoint::open(scratch / "m"));
}

// A writer that fails in the last tensor: the folder before is whole, and no new one begun.
TEST(Export, AFolderThatCouldNotBeWrittenLeavesNothing) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model());
  const auto fails = [&](const std::string& name) {
    if (name == first.tensor_names().back()) throw Error("the disk is gone");
    return stored_values(first)(name);
  };
  EXPECT_THROW(write_folder(scratch / "m", first, DType::kF32, fails, 40'000), Error);
  EXPECT_TRUE(fs::is_empty(scratch.path()));
  write_folder(scratch / "m", first, DType::kF32, stored_values(first), 40'000);
  const auto before = names_in(scratch / "m");
  EXPECT_THROW(write_folder(scratch / "m", first, DType::kF16, fails), Error);
  EXPECT_EQ(names_in(scratch / "m"), before);
  expect_same_bits(first, Checkpoint::open(scratch / "m"));
  write_file(scratch / "file", "");
  EXPECT_THAT(testing::problem_of([&] { write_folder(scratch / "file", first, DType::kF32, fails); }),
              HasSubstr("no folder"));
}

// What is written computes the same: sizes, row order, biases, the scaling of positions.
TEST(Export, LogitsStay) {
  for (const std::string& name : kModels) {
    const ScratchFolder scratch;
    const Checkpoint first = Checkpoint::open(tiny_model(name));
    write_gguf(scratch / "m.gguf", first, DType::kF32, stored_values(first));
    write_folder(scratch / "m", Checkpoint::open(scratch / "m.gguf"), DType::kF32,
                 stored_values(Checkpoint::open(scratch / "m.gguf")));
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i) ids.push_back((i * 13) % 200);
    Runtime runtime(1);
    const auto expected = testing::logits_of(RuntimeModel(runtime, tiny_model(name), {.compute = Compute::kF32}), ids);
    for (const char* file : {"m.gguf", "m"}) {
      const auto logits = testing::logits_of(RuntimeModel(runtime, scratch / file, {.compute = Compute::kF32}), ids);
      // Llama 3's scaling goes through f32 divisors: frequencies may differ in their last bit.
      const double tolerance = name == "llama_scaled" ? 1e-5 : 0;
      for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(logits[i], expected[i], tolerance) << name << file;
    }
  }
}

TEST(Export, ScalingThatConfigJsonCannotNameIsNotLost) {
  const ScratchFolder scratch;
  // The golden file's divisors are of a context of 64, which its metadata does not say.
  const Checkpoint foreign = Checkpoint::open(tiny_model("llama_scaled.f32.gguf"));
  EXPECT_THAT(testing::problem_of([&] { write_folder(scratch / "m", foreign, DType::kF32, stored_values(foreign)); }),
              HasSubstr("cannot name"));
}

// GGUF marks special tokens by their kind alone, tokenizer.json lists them: they travel both ways.
TEST(Export, TokenizerTravels) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model());
  write_gguf(scratch / "m.gguf", first, DType::kF16, stored_values(first));
  const Checkpoint gguf = Checkpoint::open(scratch / "m.gguf");
  write_folder(scratch / "m", gguf, DType::kF16, stored_values(gguf));
  const Checkpoint back = Checkpoint::open(scratch / "m");
  const std::string text = "<|im_start|>user\nnaïve 多肉 🌵 12345<|im_end|>";
  const auto ids = first.tokenizer()->encode(text);
  EXPECT_EQ(ids[0], 1);
  for (const Checkpoint* each : {&gguf, &back}) {
    EXPECT_EQ(each->tokenizer()->encode(text), ids);
    EXPECT_EQ(each->tokenizer()->hash(), first.tokenizer()->hash());
    EXPECT_EQ(each->tokenizer_spec().chat_template, first.tokenizer_spec().chat_template);
    EXPECT_TRUE(each->tokenizer()->ends_generation(2));
  }
}

TEST(Export, MatricesGetTheTypeAndVectorsStay) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model("qwen2"));
  for (const auto& [type, bits] : {std::pair{DType::kQ8_0, 7.0}, {DType::kF16, 10.0}, {DType::kBF16, 7.0}}) {
    write_gguf(scratch / "m.gguf", first, type, stored_values(first));
    const Checkpoint stored = Checkpoint::open(scratch / "m.gguf");
    for (const std::string& name : first.tensor_names()) {
      const Tensor t = stored.tensor(name);
      EXPECT_EQ(t.dtype(), t.shape().rank() < 2 ? DType::kF32 : type) << name;
      const auto a = stored_values(first)(name), b = stored_values(stored)(name);
      double largest = 0, error = 0;
      for (size_t i = 0; i < a.size(); ++i)
        largest = std::max(largest, std::abs(double(a[i]))),
        error = std::max(error, std::abs(double(a[i]) - double(b[i])));
      EXPECT_LE(error, largest * std::exp2(-bits)) << name;
    }
  }
}

TEST(Export, NothingIsLeftOfAFileThatCouldNotBeWritten) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model());
  const TensorReader broken = [&](const std::string& name) -> std::vector<float> {
    if (name == "model.norm.weight") throw Error("the source broke off");
    return stored_values(first)(name);
  };
  EXPECT_THAT(testing::problem_of([&] { write_gguf(scratch / "m.gguf", first, DType::kF32, broken); }),
              HasSubstr("broke off"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(Factory, DecodedIsWhatDecodeGives) {
  Runtime runtime(2);
  const Checkpoint stored = Checkpoint::open(tiny_model("qwen2.q8_0.gguf"));
  for (const std::string& name : stored.tensor_names()) {
    const Tensor t = decoded(stored.tensor(name), runtime.pool, runtime.arena);
    EXPECT_EQ(stored_values(stored)(name), std::vector<float>(t.data<float>(), t.data<float>() + t.count())) << name;
  }
}

TEST(Factory, TrainableParametersAreAllTensorsOfTheFile) {
  for (const char* name : {"llama", "qwen2", "qwen2.q8_0.gguf"}) {
    Runtime runtime(1);
    const Checkpoint checkpoint = Checkpoint::open(tiny_model(name));
    CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kTrainable, runtime.pool, runtime.arena);
    const auto model = build_model(checkpoint.config(), factory);
    std::vector<std::string> names, expected = checkpoint.tensor_names();
    for (const Variable& p : factory.parameters()) {
      names.push_back(p.name());
      EXPECT_EQ(p.dtype(), DType::kF32);
    }
    EXPECT_THAT(names, ::testing::UnorderedElementsAreArray(expected)) << name;
  }
}

TEST(Factory, WeightsThatDoNotFitTheConfigAreNamed) {
  const ScratchFolder scratch;
  std::filesystem::copy(tiny_model(), scratch / "m");
  std::string config = read_file(scratch / "m" / "config.json");
  config.replace(config.find("\"intermediate_size\": 64"), 23, "\"intermediate_size\": 96");
  write_file(scratch / "m" / "config.json", config);
  Runtime runtime(1);
  EXPECT_THAT(testing::problem_of([&] { RuntimeModel(runtime, scratch / "m", {}); }),
              HasSubstr("model.layers.0.mlp.gate_proj.weight is (64, 32), the config asks for (96, 32)"));
}

TEST(Factory, RandomWeightsFollowFromSeedAndNameAndFillWhatTheyAreWrittenTo) {
  Runtime runtime(2);
  const Checkpoint like = Checkpoint::open(tiny_model());
  RandomFactory a(runtime.pool, runtime.arena, 5), b(runtime.pool, runtime.arena, 5), c(runtime.pool, runtime.arena, 6);
  for (RandomFactory* each : {&a, &b, &c}) build_model(like.config(), *each);
  const ScratchFolder scratch;
  write_folder(scratch / "a", like, a.parameters()), write_folder(scratch / "b", like, b.parameters()),
      write_folder(scratch / "c", like, c.parameters());
  const auto values = [&](const char* folder, const std::string& name) {
    return stored_values(Checkpoint::open(scratch / folder))(name);
  };
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  EXPECT_EQ(values("a", name), values("b", name));
  EXPECT_NE(values("a", name), values("c", name));
  double squares = 0;
  for (const float x : values("a", "model.embed_tokens.weight")) squares += double(x) * x;
  EXPECT_NEAR(std::sqrt(squares / (320 * 32)), 0.02, 0.001);  // 10,240 values: the deviation's own deviation is 0.00014
  for (const float x : values("a", "model.norm.weight")) EXPECT_EQ(x, 1);
}

}  // namespace
}  // namespace sedum
