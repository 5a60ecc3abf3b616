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
  enum class Type { kNone, kLinear, kLlama3 } type = Type::kNone;
  float factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position_embeddings = 8192;
  // GGUF's rope_freqs.weight: Llama 3's scaling, already computed; head_dim / 2 of them.
  std::vector<float> frequency_divisors = {};
};

struct ModelConfig {
  std::string model_type;  // "llama", "qwen2": as config.json has it
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0;
  int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  int64_t max_position_embeddings = 2048;
  float rms_norm_eps = 1e-6f, rope_theta = 10000;
  RopeScaling rope_scaling;
  bool attention_bias = false;  // on q, k, v; o_proj has one only where attention_out_bias says so
  bool attention_out_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  int32_t bos_token_id = -1, eos_token_id = -1;
  // For training: shares that are dropped of attention's probabilities, of what a block adds, of the embeddings.
  float attention_dropout = 0, resid_pdrop = 0, embd_pdrop = 0;
  float initializer_range = 0.02f;  // deviation of new weights

  // Error naming the key when sizes contradict each other. `where` is the file.
  void validate(const std::string& where) const;
  int64_t parameter_count() const;
};

// Reads the spellings of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters).
ModelConfig parse_config_json(std::string_view text, const std::string& where);
nlohmann::ordered_json config_to_json(const ModelConfig& config);

}  // namespace sedum
