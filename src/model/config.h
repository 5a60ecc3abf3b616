#pragma once
// What a model is made of, in the words of Hugging Face's config.json.
//
//   ModelConfig config = parse_config_json(read_file("model/config.json"), "model/config.json");

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum {

// How positions are stretched beyond the trained context.
struct RopeScaling {
  enum class Type { kNone, kLinear, kLlama3, kYarn, kLongRope } type = Type::kNone;
  float factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position_embeddings = 8192;
  // YaRN: the numbers of turns within the trained context between which a frequency is kept, or divided by the factor.
  float beta_fast = 32, beta_slow = 1;
  bool truncate = true;  // the dimensions that these fall on are rounded, outwards
  // LongRoPE: divisors of the frequencies, rotary_dim / 2 of each, for sequences within the trained context and for longer ones.
  std::vector<float> short_factor = {}, long_factor = {};
  float attention_factor = 1;  // of cos and sin, by YaRN and LongRoPE
  // GGUF's rope_freqs.weight: Llama 3's scaling, already computed; head_dim / 2 of them.
  std::vector<float> frequency_divisors = {};

  // Error for factors that are none, or too few for the dimensions that are rotated.
  void validate(int64_t rotary_dim, const std::string& where) const;
};

// What cos and sin are multiplied by where the files do not say: 0.1 · scale · ln factor + 1, and √(1 + ln factor / ln trained context).
float yarn_attention_factor(float factor, float scale);
float longrope_attention_factor(const RopeScaling& scaling);

// What an encoder has beside the sizes below: BERT and RoBERTa, and T5, which has a decoder too.
struct EncoderConfig {
  // What the checkpoint can do beyond hidden states: its class in transformers (BertModel, BertForMaskedLM …).
  enum class Head { kNone, kMaskedLm, kSequence, kToken } head = Head::kNone;
  std::string prefix;  // of the stored names: "bert.", "roberta.", "" in a file of the encoder alone
  std::string hidden_act = "gelu";
  float layer_norm_eps = 1e-12f;
  int64_t type_vocab_size = 2, num_labels = 2;
  std::vector<std::string> labels = {};  // what the classes are called; empty: LABEL_0, LABEL_1 …
  int32_t pad_token_id = 0;
  int64_t position_offset = 0;  // RoBERTa counts positions from pad_token_id + 1
  bool has_pooler = false;      // a checkpoint has it or not

  // T5
  int64_t num_decoder_layers = 0, relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  bool is_gated_act = false;
  bool scale_decoder_outputs = true;  // by 1 / √hidden_size, before a tied head
  int32_t decoder_start_token_id = 0;

  std::string label(int64_t i) const {
    return size_t(i) < labels.size() ? labels[size_t(i)] : "LABEL_" + std::to_string(i);
  }
};

struct ModelConfig {
  std::string model_type;  // as config.json has it: see families.h
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0;
  int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  int64_t max_position_embeddings = 2048;
  float rms_norm_eps = 1e-6f, layer_norm_eps = 1e-5f, rope_theta = 10000;
  float partial_rotary_factor = 1;  // the share of a head that is rotated
  std::string hidden_act = "silu";
  float attn_logit_softcapping = 0, final_logit_softcapping = 0;  // Gemma: of scores and of logits; 0: none
  float query_pre_attn_scalar = 0;     // Gemma: scores are divided by its root; 0: by the root of head_dim
  float rope_local_base_freq = 10000;  // Gemma 3: rope_theta of the sliding layers
  RopeScaling rope_scaling;
  bool attention_bias = false;  // on q, k, v; o_proj has one only where attention_out_bias says so
  bool attention_out_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  bool query_key_norms = false;  // each head of q and k is normalised before it is rotated
  // A query of a sliding layer sees its last sliding_window keys; 0: all. By layer; empty: all of them slide.
  int64_t sliding_window = 0;
  std::vector<bool> sliding_layers = {};
  std::vector<bool> unrotated_layers = {};  // those without rotary embedding; empty: none
  // Mixtures of experts: Mixtral, Qwen3-MoE. num_experts 0: none.
  int64_t num_experts = 0, num_experts_per_tok = 0, moe_intermediate_size = 0;
  bool norm_topk_prob = true;           // the weights of a token's experts are scaled to sum 1
  std::vector<bool> dense_layers = {};  // those with one feed-forward of intermediate_size; empty: none
  float router_aux_loss_coef =
      0.001f;  // of the load-balancing loss while training, where output_router_logits asks for it
  bool output_router_logits = false;
  int32_t bos_token_id = -1, eos_token_id = -1;
  // For training: shares that are dropped of attention's probabilities, of what a block adds, of the embeddings.
  float attention_dropout = 0, resid_pdrop = 0, embd_pdrop = 0;
  float initializer_range = 0.02f;  // deviation of new weights
  EncoderConfig encoder = {};       // of encoders alone

  int64_t window_of(int64_t layer) const {
    return sliding_layers.empty() || sliding_layers[size_t(layer)] ? sliding_window : 0;
  }
  bool is_sparse(int64_t layer) const {
    return num_experts > 0 && (size_t(layer) >= dense_layers.size() || !dense_layers[size_t(layer)]);
  }
  int64_t rotary_dim() const { return int64_t(float(head_dim) * partial_rotary_factor); }
  bool rotates(int64_t layer) const { return unrotated_layers.empty() || !unrotated_layers[size_t(layer)]; }

  // Error naming the key when sizes contradict each other. `where` is the file.
  void validate(const std::string& where) const;
  int64_t parameter_count() const;
  int64_t active_parameter_count() const;  // that one token meets: not all experts
};

// Whether a model_type is an encoder's or an encoder–decoder's: it does not continue a text. is_seq2seq: the latter.
inline bool is_seq2seq(const std::string& model_type) { return model_type == "t5"; }
inline bool is_encoder(const std::string& model_type) {
  return model_type == "bert" || model_type == "roberta" || is_seq2seq(model_type);
}

inline bool is_mixture(const std::string& model_type) { return model_type == "mixtral" || model_type == "qwen3_moe"; }

// Gemma 2 and 3, whose norms multiply by 1 + w and stand behind the blocks too.
inline bool is_gemma(const std::string& model_type) { return model_type == "gemma2" || model_type == "gemma3_text"; }
// Which layers of theirs have a window where the files do not say: every other one, or all but every sixth.
inline bool slides_in_gemma(const std::string& model_type, int64_t layer, int64_t pattern = 6) {
  return model_type == "gemma2" ? layer % 2 == 0 : (layer + 1) % pattern != 0;
}

// Reads the spellings of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters).
ModelConfig parse_config_json(std::string_view text, const std::string& where);
nlohmann::ordered_json config_to_json(const ModelConfig& config);

}  // namespace sedum
