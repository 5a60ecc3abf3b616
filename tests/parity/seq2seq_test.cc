// T5 against transformers: logits, gradients, greedy tokens and beams.

#include "base/json.h"
#include "infer/seq2seq.h"

#include <gtest/gtest.h>

#include "compute/ops/loss.h"
#include "formats/numpy.h"
#include "formats/safetensors.h"
#include "model/checkpoint/factory.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<int32_t>>;

class TinyT5 : public testing::TestWithParam<const char*> {
 protected:
  std::string name() const { return GetParam(); }
  json data() const { return golden_json("models/" + name() + ".json"); }
  T5Model model(CheckpointFactory::Use use = CheckpointFactory::Use::kFrozen) {
    checkpoint_ = Checkpoint::open(golden("models/" + name()));
    factory_ = std::make_unique<CheckpointFactory>(*checkpoint_, use, runtime_.pool, runtime_.arena);
    return {checkpoint_->config(), *factory_};
  }
  Runtime runtime_{2};
  std::optional<Checkpoint> checkpoint_;
  std::unique_ptr<CheckpointFactory> factory_;
};

Variable logits_of(Context& ctx, const T5Model& model, const json& data) {
  const Batch sources = Batch::of_sequences(data["ids"].get<Rows>()),
              targets = Batch::of_sequences(data["decoder_ids"].get<Rows>());
  return model.logits(ctx, model.decode(ctx, targets, model.encode(ctx, sources), sources));
}

// Sources of 1, 7 and 40 tokens and targets of 4, 12 and 25 in one batch: beyond relative_attention_max_distance.
TEST_P(TinyT5, LogitsAreThoseOfTransformers) {
  const T5Model m = model();
  Context ctx = runtime_.context(Compute::kF32);
  const Difference d =
      difference(values(logits_of(ctx, m, data())), read_npy(golden("models/" + name() + ".npy")).values<float>());
  d.report(name());
  EXPECT_LE(d.relative(), kTolerance);
}

TEST_P(TinyT5, AllTensorsAreTheModels) {
  model();
  std::vector<std::string> ours = checkpoint_->tensor_names(), theirs = checkpoint_->source().names();
  std::sort(ours.begin(), ours.end()), std::sort(theirs.begin(), theirs.end());
  EXPECT_EQ(ours, theirs);
  int64_t count = 0;
  for (const std::string& each : ours) count += checkpoint_->tensor(each).count();
  EXPECT_EQ(checkpoint_->config().parameter_count(), count);
}

TEST_P(TinyT5, GradientsAreThoseOfPyTorch) {
  const T5Model m = model(CheckpointFactory::Use::kTrainable);
  const json golden_data = data();
  std::vector<int32_t> labels;
  for (const auto& row : golden_data["labels"]) labels.insert(labels.end(), row.begin(), row.end());
  const auto labelled = std::count_if(labels.begin(), labels.end(), [](int32_t l) { return l != ops::kIgnored; });
  Tape tape;
  Context ctx = runtime_.context(Compute::kF32);
  ctx.tape = &tape;
  const Variable loss = ops::cross_entropy(ctx, logits_of(ctx, m, golden_data),
                                           std::make_shared<const std::vector<int32_t>>(labels), 1 / float(labelled));
  EXPECT_NEAR(*loss.value().data<float>(), golden_data["loss"].get<double>(), 1e-5 * golden_data["loss"].get<double>());
  tape.backward(ctx, loss);
  const SafetensorsFile expected(golden("models/" + name() + ".gradients.safetensors"));
  Difference worst{0, 1};
  size_t compared = 0;
  for (const Variable& p : factory_->parameters()) {
    ASSERT_TRUE(p.gradient().defined()) << p.name();
    const StoredTensor* theirs = expected.find(p.name());
    if (!theirs) continue;
    ++compared;
    const Difference d = difference({p.gradient().data<float>(), size_t(p.gradient().count())},
                                    {static_cast<const float*>(theirs->data), size_t(p.gradient().count())});
    EXPECT_LE(d.relative(), kTolerance) << p.name();
    if (d.relative() > worst.relative()) worst = d;
  }
  EXPECT_EQ(compared, expected.names().size());
  worst.report(name() + "'s gradients");
}

TEST_P(TinyT5, GreedyTokensAndBeamsAreThoseOfTransformers) {
  const T5Model m = model();
  const json golden_data = data();
  const int32_t start = m.config().encoder.decoder_start_token_id;
  const auto with_start = [&](std::vector<int32_t> ids) {
    ids.insert(ids.begin(), start);
    return ids;
  };
  for (size_t i = 0; i < golden_data["ids"].size(); ++i) {
    Context ctx = runtime_.context(Compute::kF32);
    const auto source = golden_data["ids"][i].get<std::vector<int32_t>>();
    const auto greedy = write_target(ctx, m, source, {.max_tokens = 12});
    EXPECT_EQ(with_start(greedy.at(0).ids), golden_data["greedy"][i].get<std::vector<int32_t>>()) << i;
    for (const int size : {2, 4, 8}) {
      const json& expected = golden_data["beams"][std::to_string(size)][i];
      const auto beams = write_target(ctx, m, source, {.max_tokens = 12, .num_beams = size, .length_penalty = 0.8f});
      ASSERT_EQ(beams.size(), size_t(size));
      for (size_t b = 0; b < beams.size(); ++b) {
        EXPECT_EQ(with_start(beams[b].ids), expected["ids"][b].get<std::vector<int32_t>>()) << size << ", " << i << ", " << b;
        EXPECT_NEAR(beams[b].score, expected["scores"][b].get<double>(), 1e-4) << size << ", " << i << ", " << b;
      }
    }
  }
}

// What is looked at sums to 1 over the source.
TEST_P(TinyT5, CrossAttentionIsAProbability) {
  const T5Model m = model();
  Context ctx = runtime_.context(Compute::kF32);
  const Batch source = Batch::of_sequences({{5, 9, 13, 40, 7}}), target = Batch::of_sequences({{0, 8, 3}});
  T5Model::CrossAttention seen;
  m.decode(ctx, target, m.encode(ctx, source), source, {}, &seen);
  ASSERT_EQ(int64_t(seen.size()), m.config().encoder.num_decoder_layers);
  for (const Tensor& t : seen) {
    ASSERT_EQ(t.shape(), (Shape{3, 3, 5}));
    for (int64_t r = 0; r < 9; ++r) {
      double sum = 0;
      for (int64_t j = 0; j < 5; ++j) sum += double(t.data<float>()[r * 5 + j]);
      EXPECT_NEAR(sum, 1, 1e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, TinyT5, testing::Values("t5", "t5_gated"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace sedum::parity
