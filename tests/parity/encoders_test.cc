// Encoders against transformers: logits, and gradients of a loss over some of the rows.

#include <gtest/gtest.h>

#include "base/json.h"
#include "compute/ops/loss.h"
#include "formats/numpy.h"
#include "formats/safetensors.h"
#include "model/sentence_encoder.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

using nlohmann::json;
using Head = EncoderConfig::Head;

std::vector<int32_t> joined(const json& rows) {
  std::vector<int32_t> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

ops::Ids shared(std::vector<int32_t> ids) { return std::make_shared<const std::vector<int32_t>>(std::move(ids)); }

class Encoder {
 public:
  explicit Encoder(const std::string& name, CheckpointFactory::Use use = CheckpointFactory::Use::kFrozen)
      : checkpoint_(Checkpoint::open(golden("models/" + name))),
        factory_(checkpoint_, use, runtime_.pool, runtime_.arena),
        model_(checkpoint_.config(), factory_) {}

  Variable outputs(Context& ctx, const json& data) const {
    const Batch batch = Batch::of_sequences(data["ids"].get<std::vector<std::vector<int32_t>>>());
    const Variable hidden =
        model_.hidden_states(ctx, batch, data.contains("types") ? shared(joined(data["types"])) : nullptr);
    switch (model_.config().encoder.head) {
      case Head::kMaskedLm:
        return model_.masked_lm_logits(ctx, hidden);
      case Head::kSequence:
        return model_.sequence_logits(ctx, hidden, batch);
      case Head::kToken:
        return model_.token_logits(ctx, hidden);
      default:
        return hidden;
    }
  }
  Context context() { return runtime_.context(Compute::kF32); }
  const std::vector<Variable>& parameters() const { return factory_.parameters(); }
  const Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  Runtime runtime_{2};
  Checkpoint checkpoint_;
  CheckpointFactory factory_;
  BertModel model_;
};

class TinyEncoder : public testing::TestWithParam<const char*> {};

// Sequences of 1, 7 and 40 tokens in one batch, without padding.
TEST_P(TinyEncoder, OutputsAreThoseOfTransformers) {
  const std::string name = GetParam();
  Encoder encoder(name);
  Context ctx = encoder.context();
  const Difference d = difference(values(encoder.outputs(ctx, golden_json("models/" + name + ".json"))),
                                  read_npy(golden("models/" + name + ".npy")).values<float>());
  d.report(name);
  EXPECT_LE(d.relative(), kTolerance);
}

// Nothing of the file is left unread, and nothing is read that it does not hold.
TEST_P(TinyEncoder, AllTensorsAreTheModels) {
  const Encoder encoder(GetParam());
  std::vector<std::string> ours = encoder.checkpoint().tensor_names(), theirs = encoder.checkpoint().source().names();
  std::sort(ours.begin(), ours.end()), std::sort(theirs.begin(), theirs.end());
  EXPECT_EQ(ours, theirs);
  int64_t values = 0;
  for (const std::string& name : ours) values += encoder.checkpoint().tensor(name).count();
  EXPECT_EQ(encoder.checkpoint().config().parameter_count(), values);
}

INSTANTIATE_TEST_SUITE_P(Folders, TinyEncoder,
                         testing::Values("bert", "roberta", "bert_plain", "bert_sequence", "roberta_sequence",
                                         "bert_token"),
                         [](const auto& each) { return each.param; });

class EncoderGradients : public testing::TestWithParam<const char*> {};

TEST_P(EncoderGradients, AreThoseOfPyTorch) {
  const std::string name = GetParam();
  Encoder encoder(name, CheckpointFactory::Use::kTrainable);
  const json data = golden_json("models/" + name + ".json");
  const std::vector<int32_t> labels = joined(data["labels"]);
  const auto labelled = std::count_if(labels.begin(), labels.end(), [](int32_t l) { return l != ops::kIgnored; });
  Tape tape;
  Context ctx = encoder.context();
  ctx.tape = &tape;
  const Variable loss = ops::cross_entropy(ctx, encoder.outputs(ctx, data), shared(labels), 1 / float(labelled));
  EXPECT_NEAR(*loss.value().data<float>(), data["loss"].get<double>(), 1e-5 * data["loss"].get<double>());
  tape.backward(ctx, loss);
  const SafetensorsFile expected(golden("models/" + name + ".gradients.safetensors"));
  Difference worst{0, 1};
  for (const Variable& p : encoder.parameters()) {
    const StoredTensor& theirs = expected.get(p.name());
    ASSERT_TRUE(p.gradient().defined()) << p.name();
    const Difference d = difference({p.gradient().data<float>(), size_t(p.gradient().count())},
                                    {static_cast<const float*>(theirs.data), size_t(p.gradient().count())});
    // A key's bias moves all scores of a query alike: its gradient is 0, and what both have is rounding.
    if (p.name().ends_with("self.key.bias"))
      EXPECT_LE(d.largest, 1e-6) << p.name();
    else
      EXPECT_LE(d.relative(), kTolerance) << p.name();
    if (!p.name().ends_with("self.key.bias") && d.relative() > worst.relative()) worst = d;
  }
  EXPECT_EQ(encoder.parameters().size(), expected.names().size());
  worst.report(name + "'s gradients");
}

INSTANTIATE_TEST_SUITE_P(Folders, EncoderGradients,
                         testing::Values("bert", "roberta", "bert_sequence", "roberta_sequence", "bert_token"),
                         [](const auto& each) { return each.param; });

// PEFT's names of an adapter for classification: the head is trained whole.
TEST(Encoders, NamesOfAdaptersArePefts) {
  for (const std::string name : {"bert_sequence", "roberta_sequence", "bert_token"}) {
    Runtime runtime(1);
    const Checkpoint checkpoint = Checkpoint::open(golden("models/" + name));
    CheckpointFactory base(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena);
    LoraFactory factory(base, {.r = 2, .target_modules = {"all-linear"}, .modules_to_save = {"classifier"}},
                        runtime.pool, runtime.arena, 7);
    const BertModel model(checkpoint.config(), factory);
    factory.check_complete();
    std::vector<std::string> names;
    for (const Variable& p : factory.parameters()) names.push_back(p.name());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, golden_json("models/" + name + ".json")["peft"].get<std::vector<std::string>>()) << name;
  }
}

// A sequence gives the same bits alone and in a batch: nothing attends across sequences, and there is no padding to mask.
TEST(Encoders, ASequenceHasTheBitsThatItHasAlone) {
  Encoder encoder("bert");
  Context ctx = encoder.context();
  const json data = golden_json("models/bert.json");
  std::vector<float> alone;
  for (size_t i = 0; i < data["ids"].size(); ++i) {
    const auto one = values(encoder.outputs(ctx, {{"ids", {data["ids"][i]}}, {"types", {data["types"][i]}}}));
    alone.insert(alone.end(), one.begin(), one.end());
  }
  EXPECT_EQ(values(encoder.outputs(ctx, data)), alone);
}

// all-MiniLM-L6-v2: tokens, and vectors of length 1 to 1e-5 in every number.
TEST(RealEncoder, SentenceVectorsAreThoseOfSentenceTransformers) {
  SEDUM_NEEDS(models_folder() && std::filesystem::exists(*models_folder() / "minilm"),
              "SEDUM_TEST_MODELS (with minilm)");
  Runtime runtime;
  const SentenceEncoder encoder(runtime, *models_folder() / "minilm");
  EXPECT_EQ(encoder.max_tokens(), 256);
  const json data = golden_json("models/minilm.json");
  const auto texts = data["texts"].get<std::vector<std::string>>();
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(encoder.tokens(texts[i]).size(), data["tokens"][i]) << texts[i];
  std::vector<float> ours;
  for (const auto& vector : encoder.encode(texts)) ours.insert(ours.end(), vector.begin(), vector.end());
  const Difference d = difference(ours, read_npy(golden("models/minilm.npy")).values<float>());
  std::printf("  largest difference %.2g\n", d.largest);
  RecordProperty("error", std::to_string(d.largest));
  EXPECT_LE(d.largest, 1e-5);
}

}  // namespace
}  // namespace sedum::parity
