#include "model/adapters/lora.h"

#include <cmath>

#include <gmock/gmock.h>

#include "model/checkpoint/factory.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;

struct Adapted {
  explicit Adapted(LoraConfig config, uint64_t seed = 1, int threads = 1)
      : runtime(threads),
        checkpoint(Checkpoint::open(testing::tiny_model())),
        base(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena),
        lora(base, std::move(config), runtime.pool, runtime.arena, seed) {}
  void build() {
    model = build_model(checkpoint.config(), lora);
    lora.check_complete();
  }
  Runtime runtime;
  Checkpoint checkpoint;
  CheckpointFactory base;
  LoraFactory lora;
  std::unique_ptr<CausalModel> model;
};

TEST(LoraConfig, Factor) {
  LoraConfig c{.r = 16, .lora_alpha = 32};
  EXPECT_FLOAT_EQ(c.factor("q_proj"), 2);
  c.use_rslora = true;
  EXPECT_FLOAT_EQ(c.factor("q_proj"), 8);
}

TEST(LoraConfig, TargetsByTheLastPartOfAName) {
  const LoraConfig c{.target_modules = {"q_proj", "mlp.up_proj"}};
  EXPECT_TRUE(c.targets("model.layers.0.self_attn.q_proj"));
  EXPECT_TRUE(c.targets("model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(c.targets("model.layers.0.self_attn.kq_proj"));
  EXPECT_FALSE(c.targets("model.layers.0.self_attn.k_proj"));
  const LoraConfig all{.target_modules = {"all-linear"}};
  EXPECT_TRUE(all.targets("model.layers.0.self_attn.k_proj"));
  EXPECT_FALSE(all.targets("lm_head"));
}

TEST(LoraFactory, StartsAsTheBase) {
  Adapted a({.r = 4, .target_modules = {"all-linear"}});
  a.build();
  Context ctx = a.runtime.context(Compute::kF32);
  const std::vector<int32_t> ids{1, 5, 9, 200};
  const Variable out = a.model->logits(ctx, a.model->hidden_states(ctx, Batch::of_sequences({ids})));
  Runtime plain(1);
  const auto base = testing::logits_of(RuntimeModel(plain, testing::tiny_model(), {.compute = Compute::kF32}), ids);
  EXPECT_TRUE(std::equal(base.begin(), base.end(), out.value().data<float>()));
}

TEST(LoraFactory, ParametersAreNamedAndShapedAsPeftHasThem) {
  Adapted a({.r = 4, .target_modules = {"q_proj", "down_proj"}});
  a.build();
  ASSERT_EQ(a.lora.parameters().size(), 3u * 2 * 2);
  const Variable &down = a.lora.parameters()[2], &up = a.lora.parameters()[3];
  EXPECT_EQ(down.name(), "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight");
  EXPECT_EQ(down.shape(), (Shape{4, 64}));
  EXPECT_EQ(up.shape(), (Shape{32, 4}));
  for (int64_t i = 0; i < up.value().count(); ++i) ASSERT_EQ(up.value().data<float>()[i], 0);
}

// PEFT: kaiming_uniform_ with a = √5, that is uniform within ±1/√in: variance 1/(3·in).
TEST(LoraFactory, FirstMatrixIsUniformWithinItsBound) {
  Adapted a({.r = 64, .target_modules = {"down_proj"}});
  a.build();
  const Tensor& t = a.lora.parameters()[0].value();
  double squares = 0, sum = 0;
  for (int64_t i = 0; i < t.count(); ++i) {
    const double x = t.data<float>()[i];
    ASSERT_LE(std::abs(x), 1 / std::sqrt(64.0));
    squares += x * x, sum += x;
  }
  const double n = double(t.count());
  EXPECT_NEAR(squares / n, 1 / (3 * 64.0), 4 / (3 * 64.0) * std::sqrt(0.8 / n));  // kurtosis of a uniform variable: 9/5
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(3 * 64.0 * n));
}

TEST(LoraFactory, NumbersFollowFromSeedAndName) {
  const auto values = [](uint64_t seed, std::vector<std::string> targets, const std::string& name) {
    Adapted a({.r = 2, .target_modules = std::move(targets)}, seed);
    a.build();
    for (const Variable& p : a.lora.parameters())
      if (p.name() == peft_name(name, 'A'))
        return std::vector<float>(p.value().data<float>(), p.value().data<float>() + p.value().count());
    return std::vector<float>();
  };
  const std::string name = "model.layers.1.self_attn.v_proj";
  const auto one = values(7, {"v_proj"}, name);
  ASSERT_FALSE(one.empty());
  EXPECT_EQ(one, values(7, {"all-linear"}, name));
  EXPECT_NE(one, values(8, {"v_proj"}, name));
  EXPECT_NE(one, values(7, {"v_proj"}, "model.layers.0.self_attn.v_proj"));
}

TEST(LoraFactory, MistakesInTargets) {
  const auto problem = [](std::vector<std::string> targets) {
    return testing::problem_of([&] { Adapted({.r = 2, .target_modules = std::move(targets)}).build(); });
  };
  EXPECT_THAT(problem({"q_prj"}), HasSubstr("did you mean q_proj?"));
  EXPECT_THAT(problem({"q_proj", "wombat"}), HasSubstr("wombat"));
  EXPECT_THAT(problem({"lm_head"}), HasSubstr("target_modules"));
  EXPECT_THAT(problem({}), HasSubstr("no layer is adapted"));
}

TEST(LoraConfig, PatternsAndExceptions) {
  LoraConfig c{.r = 8, .lora_alpha = 16, .target_pattern = R"(.*\.[0-1]\.self_attn\.(q|v)_proj)"};
  EXPECT_TRUE(c.targets("model.layers.1.self_attn.v_proj"));
  EXPECT_FALSE(c.targets("model.layers.2.self_attn.v_proj"));
  EXPECT_FALSE(c.targets("model.layers.1.self_attn.k_proj"));
  c.exclude_modules = {"layers.0.self_attn.q_proj"}, c.rank_pattern = {{"v_proj", 2}}, c.alpha_pattern = {{"v_.*", 4}};
  EXPECT_FALSE(c.targets("model.layers.0.self_attn.q_proj"));
  EXPECT_EQ(c.rank_of("model.layers.1.self_attn.v_proj"), 2);
  EXPECT_EQ(c.rank_of("model.layers.1.self_attn.q_proj"), 8);
  EXPECT_FLOAT_EQ(c.factor("model.layers.1.self_attn.v_proj"), 2);
  c.target_pattern = "(";
  EXPECT_THAT(testing::problem_of([&] { c.validate("x"); }), HasSubstr("no regular expression"));
  EXPECT_THAT(testing::problem_of([] { matches_whole("(a+)+[bc]", std::string(60, 'a')); }), HasSubstr("too long"));
}

// ‖W‖ to the rounding of a sum over the row, so that DoRA starts as the base; A and B are what plain LoRA has.
TEST(LoraFactory, DoraStartsAsTheBase) {
  Adapted a({.r = 4, .use_dora = true, .target_modules = {"all-linear"}});
  a.build();
  Context ctx = a.runtime.context(Compute::kF32);
  const std::vector<int32_t> ids{1, 5, 9, 200};
  const Variable out = a.model->logits(ctx, a.model->hidden_states(ctx, Batch::of_sequences({ids})));
  Runtime plain(1);
  const auto base = testing::logits_of(RuntimeModel(plain, testing::tiny_model(), {.compute = Compute::kF32}), ids);
  for (size_t i = 0; i < base.size(); ++i) ASSERT_NEAR(out.value().data<float>()[i], base[i], 1e-5);
  EXPECT_EQ(a.lora.parameters()[2].name(), "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector");
}

TEST(LoraFactory, WholeLayersAndBiasesAreCopies) {
  Adapted a({.r = 4, .bias = "none", .target_modules = {"q_proj"}, .modules_to_save = {"embed_tokens", "lm_head"}});
  a.build();
  std::vector<std::string> whole;
  for (const Variable& p : a.lora.parameters())
    if (p.name().find("lora_") == std::string::npos) {
      whole.push_back(p.name());
      const Tensor stored = a.checkpoint.tensor(p.name().substr(17));
      std::vector<float> values(size_t(stored.count()));
      decode(stored.dtype(), stored.raw(), values.data(), stored.count());
      EXPECT_TRUE(std::equal(values.begin(), values.end(), p.value().data<float>()));
    }
  // The tiny model's head is its embeddings, and stays that.
  EXPECT_THAT(whole, ::testing::ElementsAre("base_model.model.model.embed_tokens.weight"));
  EXPECT_THAT(testing::problem_of(
                  [] { Adapted({.r = 2, .target_modules = {"q_proj"}, .modules_to_save = {"embed_token"}}).build(); }),
              HasSubstr("did you mean embed_tokens"));
}

// Two runs over the same rows, in other company: dropout gives the same, evaluation none.
TEST(LoraFactory, DropoutIsOfTrainingAlone) {
  Adapted a({.r = 4, .lora_dropout = 0.5f, .init_lora_weights = "false", .target_modules = {"all-linear"}});
  a.build();
  const auto logits = [&](std::vector<std::vector<int32_t>> rows, std::shared_ptr<const RowKeys> keys) {
    Context ctx = a.runtime.context(Compute::kF32);
    ctx.rows = keys;
    const Variable y = a.model->logits(ctx, a.model->hidden_states(ctx, Batch::of_sequences(rows)));
    return std::vector<float>(y.value().data<float>(), y.value().data<float>() + y.value().count());
  };
  const auto keys = [](std::vector<uint32_t> s, std::vector<uint32_t> p) {
    return std::make_shared<const RowKeys>(RowKeys{std::move(s), std::move(p)});
  };
  const auto alone = logits({{4, 5, 6}}, keys({7, 7, 7}, {0, 1, 2}));
  const auto among = logits({{1, 2}, {4, 5, 6}}, keys({3, 3, 7, 7, 7}, {0, 1, 0, 1, 2}));
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), among.begin() + ptrdiff_t(alone.size() / 3 * 2)));
  EXPECT_NE(alone, logits({{4, 5, 6}}, nullptr));
  EXPECT_EQ(logits({{4, 5, 6}}, nullptr), logits({{4, 5, 6}}, nullptr));
}

}  // namespace
}  // namespace sedum
