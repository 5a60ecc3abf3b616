#include "train/state.h"

#include <gmock/gmock.h>

#include "base/file.h"
#include "base/json.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::problem_of;
using testing::ScratchFolder;

class State : public ::testing::Test {
 protected:
  // Two parameters (one of a size that 8 bits are for), and states of any bits.
  std::unique_ptr<Optimizer> optimizer(float first, OptimizerOptions options = {}) {
    std::vector<Variable> parameters;
    for (const auto& [name, shape] : {std::pair{"w", Shape{70, 60}}, {"b", Shape{4}}}) {
      Tensor t = Tensor::empty(runtime_.arena, DType::kF32, shape);
      for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = first + 0.37f * float(i);
      parameters.push_back(Variable::parameter(t, name));
    }
    Context ctx = runtime_.context(Compute::kF32);
    auto made = make_optimizer(ctx, parameters, options);
    for (auto& [name, tensor] : made->states()) {
      auto* bytes = static_cast<uint8_t*>(tensor.raw());
      for (size_t i = 0; i < tensor.bytes(); ++i) bytes[i] = uint8_t(size_t(first) * 7 + i * 13 + name.size());
    }
    return made;
  }
  static std::string everything(const Optimizer& optimizer) {
    std::string all;
    const auto add = [&](const Tensor& t) { all.append(static_cast<const char*>(t.raw()), t.bytes()); };
    for (const Variable& p : optimizer.parameters()) add(p.value());
    for (const auto& [name, tensor] : optimizer.states()) add(tensor);
    return all;
  }
  void save(int64_t step, const Optimizer& adam) {
    save_state(run_ / ("checkpoint-" + std::to_string(step)),
               {.step = step, .config = "c", .tokens = uint64_t(step) * 10}, adam);
  }
  Runtime runtime_{1};
  ScratchFolder run_;
};

TEST_F(State, NothingThereIsNoState) {
  const auto made = optimizer(1);
  Optimizer& adam = *made;
  const auto before = everything(adam);
  EXPECT_FALSE(load_latest(run_.path(), adam, "c"));
  EXPECT_FALSE(load_latest(run_ / "none", adam, "c"));
  EXPECT_EQ(everything(adam), before);
}

TEST_F(State, WhatIsSavedIsLoaded) {
  for (const OptimizerKind kind : {OptimizerKind::kAdamW, OptimizerKind::kAdamW8Bit, OptimizerKind::kAdam,
                                   OptimizerKind::kSgd, OptimizerKind::kAdafactor, OptimizerKind::kMuon})
    for (const DType type : {DType::kF32, DType::kBF16}) {
      const OptimizerOptions options{.kind = kind, .momentum = 0.9f, .state_dtype = type};
      const auto saved = optimizer(1, options), other = optimizer(50, options);
      EXPECT_NE(everything(*other), everything(*saved));
      save(7, *saved);
      const auto state = load_latest(run_.path(), *other, "c");
      ASSERT_TRUE(state);
      EXPECT_EQ(state->step, 7);
      EXPECT_EQ(state->tokens, 70u);
      EXPECT_EQ(state->world_size, 1);
      EXPECT_EQ(everything(*other), everything(*saved)) << int(kind);
    }
}

TEST_F(State, TheNewestCountsAsANumber) {
  const auto nine = optimizer(9), ten = optimizer(10), loaded = optimizer(0);
  save(10, *ten);
  save(9, *nine);
  EXPECT_EQ(load_latest(run_.path(), *loaded, "c")->step, 10);
  EXPECT_EQ(everything(*loaded), everything(*ten));
}

TEST_F(State, UnfinishedAndForeignFoldersAreNotRead) {
  const auto made = optimizer(1);
  Optimizer& adam = *made;
  save(3, adam);
  fs::create_directories(run_ / "checkpoint-9.unfinished");
  fs::create_directories(run_ / "checkpoint-final");
  fs::create_directories(run_ / "model");
  EXPECT_EQ(load_latest(run_.path(), adam, "c")->step, 3);
}

TEST_F(State, RotateKeepsTheNewest) {
  const auto made = optimizer(1);
  Optimizer& adam = *made;
  for (const int64_t step : {2, 4, 10}) save(step, adam);
  fs::create_directories(run_ / "checkpoint-12.unfinished");
  rotate(run_.path(), 2);
  EXPECT_FALSE(fs::exists(run_ / "checkpoint-2"));
  EXPECT_TRUE(fs::exists(run_ / "checkpoint-4") && fs::exists(run_ / "checkpoint-10"));
  EXPECT_FALSE(fs::exists(run_ / "checkpoint-12.unfinished"));
}

TEST_F(State, TheBestIsKept) {
  const auto made = optimizer(1);
  for (const int64_t step : {2, 4, 10}) save(step, *made);
  rotate(run_.path(), 1, 2);
  EXPECT_TRUE(fs::exists(run_ / "checkpoint-2") && fs::exists(run_ / "checkpoint-10"));
  EXPECT_FALSE(fs::exists(run_ / "checkpoint-4"));
  const auto other = optimizer(5);
  load_parameters(run_.path(), 2, other->parameters());
  EXPECT_EQ(other->parameters()[0].value().data<float>()[7], made->parameters()[0].value().data<float>()[7]);
  EXPECT_NE(everything(*other), everything(*made));
}

TEST_F(State, WhatTheRunRemembersIsPartOfIt) {
  const auto made = optimizer(1);
  RunState state{.step = 3, .config = "c"};
  for (int i = 0; i < 200; ++i) state.losses.update(1.0 / (i + 1)), state.gradient_norms.update(i);
  state.best.update(2, 0.1, false, 0), state.best.update(3, 0.2, false, 0);
  state.loss_scale.update(false, 10, 1), state.loss_scale.update(true, 10, 1);
  save_state(run_ / "checkpoint-3", state, *made);
  auto loaded = load_latest(run_.path(), *made, "c");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->losses.to_json(), state.losses.to_json());
  EXPECT_EQ(loaded->losses.update(7), state.losses.update(7));
  EXPECT_EQ(loaded->loss_scale.to_json(), state.loss_scale.to_json());
  EXPECT_EQ(loaded->best.value, 0.1);
  EXPECT_EQ(loaded->best.without_progress, 1);
}

TEST_F(State, WhatDoesNotFitIsRefused) {
  const auto made = optimizer(1);
  Optimizer& adam = *made;
  save(5, adam);
  EXPECT_THAT(problem_of([&] { load_latest(run_.path(), adam, "other"); }), HasSubstr("other settings"));
  const fs::path json = run_ / "checkpoint-5" / "state.json";
  const std::string good = read_file(json);
  for (const auto& [bad, words] : {std::pair<std::string, std::string>{"", "not a checkpoint"},
                                   {"{}", "not a checkpoint"},
                                   {R"({"version": 99, "step": 1, "config": ""})", "version 99"},
                                   {R"({"version": 1, "step": "x", "config": ""})", "wrong type"}}) {
    write_file(json, bad);
    EXPECT_THAT(problem_of([&] { load_latest(run_.path(), adam, "c"); }), HasSubstr(words)) << bad;
  }
  write_file(json, good);
  const fs::path tensors = run_ / "checkpoint-5" / "state.safetensors";
  fs::resize_file(tensors, fs::file_size(tensors) - 1);
  EXPECT_THAT(problem_of([&] { load_latest(run_.path(), adam, "c"); }), HasSubstr("checkpoint-5"));
}

TEST_F(State, AnotherModelsStateIsRefused) {
  const auto made = optimizer(1);
  Optimizer& adam = *made;
  save(5, adam);
  Context ctx = runtime_.context(Compute::kF32);
  const auto larger =
      make_optimizer(ctx, {Variable::parameter(Tensor::zeros(runtime_.arena, DType::kF32, {3, 6}), "w")}, {});
  EXPECT_THAT(problem_of([&] { load_latest(run_.path(), *larger, "c"); }), HasSubstr("parameter.w"));
  const auto other = optimizer(1, {.kind = OptimizerKind::kAdafactor});
  EXPECT_THAT(problem_of([&] { load_latest(run_.path(), *other, "c"); }), HasSubstr("row_means.w"));
}

}  // namespace
}  // namespace sedum
