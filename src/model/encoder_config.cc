// config.json of encoders (BERT, RoBERTa) and of the encoder–decoder T5.

#include "model/config_keys.h"

namespace sedum {
namespace {

using Head = EncoderConfig::Head;

bool is_known_activation(const std::string& name) {
  return name == "gelu" || name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "relu";
}

std::string architecture_of(const Keys& keys) {
  const auto all = keys.get_or<std::vector<std::string>>("architectures", {});
  return all.empty() ? "" : all[0];
}

void read_labels(const Keys& keys, EncoderConfig& encoder, const std::string& where) {
  if (keys.has("id2label")) encoder.num_labels = int64_t(keys.raw()["id2label"].size());
  encoder.num_labels = keys.get_or<int64_t>("num_labels", encoder.num_labels);
  for (int64_t i = 0; keys.has("id2label") && i < encoder.num_labels; ++i) {
    const auto found = keys.raw()["id2label"].find(std::to_string(i));
    if (found == keys.raw()["id2label"].end() || !found->is_string()) break;
    encoder.labels.push_back(found->get<std::string>());
  }
  if (encoder.num_labels < 1 || encoder.num_labels > 1 << 20)
    throw Error(where + ": num_labels is " + std::to_string(encoder.num_labels), "the file is damaged");
}

void read_bert(const Keys& keys, ModelConfig& c, const std::string& where) {
  EncoderConfig& e = c.encoder;
  c.hidden_size = keys.get<int64_t>("hidden_size"), c.intermediate_size = keys.get<int64_t>("intermediate_size");
  c.num_hidden_layers = keys.get<int64_t>("num_hidden_layers");
  c.num_attention_heads = keys.get<int64_t>("num_attention_heads");
  if (c.num_attention_heads < 1 || c.hidden_size % c.num_attention_heads)
    throw Error(where + ": hidden_size is no multiple of num_attention_heads", "the file is damaged");
  c.head_dim = c.hidden_size / c.num_attention_heads;
  c.max_position_embeddings = keys.get<int64_t>("max_position_embeddings");
  c.attention_dropout = keys.get_or<float>("attention_probs_dropout_prob", 0.1f);
  c.resid_pdrop = c.embd_pdrop = keys.get_or<float>("hidden_dropout_prob", 0.1f);
  c.tie_word_embeddings = keys.get_or<bool>("tie_word_embeddings", true);
  e.hidden_act = keys.get_or<std::string>("hidden_act", "gelu");
  e.layer_norm_eps = keys.get_or<float>("layer_norm_eps", 1e-12f);
  e.type_vocab_size = keys.get_or<int64_t>("type_vocab_size", 2);
  e.pad_token_id = token_id(keys, "pad_token_id");
  if (keys.get_or<std::string>("position_embedding_type", "absolute") != "absolute")
    throw Error(where + ": position_embedding_type is not absolute", "this model cannot be loaded");
  if (c.model_type == "roberta") e.position_offset = (e.pad_token_id < 0 ? 1 : int64_t{e.pad_token_id}) + 1;
  if (c.max_position_embeddings <= e.position_offset || e.type_vocab_size < 1 || e.type_vocab_size > 1 << 20)
    throw Error(where + ": max_position_embeddings or type_vocab_size is out of range", "the file is damaged");
  const std::string architecture = architecture_of(keys);
  // A model that is to be made, from sizes alone, is made to be pre-trained.
  e.head = architecture.empty() || architecture.ends_with("ForMaskedLM") || architecture.ends_with("ForPreTraining")
               ? Head::kMaskedLm
           : architecture.ends_with("ForSequenceClassification") ? Head::kSequence
           : architecture.ends_with("ForTokenClassification")    ? Head::kToken
                                                                 : Head::kNone;
  e.prefix = e.head == Head::kNone ? "" : c.model_type + ".";
  read_labels(keys, e, where);
}

void read_t5(const Keys& keys, ModelConfig& c, const std::string& where) {
  EncoderConfig& e = c.encoder;
  c.hidden_size = keys.get<int64_t>("d_model"), c.intermediate_size = keys.get<int64_t>("d_ff");
  c.num_hidden_layers = keys.get<int64_t>("num_layers"), c.num_attention_heads = keys.get<int64_t>("num_heads");
  c.head_dim = keys.get<int64_t>("d_kv");
  e.num_decoder_layers = keys.get_or<int64_t>("num_decoder_layers", c.num_hidden_layers);
  c.max_position_embeddings = keys.get_or<int64_t>("n_positions", 512);
  c.rms_norm_eps = keys.get_or<float>("layer_norm_epsilon", 1e-6f);
  c.resid_pdrop = c.embd_pdrop = c.attention_dropout = keys.get_or<float>("dropout_rate", 0.1f);
  c.tie_word_embeddings = keys.get_or<bool>("tie_word_embeddings", true);
  const auto projection = keys.get_or<std::string>("feed_forward_proj", "relu");
  e.is_gated_act = projection.starts_with("gated-");
  e.hidden_act = e.is_gated_act ? projection.substr(6) : projection;
  if (projection == "gated-gelu") e.hidden_act = "gelu_new";  // transformers: what T5 1.1 was trained with
  e.relative_attention_num_buckets = keys.get_or<int64_t>("relative_attention_num_buckets", 32);
  e.relative_attention_max_distance = keys.get_or<int64_t>("relative_attention_max_distance", 128);
  // transformers 5 names it; before, a tied head meant it.
  e.scale_decoder_outputs = keys.get_or<bool>("scale_decoder_outputs", c.tie_word_embeddings);
  e.pad_token_id = token_id(keys, "pad_token_id");
  e.decoder_start_token_id =
      std::max(0, keys.has("decoder_start_token_id") ? token_id(keys, "decoder_start_token_id") : e.pad_token_id);
  constexpr int64_t kMost = int64_t{1} << 16;
  if (e.num_decoder_layers < 1 || e.num_decoder_layers > kMost || e.relative_attention_num_buckets < 4 ||
      e.relative_attention_num_buckets > kMost ||
      e.relative_attention_max_distance <= e.relative_attention_num_buckets / 2 ||
      e.decoder_start_token_id >= c.vocab_size)
    throw Error(where + ": a size of the decoder or of the relative positions is out of range", "the file is damaged");
}

}  // namespace

ModelConfig parse_encoder_config(const Keys& keys, const std::string& where) {
  ModelConfig c;
  c.model_type = keys.get<std::string>("model_type");
  c.vocab_size = keys.get<int64_t>("vocab_size");
  c.bos_token_id = token_id(keys, "bos_token_id"), c.eos_token_id = token_id(keys, "eos_token_id");
  c.initializer_range = keys.get_or<float>("initializer_range", 0.02f);
  if (is_seq2seq(c.model_type))
    read_t5(keys, c, where);
  else
    read_bert(keys, c, where);
  c.num_key_value_heads = c.num_attention_heads;
  if (!is_known_activation(c.encoder.hidden_act))
    throw Error(where + ": the activation \"" + c.encoder.hidden_act + "\" is not known here",
                "gelu, gelu_new and relu can be computed");
  c.validate(where);
  return c;
}

nlohmann::ordered_json encoder_config_to_json(const ModelConfig& c) {
  const EncoderConfig& e = c.encoder;
  nlohmann::ordered_json out;
  const std::string family = c.model_type == "bert" ? "Bert" : c.model_type == "roberta" ? "Roberta" : "T5";
  const char* use = is_seq2seq(c.model_type)    ? "ForConditionalGeneration"
                    : e.head == Head::kMaskedLm ? "ForMaskedLM"
                    : e.head == Head::kSequence ? "ForSequenceClassification"
                    : e.head == Head::kToken    ? "ForTokenClassification"
                                                : "Model";
  out["architectures"] = {family + use};
  out["model_type"] = c.model_type, out["vocab_size"] = c.vocab_size;
  if (is_seq2seq(c.model_type)) {
    out["d_model"] = c.hidden_size, out["d_ff"] = c.intermediate_size, out["d_kv"] = c.head_dim;
    out["num_layers"] = c.num_hidden_layers, out["num_decoder_layers"] = e.num_decoder_layers;
    out["num_heads"] = c.num_attention_heads, out["n_positions"] = c.max_position_embeddings;
    out["feed_forward_proj"] =
        e.is_gated_act ? "gated-" + (e.hidden_act == "gelu_new" ? "gelu" : e.hidden_act) : e.hidden_act;
    out["relative_attention_num_buckets"] = e.relative_attention_num_buckets;
    out["relative_attention_max_distance"] = e.relative_attention_max_distance;
    out["layer_norm_epsilon"] = c.rms_norm_eps, out["dropout_rate"] = c.resid_pdrop;
    out["scale_decoder_outputs"] = e.scale_decoder_outputs;
    out["decoder_start_token_id"] = e.decoder_start_token_id, out["is_encoder_decoder"] = true;
  } else {
    out["hidden_size"] = c.hidden_size, out["intermediate_size"] = c.intermediate_size;
    out["num_hidden_layers"] = c.num_hidden_layers, out["num_attention_heads"] = c.num_attention_heads;
    out["max_position_embeddings"] = c.max_position_embeddings, out["type_vocab_size"] = e.type_vocab_size;
    out["hidden_act"] = e.hidden_act, out["layer_norm_eps"] = e.layer_norm_eps;
    out["hidden_dropout_prob"] = c.resid_pdrop, out["attention_probs_dropout_prob"] = c.attention_dropout;
    if (e.head == Head::kSequence || e.head == Head::kToken) {  // transformers counts id2label
      nlohmann::ordered_json names = nlohmann::ordered_json::object(), numbers = names;
      for (int64_t i = 0; i < e.num_labels; ++i) names[std::to_string(i)] = e.label(i), numbers[e.label(i)] = i;
      out["id2label"] = names, out["label2id"] = numbers;
    }
  }
  out["initializer_range"] = c.initializer_range, out["tie_word_embeddings"] = c.tie_word_embeddings;
  const auto id = [&](const char* key, int32_t value) {
    if (value >= 0) out[key] = value;
  };
  id("pad_token_id", e.pad_token_id), id("bos_token_id", c.bos_token_id), id("eos_token_id", c.eos_token_id);
  return out;
}

int64_t encoder_parameter_count(const ModelConfig& c) {
  const EncoderConfig& e = c.encoder;
  const int64_t hidden = c.hidden_size, inner = c.intermediate_size, width = c.num_attention_heads * c.head_dim;
  if (is_seq2seq(c.model_type)) {
    const int64_t attention = 4 * hidden * width + hidden,
                  feed_forward = (e.is_gated_act ? 3 : 2) * hidden * inner + hidden;
    return c.num_hidden_layers * (attention + feed_forward) + e.num_decoder_layers * (2 * attention + feed_forward) +
           2 * hidden + 2 * e.relative_attention_num_buckets * c.num_attention_heads +
           c.vocab_size * hidden * (c.tie_word_embeddings ? 1 : 2);
  }
  const int64_t norm = 2 * hidden, square = hidden * hidden + hidden;
  const int64_t layer = 4 * square + 2 * norm + 2 * hidden * inner + inner + hidden;
  int64_t count =
      (c.vocab_size + c.max_position_embeddings + e.type_vocab_size) * hidden + norm + c.num_hidden_layers * layer;
  if (e.has_pooler) count += square;
  if (e.head == Head::kMaskedLm) count += square + norm + c.vocab_size;
  if (e.head == Head::kSequence || e.head == Head::kToken) count += (hidden + 1) * e.num_labels;
  if (e.head == Head::kSequence && c.model_type == "roberta") count += square;
  return count;
}

}  // namespace sedum
