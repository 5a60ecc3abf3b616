#include "train/trainable.h"

#include "base/error.h"
#include "data/labelled.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/nf4_factory.h"
#include "model/runtime_encoder.h"
#include "train/bf16_factory.h"

namespace sedum {

int64_t TrainableModel::trainable_count() const {
  int64_t n = 0;
  for (const Variable& p : parameters) n += p.value().count();
  return n;
}

namespace {

Checkpoint open_model(const TrainConfig& config) {
  if (!config.model.empty())
    return Checkpoint::untrained(config.model, std::filesystem::path(config.tokenizer_name_or_path));
  if (config.train_from_scratch)
    return Checkpoint::untrained(std::filesystem::path(config.model_name_or_path),
                                 std::filesystem::path(config.tokenizer_name_or_path));
  return Checkpoint::open(config.model_name_or_path);
}

// Of the training rows: words with labels want another head than texts with one.
Checkpoint as_classifier(const Checkpoint& checkpoint, const TrainConfig& config) {
  std::vector<data::Labelled> rows;
  for (const std::string& file : config.train_files)
    for (data::Labelled& row : data::read_labelled(file)) rows.push_back(std::move(row));
  if (rows.empty()) throw Error("data.train is missing", "name a file of texts with labels");
  using Head = EncoderConfig::Head;
  const bool words = rows.front().has_tokens();
  const Checkpoint made = checkpoint.classifying(words ? Head::kToken : Head::kSequence, data::label_names(rows));
  if (made.config().encoder.num_labels < 2)
    throw Error("the rows have one label only: \"" + made.config().encoder.label(0) + "\"",
                "there is nothing to learn");
  return made;
}

}  // namespace

Checkpoint open_checkpoint(const TrainConfig& config) {
  const Checkpoint checkpoint = open_model(config);
  return config.stage == "classify" ? as_classifier(checkpoint, config) : checkpoint;
}

// The model's sizes, with the recipe's shares of dropout in place of its own.
ModelConfig model_config(const TrainConfig& config, const Checkpoint& checkpoint) {
  ModelConfig c = checkpoint.config();
  c.attention_dropout = config.attention_dropout.value_or(c.attention_dropout);
  c.resid_pdrop = config.resid_pdrop.value_or(c.resid_pdrop);
  c.embd_pdrop = config.embd_pdrop.value_or(c.embd_pdrop);
  return c;
}

// The model of the kind that the stage trains.
void build(TrainableModel& t, const TrainConfig& config, const ModelConfig& sizes, LayerFactory& factory) {
  const bool seq2seq = is_seq2seq(sizes.model_type), encoder = is_encoder(sizes.model_type) && !seq2seq;
  const bool encodes = config.encodes() && config.stage != "seq2seq";
  if (encodes != encoder || (config.stage == "seq2seq") != seq2seq)
    throw Error("stage: " + config.stage + " does not train a model of the family " + sizes.model_type,
                encoder   ? "use stage: mlm, or embed, or classify"
                : seq2seq ? "use stage: seq2seq"
                          : "mlm, embed and classify are for bert and roberta, seq2seq for t5");
  if (config.stage == "mlm" && sizes.encoder.head != EncoderConfig::Head::kMaskedLm)
    throw Error("the model has no head for masked tokens", "start from a BertForMaskedLM or RobertaForMaskedLM");
  if (encoder)
    t.encoder = std::make_unique<BertModel>(sizes, factory);
  else if (seq2seq)
    t.seq2seq = std::make_unique<T5Model>(sizes, factory);
  else
    t.model = build_model(sizes, factory);
}

namespace {

// What PEFT calls it.
std::string task_of(const TrainConfig& config, const Checkpoint& checkpoint) {
  if (config.stage == "classify")
    return checkpoint.config().encoder.head == EncoderConfig::Head::kToken ? "TOKEN_CLS" : "SEQ_CLS";
  return config.stage == "embed" ? "FEATURE_EXTRACTION" : config.stage == "mlm" ? "" : "CAUSAL_LM";
}

// With the head for classes, which is trained whole: as PEFT has it for such tasks, and the pooler too where it is new.
LoraConfig adapter_of(const TrainConfig& config, const Checkpoint& checkpoint) {
  LoraConfig lora = config.lora;
  if (config.stage != "classify") return lora;
  const EncoderConfig& e = checkpoint.config().encoder;
  if (!lora.saves("classifier")) lora.modules_to_save.push_back("classifier");
  const std::string pooler = e.prefix + "pooler.dense";
  if (e.has_pooler && !checkpoint.has(pooler + ".weight") && !lora.saves(pooler))
    lora.modules_to_save.push_back("pooler");
  return lora;
}

// All layers are parameters, those of the head that the checkpoint has not are new.
void build_completed(TrainableModel& t, const TrainConfig& config, const ModelConfig& sizes, CheckpointFactory& stored,
                     Runtime& runtime, Arena& arena) {
  RandomFactory fresh(runtime.pool, arena, config.seed, false, DType::kF32, Pack::kNone, sizes.initializer_range);
  CompletedFactory completed(t.checkpoint, stored, fresh);
  Bf16Factory narrow(completed, runtime.pool, arena);
  build(t, config, sizes, config.pure_bf16 ? static_cast<LayerFactory&>(narrow) : completed);
  t.parameters = stored.parameters();
  t.parameters.insert(t.parameters.end(), fresh.parameters().begin(), fresh.parameters().end());
  if (config.pure_bf16) t.parameters = narrow.parameters();
}

}  // namespace

TrainableModel build_trainable(const TrainConfig& config, Runtime& runtime, Arena& arena) {
  TrainableModel t{.checkpoint = open_checkpoint(config),
                   .model = nullptr,
                   .encoder = nullptr,
                   .seq2seq = nullptr,
                   .parameters = {},
                   .lora = {},
                   .first_weights = {},
                   .packed_bytes = 0};
  const ModelConfig sizes = model_config(config, t.checkpoint);
  const auto build_all = [&](auto& factory) {  // every weight a parameter
    Bf16Factory narrow(factory, runtime.pool, arena);
    if (config.pure_bf16)
      build(t, config, sizes, narrow);
    else
      build(t, config, sizes, factory);
    t.parameters = config.pure_bf16 ? narrow.parameters() : factory.parameters();
  };
  if (config.from_scratch()) {
    RandomFactory factory(runtime.pool, arena, config.seed, false, config.pure_bf16 ? DType::kBF16 : DType::kF32,
                          Pack::kNone, sizes.initializer_range);
    build_all(factory);
    return t;
  }
  if (config.finetuning_type == "full") {
    CheckpointFactory factory(t.checkpoint, CheckpointFactory::Use::kTrainable, runtime.pool, arena);
    if (config.stage == "classify") {
      build_completed(t, config, sizes, factory, runtime, arena);
      return t;
    }
    build_all(factory);
    return t;
  }
  CheckpointFactory stored(t.checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, arena,
                           config.compute == Compute::kInt8 ? Pack::kBoth : Pack::kNone);
  Nf4Factory nf4(stored, runtime.pool, arena);
  const std::string init = config.adapter_name_or_path.empty()
                               ? config.lora.init_lora_weights
                               : read_adapter_config(config.adapter_name_or_path).init_lora_weights;
  const bool quantise =
      config.finetuning_type == "qlora" && init != "loftq";  // which quantises by itself what it finds
  LayerFactory& base = quantise ? static_cast<LayerFactory&>(nf4) : stored;
  RandomFactory fresh(runtime.pool, arena, config.seed, true, DType::kF32, Pack::kNone, sizes.initializer_range);
  CompletedFactory completed(t.checkpoint, base, fresh);
  LayerFactory& whole = config.stage == "classify" ? static_cast<LayerFactory&>(completed) : base;
  const auto build_adapted = [&](LoraFactory& factory) {
    build(t, config, sizes, factory);
    factory.check_complete();
    t.parameters = factory.parameters(), t.lora = factory.config(), t.packed_bytes = stored.packed_bytes();
    t.first_weights = factory.first_weights();
  };
  if (config.adapter_name_or_path.empty()) {
    LoraFactory factory(whole, adapter_of(config, t.checkpoint), runtime.pool, arena, config.seed);
    build_adapted(factory);
  } else {
    StoredAdapter adapter = read_adapter(config.adapter_name_or_path, arena);
    adapter.config.lora_dropout = config.lora.lora_dropout;
    LoraFactory factory(whole, adapter.config, runtime.pool, arena, std::move(adapter.weights), true);
    build_adapted(factory);
  }
  t.lora->task_type = task_of(config, t.checkpoint);
  t.lora->base_model_name_or_path = std::filesystem::absolute(config.model_name_or_path).string();
  return t;
}

namespace {

// Embeddings and head that are one and were trained are stored as both: PEFT, which makes them two, loads the same from that.
void store_tied_head(const TrainableModel& trained, LoraConfig& lora, std::vector<Variable>& parameters) {
  if (!trained.checkpoint.config().tie_word_embeddings) return;
  const std::string table = peft_saved_name("model.embed_tokens.weight"), head = peft_saved_name("lm_head.weight");
  const Variable* embeddings = nullptr;
  for (const Variable& p : parameters) {
    if (p.name() == head) return;
    if (p.name() == table) embeddings = &p;
  }
  if (!embeddings) return;
  parameters.push_back(Variable::parameter(embeddings->value(), head));
  if (!lora.saves("lm_head")) lora.modules_to_save.push_back("lm_head");
}

}  // namespace

void write_result(const TrainableModel& trained, const std::filesystem::path& output_dir) {
  if (trained.lora) {
    Arena converted;  // outlives what lies in it
    LoraConfig lora = *trained.lora;
    std::vector<Variable> parameters = trained.parameters;
    store_tied_head(trained, lora, parameters);
    on_the_original_base(lora, parameters, trained.first_weights, converted);
    write_adapter(output_dir / "adapter", lora, parameters);
    if (lora.task_type == "SEQ_CLS" || lora.task_type == "TOKEN_CLS")
      write_labels(output_dir / "adapter", trained.checkpoint.config().encoder);
    return;
  }
  write_folder(output_dir / "model", trained.checkpoint, trained.parameters);
}

}  // namespace sedum
