#include "train/trainable.h"

#include "base/error.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/nf4_factory.h"
#include "train/bf16_factory.h"

namespace sedum {

int64_t TrainableModel::trainable_count() const {
  int64_t n = 0;
  for (const Variable& p : parameters) n += p.value().count();
  return n;
}

Checkpoint open_checkpoint(const TrainConfig& config) {
  if (!config.model.empty())
    return Checkpoint::untrained(config.model, std::filesystem::path(config.tokenizer_name_or_path));
  if (config.train_from_scratch)
    return Checkpoint::untrained(std::filesystem::path(config.model_name_or_path),
                                 std::filesystem::path(config.tokenizer_name_or_path));
  return Checkpoint::open(config.model_name_or_path);
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
  if ((config.stage == "mlm" || config.stage == "embed") != encoder || (config.stage == "seq2seq") != seq2seq)
    throw Error("stage: " + config.stage + " does not train a model of the family " + sizes.model_type,
                encoder   ? "use stage: mlm, or embed"
                : seq2seq ? "use stage: seq2seq"
                          : "mlm and embed are for bert and roberta, seq2seq for t5");
  if (config.stage == "mlm" && sizes.encoder.head != EncoderConfig::Head::kMaskedLm)
    throw Error("the model has no head for masked tokens", "start from a BertForMaskedLM or RobertaForMaskedLM");
  if (encoder)
    t.encoder = std::make_unique<BertModel>(sizes, factory);
  else if (seq2seq)
    t.seq2seq = std::make_unique<T5Model>(sizes, factory);
  else
    t.model = build_model(sizes, factory);
}

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
  const auto build_adapted = [&](LoraFactory& factory) {
    build(t, config, sizes, factory);
    factory.check_complete();
    t.parameters = factory.parameters(), t.lora = factory.config(), t.packed_bytes = stored.packed_bytes();
    t.first_weights = factory.first_weights();
  };
  if (config.adapter_name_or_path.empty()) {
    LoraFactory factory(base, config.lora, runtime.pool, arena, config.seed);
    build_adapted(factory);
  } else {
    StoredAdapter adapter = read_adapter(config.adapter_name_or_path, arena);
    adapter.config.lora_dropout = config.lora.lora_dropout;
    LoraFactory factory(base, adapter.config, runtime.pool, arena, std::move(adapter.weights), true);
    build_adapted(factory);
  }
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
    LoraConfig lora = *trained.lora;
    std::vector<Variable> parameters = trained.parameters;
    store_tied_head(trained, lora, parameters);
    Arena converted;
    on_the_original_base(lora, parameters, trained.first_weights, converted);
    return write_adapter(output_dir / "adapter", lora, parameters);
  }
  write_folder(output_dir / "model", trained.checkpoint, trained.parameters);
}

}  // namespace sedum
