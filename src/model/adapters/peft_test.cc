#include "model/adapters/peft.h"

#include <gmock/gmock.h>

#include "base/file.h"
#include "base/json.h"
#include "model/checkpoint/merge.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::problem_of;
using testing::ScratchFolder;

json written() {
  return {{"peft_type", "LORA"}, {"r", 4},        {"lora_alpha", 8}, {"target_modules", {"q_proj"}},
          {"lora_dropout", 0.0}, {"bias", "none"}};
}
std::string problem(const json& document) {
  const ScratchFolder folder;
  write_file(folder / "adapter_config.json", document.dump());
  return problem_of([&] { read_adapter_config(folder.path()); });
}
json with(const std::string& key, const json& value) {
  json document = written();
  document[key] = value;
  return document;
}

// An adapter of rank 3 on q and down of the tiny model, with numbers of its own.
std::vector<Variable> parameters(Arena& arena) {
  std::vector<Variable> all;
  for (int layer = 0; layer < 3; ++layer)
    for (const auto& [name, out, in] : {std::tuple{"self_attn.q_proj", 64, 32}, std::tuple{"mlp.down_proj", 32, 64}})
      for (const char which : {'A', 'B'}) {
        Tensor t = Tensor::empty(arena, DType::kF32, which == 'A' ? Shape{3, in} : Shape{out, 3});
        for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = 0.1f * float((i * 7 + layer + which) % 11 - 5);
        all.push_back(Variable::parameter(t, peft_name("model.layers." + std::to_string(layer) + "." + name, which)));
      }
  return all;
}
LoraConfig config() {
  return {.r = 3,
          .lora_alpha = 6,
          .target_modules = {"q_proj", "down_proj"},
          .base_model_name_or_path = testing::tiny_model()};
}

TEST(Peft, WhatIsWrittenReadsTheSame) {
  const ScratchFolder folder;
  Arena arena;
  const auto before = parameters(arena);
  write_adapter(folder.path(), config(), before);
  EXPECT_TRUE(is_adapter(folder.path()));
  const StoredAdapter after = read_adapter(folder.path(), arena);
  EXPECT_EQ(after.config.r, 3);
  EXPECT_FLOAT_EQ(after.config.factor("q_proj"), 2);
  EXPECT_THAT(after.config.target_modules, ElementsAre("q_proj", "down_proj"));
  EXPECT_EQ(after.config.base_model_name_or_path, testing::tiny_model());
  ASSERT_EQ(after.weights.size(), before.size());
  for (const Variable& p : before) {
    const Tensor& t = after.weights.at(p.name());
    ASSERT_EQ(t.shape(), p.shape());
    EXPECT_TRUE(std::equal(t.data<float>(), t.data<float>() + t.count(), p.value().data<float>())) << p.name();
  }
}

TEST(Peft, EverySettingReadsTheSame) {
  const ScratchFolder folder;
  Arena arena;
  LoraConfig before = config();
  before.lora_dropout = 0.25f, before.use_rslora = true, before.use_dora = true, before.bias = "lora_only";
  before.target_modules.clear(), before.target_pattern = ".*\\.(q|down)_proj", before.exclude_modules = {"k_proj"};
  before.modules_to_save = {"norm"}, before.rank_pattern = {{"down_proj", 2}}, before.alpha_pattern = {{"q_proj", 5}};
  write_adapter(folder.path(), before, parameters(arena));
  const LoraConfig after = read_adapter_config(folder.path());
  EXPECT_EQ(after.lora_dropout, before.lora_dropout);
  EXPECT_TRUE(after.use_rslora && after.use_dora);
  EXPECT_EQ(after.bias, before.bias);
  EXPECT_EQ(after.target_pattern, before.target_pattern);
  EXPECT_EQ(after.exclude_modules, before.exclude_modules);
  EXPECT_EQ(after.modules_to_save, before.modules_to_save);
  EXPECT_EQ(after.rank_pattern, before.rank_pattern);
  EXPECT_EQ(after.alpha_pattern, before.alpha_pattern);
}

TEST(Peft, FeaturesThatWouldChangeTheResultAreRefused) {
  EXPECT_EQ(problem(written()), "");
  EXPECT_EQ(problem(with("use_dora", false)), "");
  EXPECT_EQ(problem(with("rank_pattern", json::object())), "");
  EXPECT_THAT(problem(with("bias", "most")), HasSubstr("bias: most"));
  EXPECT_THAT(problem(with("rank_pattern", {{"q_proj", 0}})), HasSubstr("rank_pattern"));
  EXPECT_EQ(problem(with("fan_in_fan_out", true)), "");  // how GPT-2 keeps the base: A and B are the same
  EXPECT_THAT(problem(with("layers_to_transform", {1})), HasSubstr("layers_to_transform"));
  EXPECT_THAT(problem(with("peft_type", "IA3")), HasSubstr("not LoRA"));
}

TEST(Peft, MistakesNameFileAndKey) {
  EXPECT_THAT(problem(with("r", 0)), HasSubstr("r is 0"));
  EXPECT_THAT(problem(with("r", "four")), HasSubstr("\"r\""));
  EXPECT_THAT(problem(with("target_modules", "q(.*")), HasSubstr("no regular expression"));
  EXPECT_THAT(problem(with("target_modules", 3)), HasSubstr("target_modules"));
  EXPECT_THAT(problem(with("lora_dropout", 1.0)), HasSubstr("lora_dropout"));
  EXPECT_THAT(problem(json::array()), HasSubstr("not a JSON object"));
  const ScratchFolder empty;
  EXPECT_THAT(problem_of([&] { read_adapter_config(empty.path()); }), HasSubstr("no adapter_config.json"));
}

TEST(Peft, UnknownFieldsAreNamed) {
  const ScratchFolder folder;
  write_file(folder / "adapter_config.json", with("brand_new", 3).dump());
  std::vector<std::string> unknown;
  read_adapter_config(folder.path(), &unknown);
  EXPECT_THAT(unknown, ElementsAre("brand_new"));
}

// W + factor · B · A, summed in double.
TEST(Merge, ValuesAreBasePlusProduct) {
  Runtime runtime(2);
  const ScratchFolder folder;
  write_adapter(folder.path(), config(), parameters(runtime.arena));
  const Checkpoint checkpoint = Checkpoint::open(testing::tiny_model());
  const auto plain = stored_values(checkpoint),
             merged = merged_values(checkpoint, read_adapter(folder.path(), runtime.arena), runtime);
  const StoredAdapter adapter = read_adapter(folder.path(), runtime.arena);
  const std::string stem = "model.layers.1.mlp.down_proj";
  const Tensor &a = adapter.weights.at(peft_name(stem, 'A')), &b = adapter.weights.at(peft_name(stem, 'B'));
  const auto w = plain(stem + ".weight"), m = merged(stem + ".weight");
  for (int64_t i = 0; i < 32; ++i)
    for (int64_t j = 0; j < 64; ++j) {
      double sum = w[size_t(i * 64 + j)], size = std::abs(sum);
      for (int64_t r = 0; r < 3; ++r) {
        const double term = 2.0 * double(b.data<float>()[i * 3 + r]) * double(a.data<float>()[r * 64 + j]);
        sum += term, size += std::abs(term);
      }
      ASSERT_NEAR(m[size_t(i * 64 + j)], sum, 5 * 6e-8 * size);
    }
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"})
    EXPECT_EQ(plain(name), merged(name)) << name;
}

TEST(Merge, AdapterOfAnotherModelIsRefused) {
  Runtime runtime(1);
  const ScratchFolder folder;
  auto all = parameters(runtime.arena);
  all.push_back(Variable::parameter(Tensor::zeros(runtime.arena, DType::kF32, {3, 32}),
                                    peft_name("model.layers.9.self_attn.q_proj", 'A')));
  write_adapter(folder.path(), config(), all);
  const Checkpoint checkpoint = Checkpoint::open(testing::tiny_model());
  EXPECT_THAT(problem_of([&] { merged_values(checkpoint, read_adapter(folder.path(), runtime.arena), runtime); }),
              HasSubstr("layers.9"));
}

TEST(RuntimeModel, AnAdaptersFolderNamesItsBase) {
  const ScratchFolder folder;
  Arena arena;
  write_adapter(folder / "adapter", config(), parameters(arena));
  for (const auto& path : {folder.path(), folder / "adapter"}) {
    const ModelPath resolved = resolve_model_path(path);
    EXPECT_EQ(resolved.base, testing::tiny_model());
    EXPECT_EQ(resolved.adapter, folder / "adapter");
  }
  LoraConfig lost = config();
  lost.base_model_name_or_path = "nowhere";
  write_adapter(folder / "adapter", lost, parameters(arena));
  EXPECT_THAT(problem_of([&] { resolve_model_path(folder.path()); }), HasSubstr("nowhere"));
}

}  // namespace
}  // namespace sedum
