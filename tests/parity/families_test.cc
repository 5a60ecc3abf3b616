// A tiny random model of each family: what transformers, PyTorch, PEFT and llama.cpp's converter make of it
// (tools/golden/model_families.py).

#include <future>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/experts.h"
#include "compute/ops/loss.h"
#include "formats/numpy.h"
#include "formats/safetensors.h"
#include "infer/local_engine.h"
#include "model/adapters/peft.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/merge.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::vector<std::vector<int32_t>> ids() { return golden_json("families/ids.json"); }

std::vector<float> logits_at(const fs::path& path, const fs::path& adapter = {}) {
  Runtime runtime(1);
  return logits_of(RuntimeModel(runtime, path, {.compute = Compute::kF32, .adapter = adapter}), ids());
}

class Family : public testing::TestWithParam<const char*> {
 protected:
  fs::path folder() const { return golden(std::string("families/") + GetParam()); }
  json expected() const { return golden_json(std::string("families/") + GetParam() + ".json"); }
  std::vector<float> expected_logits() const {
    const NpyArray stored = read_npy(golden(std::string("families/") + GetParam() + ".logits.npy"));
    return {stored.values<float>().begin(), stored.values<float>().end()};
  }
};

TEST_P(Family, LogitsAreThoseOfTransformers) {
  const Difference d = difference(logits_at(folder()), expected_logits());
  d.report(GetParam());
  EXPECT_LE(d.relative(), kTolerance);
}

// By the engine that serves: prefill in steps of 5 rows, then a token at a time.
TEST_P(Family, GreedyTokensAreThoseOfTransformers) {
  const ScratchFolder with_tokenizer;
  fs::copy(folder(), with_tokenizer.path(), fs::copy_options::recursive);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    fs::copy(golden("models/llama") / file, with_tokenizer.path() / file);
  Runtime runtime(1);
  const RuntimeModel model(runtime, with_tokenizer.path(), {.compute = Compute::kF32});
  LocalEngine engine(model, {.context_length = 64, .cache_tokens = 128, .step_tokens = 5});
  const std::vector<int32_t> greedy = expected()["greedy"], whole = ids().back();
  std::vector<int32_t> made;
  std::promise<void> done;
  engine.submit({.prompt = {whole.begin(), whole.begin() + 12},
                 .sampling = {.temperature = 0, .max_tokens = int(greedy.size()), .ignore_end = true}},
                [&](const GenerationUpdate& u) {
                  if (u.id >= 0) made.push_back(u.id);
                  if (!u.error.empty()) ADD_FAILURE() << u.error;
                  if (u.last) done.set_value();
                });
  done.get_future().get();
  EXPECT_EQ(made, greedy);
}

// A sequence's bits are those that it has alone, and those of any number of threads.
TEST_P(Family, BitsDependOnNobodyElse) {
  const auto logits = [&](int threads, const std::vector<std::vector<int32_t>>& sequences) {
    Runtime runtime(threads);
    return logits_of(RuntimeModel(runtime, folder(), {.compute = Compute::kF32}), sequences);
  };
  const std::vector<float> together = logits(3, ids());
  std::vector<float> alone;
  for (const auto& sequence : ids())
    for (const float v : logits(1, {sequence})) alone.push_back(v);
  EXPECT_EQ(alone, together);
}

// Of the mean cross-entropy of a sequence: norm and some values of every tensor's gradient, on that norm's scale.
void check_gradients(const fs::path& folder, const json& expected, bool recompute) {
  Runtime runtime(1);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kTrainable, runtime.pool, runtime.arena);
  const auto model = build_model(checkpoint.config(), factory);
  Tape tape;
  Context ctx = runtime.context(Compute::kF32);
  ctx.tape = &tape;
  const std::vector<int32_t> sequence = ids().back();
  Batch batch = Batch::of_sequences({sequence});
  batch.recompute = recompute;
  const ModelConfig& config = checkpoint.config();
  std::vector<Variable> router_logits;
  if (config.output_router_logits) batch.router_logits = &router_logits;
  std::vector<int32_t> labels(sequence.begin() + 1, sequence.end());
  labels.push_back(ops::kIgnored);
  Variable loss =
      ops::cross_entropy_head(ctx, model->hidden_states(ctx, batch), model->head(),
                              std::make_shared<const std::vector<int32_t>>(labels), 1 / float(sequence.size() - 1));
  if (config.output_router_logits)
    loss = ops::add(
        ctx, loss,
        ops::load_balancing_loss(ctx, router_logits, int(config.num_experts_per_tok), config.router_aux_loss_coef));
  EXPECT_NEAR(*loss.value().data<float>(), expected["loss"].get<float>(), 1e-4);
  tape.backward(ctx, loss);
  std::set<std::string> left;
  for (const auto& [name, unused] : expected["gradients"].items()) left.insert(name);
  double worst = 0;
  for (const Variable& p : factory.parameters()) {
    ASSERT_TRUE(left.erase(p.name())) << p.name();
    const json& golden = expected["gradients"][p.name()];
    const double size = golden["norm"];
    const Tensor& g = p.gradient();
    double squares = 0;
    for (int64_t i = 0; i < g.count(); ++i) squares += double(g.data<float>()[i]) * double(g.data<float>()[i]);
    worst = std::max(worst, std::abs(std::sqrt(squares) - size) / size);
    EXPECT_NEAR(std::sqrt(squares), size, 1e-4 * size) << p.name();
    const Tensor stored = checkpoint.turned_in_folder(p.name()) ? turned(g) : g;
    for (size_t i = 0; i < golden["at"].size(); ++i)
      EXPECT_NEAR(stored.data<float>()[golden["at"][i].get<size_t>()], golden["values"][i].get<float>(), 1e-4 * size)
          << p.name() << " " << i;
  }
  EXPECT_TRUE(left.empty()) << *left.begin();
  std::printf("  norms of gradients differ by %.1e\n", worst);
}

TEST_P(Family, GradientsAreThoseOfPyTorch) {
  for (const bool recompute : {false, true}) check_gradients(folder(), expected(), recompute);
}

// Qwen2's models are those of models/, with biases of queries, keys and values.
TEST(Families, GradientsOfQwen2AreThoseOfPyTorch) {
  for (const std::string name : {"qwen2", "qwen2_tied"})
    for (const bool recompute : {false, true})
      check_gradients(golden("models/" + name), golden_json("families/" + name + ".gradients.json"), recompute);
}

// An adapter on all linear layers, of mixtures of experts on attention: PEFT's names; beside the model and merged into it, as a folder, it computes the same.
TEST_P(Family, AdapterBesideAndMerged) {
  const ScratchFolder scratch;
  Runtime runtime(1);
  const Checkpoint checkpoint = Checkpoint::open(folder());
  CheckpointFactory base(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena);
  LoraConfig lora{.r = 2, .lora_alpha = 1, .init_lora_weights = "false", .target_modules = {"all-linear"}};
  if (is_mixture(checkpoint.config().model_type)) lora.target_modules = {"q_proj", "k_proj", "v_proj", "o_proj"};
  LoraFactory factory(base, lora, runtime.pool, runtime.arena, 7);
  build_model(checkpoint.config(), factory);
  factory.check_complete();
  std::set<std::string> names;
  for (const Variable& p : factory.parameters()) names.insert(p.name());
  EXPECT_EQ(names, expected()["peft"].get<std::set<std::string>>());
  write_adapter(scratch.path() / "adapter", factory.config(), factory.parameters());
  const std::vector<float> beside = logits_at(folder(), scratch.path() / "adapter");
  EXPECT_GT(difference(beside, expected_logits()).relative(), 0.01);
  write_folder(scratch.path() / "merged", checkpoint, DType::kF32,
               merged_values(checkpoint, read_adapter(scratch.path() / "adapter", runtime.arena), runtime));
  EXPECT_LE(difference(logits_at(scratch.path() / "merged"), beside).relative(), kTolerance);
}

TEST_P(Family, NamesInGgufAreLlamaCpps) {
  const Checkpoint checkpoint = Checkpoint::open(folder());
  const json names = expected()["gguf"];
  for (const std::string& name : checkpoint.tensor_names()) {
    ASSERT_TRUE(names.contains(name)) << name;
    if (names[name].is_null()) continue;  // llama.cpp has no layers without experts there: GgufThereAndBack
    EXPECT_EQ(gguf_name(name, checkpoint.config()), names[name].get<std::string>());
  }
  EXPECT_EQ(checkpoint.tensor_names().size(), names.size());
}

// Through a GGUF file of ours, and from there as a folder again. Which of Qwen's layers have a window GGUF cannot say.
TEST_P(Family, GgufThereAndBack) {
  const ScratchFolder scratch;
  fs::copy(folder(), scratch.path() / "folder", fs::copy_options::recursive);
  json config = golden_json(std::string("families/") + GetParam() + "/config.json");
  if (is_gemma(config["model_type"])) config["query_pre_attn_scalar"] = config["head_dim"];
  if (config["model_type"] == "qwen3") config["use_sliding_window"] = false;
  write_file(scratch.path() / "folder/config.json", config.dump());
  const std::vector<float> before = logits_at(scratch.path() / "folder");
  const Checkpoint checkpoint = Checkpoint::open(scratch.path() / "folder");
  if (GetParam() == std::string("qwen3_moe_dense")) {  // llama.cpp has no such layers
    EXPECT_THROW(write_gguf(scratch.path() / "model.gguf", checkpoint, DType::kF32, stored_values(checkpoint)), Error);
    return;
  }
  write_gguf(scratch.path() / "model.gguf", checkpoint, DType::kF32, stored_values(checkpoint));
  EXPECT_EQ(logits_at(scratch.path() / "model.gguf"), before);
  const Checkpoint gguf = Checkpoint::open(scratch.path() / "model.gguf");
  write_folder(scratch.path() / "again", gguf, DType::kF32, stored_values(gguf));
  EXPECT_EQ(logits_at(scratch.path() / "again"), before);
  // The golden weights are values that bf16 holds: the same numbers through files of it. GGUF keeps Gemma's norms as 1 + w in f32, which holds
  // the 8 bits of any w above 2^-16.
  write_gguf(scratch.path() / "narrow.gguf", checkpoint, DType::kBF16, stored_values(checkpoint));
  const Checkpoint narrow = Checkpoint::open(scratch.path() / "narrow.gguf");
  write_folder(scratch.path() / "narrow", narrow, DType::kBF16, stored_values(narrow));
  const Checkpoint back = Checkpoint::open(scratch.path() / "narrow");
  for (const std::string& name : checkpoint.tensor_names())
    EXPECT_EQ(stored_values(back)(name), stored_values(checkpoint)(name)) << name;
}

INSTANTIATE_TEST_SUITE_P(Tiny, Family,
                         testing::Values("mistral", "qwen3", "smollm3", "phi3", "gpt2", "gemma3", "gemma2", "mixtral",
                                         "qwen3_moe", "qwen3_moe_dense", "llama_yarn", "phi3_long"),
                         [](const auto& each) { return each.param; });

// A copy of a model's folder with one key changed computes something else: the key is read.
TEST(Families, EveryKeyMatters) {
  const std::vector<std::tuple<std::string, std::string, json>> changes{
      {"mistral", "/sliding_window", 12},
      {"mistral", "/sliding_window", nullptr},
      {"qwen3", "/layer_types/0", "sliding_attention"},
      {"qwen3", "/use_sliding_window", false},
      {"phi3", "/sliding_window", 30},
      {"phi3", "/rope_parameters/partial_rotary_factor", 1.0},
      {"gpt2", "/activation_function", "relu"},
      {"gpt2", "/layer_norm_epsilon", 1e-2},
      {"gemma3", "/query_pre_attn_scalar", 24},
      {"gemma3", "/layer_types/5", "sliding_attention"},
      {"gemma3", "/rope_parameters/sliding_attention/rope_theta", 100.0},
      {"gemma3", "/rope_parameters/full_attention/factor", 1.0},
      {"gemma2", "/attn_logit_softcapping", nullptr},
      {"gemma2", "/final_logit_softcapping", nullptr},
      {"gemma2", "/final_logit_softcapping", 3.0},
      {"gemma2", "/query_pre_attn_scalar", 24},
      {"gemma2", "/layer_types/1", "sliding_attention"},
      {"gemma3", "/final_logit_softcapping", 1.0},
      {"mixtral", "/num_experts_per_tok", 1},
      {"qwen3_moe", "/norm_topk_prob", false},
      {"llama_yarn", "/rope_parameters/factor", 8.0},
      {"llama_yarn", "/rope_parameters/beta_fast", 1.0},
      {"llama_yarn", "/rope_parameters/beta_slow", 1.0},
      {"llama_yarn", "/rope_parameters/original_max_position_embeddings", 128},
      {"phi3_long", "/rope_parameters/short_factor/1", 2.0},
      {"phi3_long", "/rope_parameters/long_factor/1", 2.0},
      {"phi3_long", "/max_position_embeddings", 256},
      {"smollm3", "/no_rope_layers/1", 0},
      {"smollm3", "/no_rope_layers/3", 1},
  };
  for (const auto& [model, key, value] : changes) {
    const ScratchFolder scratch;
    fs::copy(golden("families/" + model), scratch.path(), fs::copy_options::recursive);
    json config = golden_json("families/" + model + "/config.json");
    ASSERT_NE(config.at(json::json_pointer(key)), value) << model << key;
    config[json::json_pointer(key)] = value;
    write_file(scratch.path() / "config.json", config.dump());
    EXPECT_GT(difference(logits_at(scratch.path()), logits_at(golden("families/" + model))).relative(),
              100 * kTolerance)
        << model << key;
  }
}

// Experts of a file that transformers 5 wrote as it holds them, in one tensor for a layer.
TEST(Families, ExpertsInOneTensor) {
  const ScratchFolder scratch;
  for (const std::string model : {"mixtral", "qwen3_moe"}) {
    const fs::path folder = scratch.path() / model;
    fs::create_directories(folder);
    fs::copy(golden("families/" + model) / "config.json", folder / "config.json");
    const Checkpoint published = Checkpoint::open(golden("families/" + model));
    const ModelConfig& config = published.config();
    const TensorReader read = stored_values(published);
    SafetensorsWriter out(folder / "model.safetensors", {});
    const auto put = [&](const std::string& name, std::vector<int64_t> shape, std::vector<float> values) {
      out.add(name, DType::kF32, std::move(shape),
              [values](const ByteSink& sink) { sink(values.data(), values.size() * sizeof(float)); });
    };
    for (const std::string& name : published.tensor_names()) {
      if (expert_tensor(name)) continue;
      const Shape shape = published.tensor(name).shape();
      std::string stored = name;
      if (const size_t at = name.find("block_sparse_moe"); at != std::string::npos) stored.replace(at, 16, "mlp");
      std::vector<int64_t> sizes;
      for (int i = 0; i < shape.rank(); ++i) sizes.push_back(shape[i]);
      put(stored, sizes, read(name));
    }
    const bool mixtral = model == "mixtral";
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      const std::string at = "model.layers." + std::to_string(layer) + ".";
      std::vector<float> gate_up, down;
      for (int64_t e = 0; e < config.num_experts; ++e) {
        const std::string expert = at + (mixtral ? "block_sparse_moe" : "mlp") + ".experts." + std::to_string(e) + ".";
        for (const char* part : {mixtral ? "w1" : "gate_proj", mixtral ? "w3" : "up_proj"})
          for (const float v : read(expert + part + ".weight")) gate_up.push_back(v);
        for (const float v : read(expert + (mixtral ? "w2" : "down_proj") + ".weight")) down.push_back(v);
      }
      const int64_t inner = config.moe_intermediate_size, hidden = config.hidden_size;
      put(at + "mlp.experts.gate_up_proj", {config.num_experts, 2 * inner, hidden}, gate_up);
      put(at + "mlp.experts.down_proj", {config.num_experts, hidden, inner}, down);
    }
    out.finish();
    EXPECT_EQ(logits_at(folder), logits_at(golden("families/" + model))) << model;
  }
}

// Experts of a quantised file, with integer products: as far from f32's as q8_0 is, in every company.
TEST(Families, QuantisedExperts) {
  const ScratchFolder scratch;
  const Checkpoint checkpoint = Checkpoint::open(golden("families/mixtral"));
  write_gguf(scratch.path() / "model.gguf", checkpoint, DType::kQ8_0, stored_values(checkpoint));
  const auto logits = [&](Compute compute, const std::vector<std::vector<int32_t>>& sequences) {
    Runtime runtime(2);
    return logits_of(RuntimeModel(runtime, scratch.path() / "model.gguf", {.compute = compute}), sequences);
  };
  const std::vector<float> exact = logits(Compute::kF32, ids()), int8 = logits(Compute::kInt8, ids());
  // Activations of 8 bits; a token that changes its expert differs more, and what sees it: the median token does not.
  const size_t width = size_t(checkpoint.config().vocab_size);
  std::vector<double> rows;
  for (size_t r = 0; r * width < exact.size(); ++r)
    rows.push_back(difference({&int8[r * width], width}, {&exact[r * width], width}).relative());
  std::sort(rows.begin(), rows.end());
  std::printf("  tokens differ by %.3f, %.3f, %.3f (least, median, most)\n", rows.front(), rows[rows.size() / 2],
              rows.back());
  EXPECT_LE(rows[rows.size() / 2], 0.2);  // about 0.1 with 8 bits and random weights
  EXPECT_LE(rows.back(), 1);
  EXPECT_NE(int8, exact);
  std::vector<float> alone;
  for (const auto& sequence : ids())
    for (const float v : logits(Compute::kInt8, {sequence})) alone.push_back(v);
  EXPECT_EQ(alone, int8);
}

// An adapter on experts, which PEFT with transformers 4 names so: beside the model and merged into it.
TEST(Families, AdapterOnExperts) {
  const ScratchFolder scratch;
  Runtime runtime(1);
  const Checkpoint checkpoint = Checkpoint::open(golden("families/qwen3_moe"));
  CheckpointFactory base(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena);
  LoraFactory factory(
      base, {.r = 2, .lora_alpha = 4, .init_lora_weights = "false", .target_modules = {"gate_proj", "down_proj"}},
      runtime.pool, runtime.arena, 7);
  build_model(checkpoint.config(), factory);
  factory.check_complete();
  std::set<std::string> names;
  for (const Variable& p : factory.parameters()) names.insert(p.name());
  EXPECT_EQ(names.size(), size_t(2 * 6 * 2 * 2));
  EXPECT_TRUE(names.count("base_model.model.model.layers.1.mlp.experts.5.gate_proj.lora_A.weight"));
  write_adapter(scratch.path() / "adapter", factory.config(), factory.parameters());
  const std::vector<float> beside = logits_at(golden("families/qwen3_moe"), scratch.path() / "adapter");
  EXPECT_GT(difference(beside, logits_at(golden("families/qwen3_moe"))).relative(), 0.01);
  write_folder(scratch.path() / "merged", checkpoint, DType::kF32,
               merged_values(checkpoint, read_adapter(scratch.path() / "adapter", runtime.arena), runtime));
  EXPECT_LE(difference(logits_at(scratch.path() / "merged"), beside).relative(), kTolerance);
}

}  // namespace
}  // namespace sedum::parity
