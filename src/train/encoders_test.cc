// Stages mlm and seq2seq: what is trained, on which tokens, and the folder that comes out.

#include <cmath>

#include <gmock/gmock.h>

#include "base/file.h"
#include "base/json.h"
#include "compute/ops/loss.h"
#include "data/masking.h"
#include "model/classifier.h"
#include "model/model_testing.h"
#include "model/sentence_encoder.h"
#include "train/objective.h"

namespace sedum {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::problem_of;
using testing::ScratchFolder;

class Encoders : public ::testing::Test {
 protected:
  Encoders() {
    config_.output_dir = (folder_ / "run").string(), config_.train_files = {(folder_ / "rows.jsonl").string()};
    config_.finetuning_type = "full", config_.cutoff_len = 32, config_.threads = 1, config_.compute = Compute::kF32;
    config_.per_device_train_batch_size = 4, config_.attention_dropout = 0, config_.resid_pdrop = 0,
    config_.embd_pdrop = 0;
  }
  void write(const std::vector<json>& rows) const {
    std::string text;
    for (const json& row : rows) text += row.dump() + "\n";
    write_file(folder_ / "rows.jsonl", text);
  }
  void masked_lm() {
    config_.stage = "mlm", config_.model_name_or_path = testing::tiny_model("bert").string();
    std::vector<json> rows;
    for (const char* text : {"water the plant in summer", "the soil is dry in winter", "light is often in the leaf",
                             "how often is the plant dry", "a plant in the soil, a leaf in the light",
                             "in winter water is in the soil", "dry soil", "summer light is often dry"})
      rows.push_back({{"text", text}});
    write(rows);
  }
  void seq2seq() {
    config_.stage = "seq2seq";
    config_.model = json{{"model_type", "t5"},       {"vocab_size", 120}, {"d_model", 24},    {"d_ff", 40},
                         {"num_layers", 1},          {"num_heads", 2},    {"d_kv", 12},       {"eos_token_id", 3},
                         {"initializer_range", 0.1}, {"pad_token_id", 0}, {"dropout_rate", 0}}
                        .dump();
    config_.tokenizer_name_or_path = testing::tiny_model("bert").string();
    write({{{"instruction", "water"}, {"output", "dry soil"}},
           {{"instruction", "winter"}, {"output", "summer light"}},
           {{"instruction", "the plant"}, {"output", "a leaf"}},
           {{"instruction", "is the soil dry?"}, {"output", "often"}}});
  }
  // The tiny classifier has no tokenizer of its own.
  void give_tokenizer() {
    const auto to = folder_ / "with_tokenizer";
    std::filesystem::copy(config_.model_name_or_path, to);
    std::filesystem::copy(testing::tiny_model("bert") / "tokenizer.json", to / "tokenizer.json");
    config_.model_name_or_path = to.string();
  }
  TrainResult run(int steps, float rate) {
    config_.max_steps = steps, config_.learning_rate = rate, config_.eval_files = config_.train_files;
    Events events;
    return train(config_, events);
  }

  ScratchFolder folder_;
  TrainConfig config_;
};

double gradient_norm(const std::vector<Variable>& parameters) {
  double squares = 0;
  for (const Variable& p : parameters)
    for (int64_t i = 0; p.gradient().defined() && i < p.gradient().count(); ++i)
      squares += std::pow(double(p.gradient().data<float>()[i]), 2);
  return std::sqrt(squares);
}

// The loss of the first step, and the gradients' norm, in one micro-batch or several.
std::pair<double, double> first_step(const TrainConfig& config) {
  Runtime runtime(1);
  const TrainableModel t = build_trainable(config, runtime, runtime.arena);
  const TrainData data = load_train_data(config, t.checkpoint);
  const auto objective = make_objective(config, t, data, runtime, runtime.arena);
  Context ctx = runtime.context(Compute::kF32);
  Tape tape;
  objective->begin_step(ctx, 0);
  double loss = 0;
  for (int micro = 0; micro < config.gradient_accumulation_steps; ++micro)
    loss += objective->train_on(ctx, tape, data.train->batch(0, micro));
  return {loss, gradient_norm(t.parameters)};
}

// The mean of −log p over the masked rows alone, written out.
TEST_F(Encoders, LossIsThatOfTheMaskedTokens) {
  masked_lm();
  config_.per_device_train_batch_size = 8, config_.mlm_probability = 0.4f;
  Runtime runtime(1);
  const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
  const TrainData data = load_train_data(config_, t.checkpoint);
  const data::StepBatch batch = data.train->batch(0);
  const data::Masked masked =
      data::mask_tokens(batch, {.share = double(0.4f), .mask_token = 4, .vocab_size = 120, .seed = config_.seed}, 0);
  ASSERT_GT(masked.rows.size(), 5u);
  Context ctx = runtime.context(Compute::kF32);
  Batch seen = to_batch(batch, config_);
  seen.ids = std::make_shared<const std::vector<int32_t>>(masked.ids);
  const Variable logits = t.encoder->masked_lm_logits(ctx, t.encoder->hidden_states(ctx, seen));
  double sum = 0;
  for (size_t i = 0; i < masked.rows.size(); ++i) {
    const float* row = logits.value().data<float>() + masked.rows[i] * 120;
    double total = 0;
    for (int v = 0; v < 120; ++v) total += std::exp(double(row[v]));
    sum += std::log(total) - double(row[masked.labels[i]]);
  }
  EXPECT_NEAR(first_step(config_).first, sum / double(masked.rows.size()), 1e-5);
}

TEST_F(Encoders, MicroBatchesGiveTheWholeBatchsStep) {
  for (const bool masked : {true, false}) {
    masked ? masked_lm() : seq2seq();
    if (!masked) config_.model_name_or_path.clear();
    config_.per_device_train_batch_size = 4, config_.gradient_accumulation_steps = 1;
    const auto whole = first_step(config_);
    config_.per_device_train_batch_size = 1, config_.gradient_accumulation_steps = 4;
    const auto pieces = first_step(config_);
    EXPECT_GT(whole.first, 1);
    EXPECT_NEAR(pieces.first, whole.first, 1e-5 * whole.first) << config_.stage;
    EXPECT_NEAR(pieces.second, whole.second, 1e-5 * whole.second) << config_.stage;
  }
}

TEST_F(Encoders, MaskedTokensAreLearntAndTheFolderIsAModel) {
  masked_lm();
  const TrainResult result = run(60, 3e-3f);
  EXPECT_LT(result.eval_loss_after, 0.5 * result.eval_loss_before);
  config_.model_name_or_path = (folder_ / "run/model").string(), config_.output_dir = (folder_ / "again").string();
  Runtime runtime(1);
  const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
  const TrainData data = load_train_data(config_, t.checkpoint);
  Context ctx = runtime.context(Compute::kF32);
  EXPECT_EQ(make_objective(config_, t, data, runtime, runtime.arena)->evaluate(ctx, nullptr), result.eval_loss_after);
}

TEST_F(Encoders, TargetsAreLearntOfTheirSources) {
  seq2seq();
  const TrainResult result = run(300, 1e-2f);
  EXPECT_GT(result.eval_loss_before, 3);
  EXPECT_LT(result.eval_loss_after, 0.05);
  EXPECT_EQ(Checkpoint::open(folder_ / "run/model").config().encoder.num_decoder_layers, 1);
}

// Each text finds its partner; before, by chance alone. In a folder that `sedum embed` takes.
TEST_F(Encoders, PairsFindOneAnother) {
  config_.stage = "embed", config_.model_name_or_path = testing::tiny_model("bert_plain").string();
  std::vector<json> rows;
  const std::vector<std::string> words{"water", "plant", "soil", "dry", "light", "leaf", "winter", "summer"};
  for (size_t i = 0; i < words.size(); ++i)
    rows.push_back(
        {{"instruction", "the " + words[i]}, {"output", "how often " + words[(i + 3) % words.size()] + "?"}});
  write(rows);
  config_.per_device_train_batch_size = 8;
  const auto accuracy = [&](const std::string& model) {
    config_.model_name_or_path = model, config_.eval_files = config_.train_files;
    Runtime runtime(1);
    const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
    const TrainData data = load_train_data(config_, t.checkpoint);
    Context ctx = runtime.context(Compute::kF32);
    Metrics figures;
    make_objective(config_, t, data, runtime, runtime.arena)->evaluate(ctx, &figures);
    return figures.at(0).second;
  };
  const std::string start = config_.model_name_or_path;
  EXPECT_LT(accuracy(start), 0.7);
  config_.model_name_or_path = start;
  const TrainResult result = run(60, 3e-3f);
  EXPECT_LT(result.eval_loss_after, 0.3 * result.eval_loss_before);
  EXPECT_EQ(accuracy((folder_ / "run/model").string()), 1);
}

// Along the gradient the loss changes by the gradient's length: that of both texts of a pair.
TEST_F(Encoders, PairGradientsAreThoseOfTheLoss) {
  config_.stage = "embed", config_.model_name_or_path = testing::tiny_model("bert_plain").string();
  write({{{"instruction", "water the plant"}, {"output", "dry soil"}},
         {{"instruction", "in summer"}, {"output", "the light is often"}},
         {{"instruction", "a leaf"}, {"output", "winter"}}});
  Runtime runtime(1);
  const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
  const TrainData data = load_train_data(config_, t.checkpoint);
  const auto objective = make_objective(config_, t, data, runtime, runtime.arena);
  Context ctx = runtime.context(Compute::kF32);
  Tape tape;
  objective->begin_step(ctx, 0);
  const auto loss = [&] { return objective->train_on(ctx, tape, data.train->batch(0)); };
  loss();
  const double norm = gradient_norm(t.parameters);
  std::vector<std::vector<float>> direction;
  for (const Variable& p : t.parameters) {
    direction.emplace_back(size_t(p.value().count()));
    for (int64_t i = 0; p.gradient().defined() && i < p.value().count(); ++i)
      direction.back()[size_t(i)] = float(double(p.gradient().data<float>()[i]) / norm);
  }
  const auto move = [&](float step) {
    for (size_t k = 0; k < direction.size(); ++k) {
      Variable p = t.parameters[k];
      for (size_t i = 0; i < direction[k].size(); ++i) p.value().data<float>()[i] += step * direction[k][i];
    }
  };
  const float step = 1e-2f;  // losses are right to 1e-7: their difference over 2e-2 to 1e-5
  move(step);
  const double up = loss();
  move(-2 * step);
  const double down = loss();
  EXPECT_NEAR((up - down) / double(2 * step), norm, 1e-2 * norm);
}

// A model of BERT's kind from sizes alone is pre-trained, long texts in pieces.
TEST_F(Encoders, FromScratchAndInPieces) {
  masked_lm();
  config_.model_name_or_path.clear();
  config_.model = json{{"model_type", "bert"},         {"vocab_size", 120},      {"hidden_size", 16},
                       {"intermediate_size", 24},      {"num_hidden_layers", 1}, {"num_attention_heads", 2},
                       {"max_position_embeddings", 16}}
                      .dump();
  config_.tokenizer_name_or_path = testing::tiny_model("bert").string(), config_.cutoff_len = 8;
  const TrainData data = load_train_data(config_, open_checkpoint(config_));
  EXPECT_GT(data.train->rows(), 8);
  EXPECT_LE(data.train->longest_row(), 8);
  for (size_t i = 0; i < data.train->source().size(); ++i) {
    const data::Sample s = data.train->source().get(i);
    EXPECT_EQ(std::make_pair(s.ids.front(), s.ids.back()), std::make_pair(2, 3));  // [CLS] … [SEP]
    EXPECT_EQ(s.labels.front(), data::kIgnored);
  }
  EXPECT_LT(run(5, 1e-3f).final_loss, 6);
}

TEST_F(Encoders, StagesAndFamiliesFit) {
  masked_lm();
  Runtime runtime(1);
  const auto problem = [&] { return problem_of([&] { build_trainable(config_, runtime, runtime.arena); }); };
  config_.model_name_or_path = testing::tiny_model("bert_plain").string();
  EXPECT_THAT(problem(), HasSubstr("BertForMaskedLM"));
  config_.model_name_or_path = testing::tiny_model().string();
  EXPECT_THAT(problem(), HasSubstr("seq2seq for t5"));
  config_.model_name_or_path = testing::tiny_model("bert").string(), config_.stage = "pretrain";
  EXPECT_THAT(problem(), HasSubstr("use stage: mlm, or embed"));
}

// A base without a head learns to tell texts apart, whole and by an adapter; what comes out predicts the same, by its labels' names.
TEST_F(Encoders, TextsAreClassified) {
  config_.stage = "classify";
  std::vector<json> rows;
  for (const char* text : {"water the plant", "the soil is dry", "a leaf in the light", "light is in the leaf"})
    rows.push_back({{"text", text}, {"label", "garden"}});
  for (const char* text : {"in winter", "summer is often", "how often in summer", "winter and summer"})
    rows.push_back({{"text", text}, {"label", "season"}});
  write(rows);
  for (const std::string base : {"bert_plain", "bert"})
    for (const std::string tuning : {"full", "lora"}) {
      config_.model_name_or_path = testing::tiny_model(base).string(), config_.finetuning_type = tuning;
      config_.lora = {.r = 4, .lora_alpha = 16, .target_modules = {"query", "value"}};
      config_.output_dir = (folder_ / (base + tuning)).string();
      const TrainResult result = run(60, 3e-3f);
      EXPECT_LT(result.eval_loss_after, 0.4 * result.eval_loss_before) << base << tuning;
      Runtime runtime(1);
      const Classifier classifier(runtime, config_.output_dir);
      for (const json& row : rows) {
        const Classified c = classifier.texts({row["text"].get<std::string>()})[0];
        EXPECT_EQ(classifier.name(c.label), row["label"]) << base << tuning;
        EXPECT_NEAR(c.probabilities[0] + c.probabilities[1], 1, 1e-6);
      }
    }
  const Checkpoint made = Checkpoint::open(folder_ / "bertfull/model");
  EXPECT_EQ(made.config().encoder.labels, (std::vector<std::string>{"garden", "season"}));
  EXPECT_TRUE(made.has("bert.pooler.dense.weight"));
  // A head of other labels is not taken for these.
  config_.model_name_or_path = testing::tiny_model("bert_sequence").string();
  EXPECT_THAT(problem_of([&] { open_checkpoint(config_); }), HasSubstr("does not know the label"));
}

TEST_F(Encoders, WordsAreClassified) {
  config_.stage = "classify", config_.model_name_or_path = testing::tiny_model("bert_plain").string();
  write({{{"tokens", {"water", "the", "plant"}}, {"labels", {"O", "O", "B-LIFE"}}},
         {{"tokens", {"a", "leaf", "in", "summer"}}, {"labels", {"O", "B-LIFE", "O", "B-TIME"}}},
         {{"tokens", {"winter", "light"}}, {"labels", {"B-TIME", "O"}}},
         {{"tokens", {"dry", "soil", "in", "winter"}}, {"labels", {"O", "O", "O", "B-TIME"}}}});
  const TrainResult result = run(80, 3e-3f);
  EXPECT_LT(result.eval_loss_after, 0.2 * result.eval_loss_before);
  Runtime runtime(1);
  const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
  const TrainData data = load_train_data(config_, t.checkpoint);
  EXPECT_EQ(data.train->label_tokens(0), 13);  // words, not their pieces
  const Classifier classifier(runtime, folder_ / "run");
  ASSERT_TRUE(classifier.reads_words());
  const auto words = classifier.words({{"a", "leaf", "in", "summer"}})[0];
  ASSERT_EQ(words.size(), 4u);
  EXPECT_EQ(classifier.name(words[1].label), "B-LIFE");
  EXPECT_EQ(classifier.name(words[3].label), "B-TIME");
}

// Of two texts: −log of the softmax at the label, written out; and whatever the cut into micro-batches.
TEST_F(Encoders, ClassificationsLossIsTheMeanOverTexts) {
  config_.stage = "classify", config_.model_name_or_path = testing::tiny_model("bert_sequence").string();
  give_tokenizer();
  write({{{"text", "water"}, {"label", "LABEL_1"}}, {{"text", "the dry soil"}, {"label", "LABEL_3"}}});
  config_.per_device_train_batch_size = 2;
  const auto whole = first_step(config_);
  Runtime runtime(1);
  const Classifier classifier(runtime, config_.model_name_or_path);
  const double expected = -(std::log(double(classifier.texts({"water"})[0].probabilities[1])) +
                            std::log(double(classifier.texts({"the dry soil"})[0].probabilities[3]))) /
                          2;
  EXPECT_NEAR(whole.first, expected, 1e-5);
  config_.per_device_train_batch_size = 1, config_.gradient_accumulation_steps = 2;
  const auto pieces = first_step(config_);
  EXPECT_NEAR(pieces.first, whole.first, 1e-5);
  EXPECT_NEAR(pieces.second, whole.second, 1e-5 * whole.second);
}

// Dropout in the model, in an adapter and before the head: what is dropped follows the texts, not the rows that a head is given.
TEST_F(Encoders, DropoutOfHeadsFollowsTheTexts) {
  config_.finetuning_type = "lora", config_.resid_pdrop = 0.2f, config_.embd_pdrop = 0.1f;
  config_.lora = {
      .r = 4, .lora_alpha = 16, .lora_dropout = 0.3f, .init_lora_weights = "false", .target_modules = {"all-linear"}};
  for (const std::string kind : {"texts", "words", "masked"}) {
    if (kind == "masked") {
      masked_lm();
    } else {
      config_.stage = "classify", config_.model_name_or_path = testing::tiny_model("bert_plain").string();
      if (kind == "texts")
        write({{{"text", "water"}, {"label", 0}},
               {{"text", "the dry soil"}, {"label", 1}},
               {{"text", "often"}, {"label", 0}},
               {{"text", "a leaf"}, {"label", 1}}});
      else
        write({{{"tokens", {"water", "it"}}, {"labels", {0, 1}}},
               {{"tokens", {"the", "dry", "soil"}}, {"labels", {1, 1, 0}}},
               {{"tokens", {"often"}}, {"labels", {0}}},
               {{"tokens", {"a", "leaf"}}, {"labels", {1, 0}}}});
    }
    config_.per_device_train_batch_size = 4, config_.gradient_accumulation_steps = 1;
    const auto whole = first_step(config_);
    config_.per_device_train_batch_size = 1, config_.gradient_accumulation_steps = 4;
    const auto pieces = first_step(config_);
    EXPECT_NEAR(pieces.first, whole.first, 1e-5 * whole.first) << kind;
    EXPECT_NEAR(pieces.second, whole.second, 1e-5 * whole.second) << kind;
    TrainConfig calm = config_;
    calm.resid_pdrop = 0, calm.embd_pdrop = 0, calm.lora.lora_dropout = 0;
    EXPECT_GT(std::abs(first_step(calm).first - pieces.first), 1e-4) << kind;
  }
}

// An adapter of an encoder that only embeds: PEFT's word for it, and vectors that it changes.
TEST_F(Encoders, AdaptersEmbed) {
  config_.stage = "embed", config_.model_name_or_path = testing::tiny_model("bert_plain").string();
  config_.finetuning_type = "lora";
  config_.lora = {.r = 4, .lora_alpha = 16, .target_modules = {"query", "value"}};
  write({{{"instruction", "water the plant"}, {"output", "dry soil"}},
         {{"instruction", "in summer"}, {"output", "the light is often"}},
         {{"instruction", "a leaf"}, {"output", "winter"}}});
  const TrainResult result = run(40, 1e-2f);
  EXPECT_LT(result.eval_loss_after, result.eval_loss_before);
  EXPECT_EQ(parse_json(read_file(folder_ / "run/adapter/adapter_config.json"))["task_type"], "FEATURE_EXTRACTION");
  Runtime runtime(1);
  const SentenceEncoder plain(runtime, testing::tiny_model("bert_plain")), adapted(runtime, folder_ / "run");
  EXPECT_NE(plain.encode({"a leaf"}), adapted.encode({"a leaf"}));
}

}  // namespace
}  // namespace sedum
