#include "model/checkpoint/export.h"

#include <cmath>
#include <map>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "compute/dtype/k_quants.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/families.h"
#include "model/nn/rotary.h"
#include "text/tokenizer_json.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

std::vector<int64_t> sizes(const Shape& shape) {
  std::vector<int64_t> v;
  for (int i = 0; i < shape.rank(); ++i) v.push_back(shape[i]);
  return v;
}

void write_tokenizer(const fs::path& folder, const Checkpoint& like) {
  if (!like.has_tokenizer()) return;
  const TokenizerSpec& spec = like.tokenizer()->spec();  // complete: added tokens that GGUF names by kind alone
  write_file(folder / "tokenizer.json", write_tokenizer_json(spec));
  nlohmann::ordered_json config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  const auto token = [&](const char* key, int32_t id) {
    if (id >= 0 && size_t(id) < spec.tokens.size()) config[key] = spec.tokens[size_t(id)];
  };
  token("bos_token", spec.bos), token("eos_token", spec.eos), token("unk_token", spec.unk),
      token("pad_token", spec.pad);
  config["model_max_length"] = like.config().max_position_embeddings;
  config["clean_up_tokenization_spaces"] = false;
  if (!spec.chat_template.empty()) config["chat_template"] = spec.chat_template;
  write_file(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

// config.json names Llama 3's scaling by its terms; a GGUF file may hold divisors of the frequencies that have none.
void check_named_scaling(const Checkpoint& like) {
  const std::vector<float>& stored = like.config().rope_scaling.frequency_divisors;
  if (stored.empty()) return;
  ModelConfig named = like.config();
  named.rope_scaling.frequency_divisors.clear();
  const std::vector<float> computed = rotary_divisors(named);
  for (size_t i = 0; i < stored.size(); ++i)
    if (!(std::abs(computed[i] - stored[i]) <= 1e-4f * stored[i]))
      throw Error(like.path().string() + ": its rotary frequencies are scaled in a way that config.json cannot name",
                  "keep it as GGUF");
}

void write_config(const fs::path& folder, const Checkpoint& like, const char* torch_dtype,
                  const std::string& quantization_config) {
  check_named_scaling(like);
  nlohmann::ordered_json config = config_to_json(like.config());
  config["torch_dtype"] = torch_dtype;
  if (!quantization_config.empty()) config["quantization_config"] = nlohmann::ordered_json::parse(quantization_config);
  write_file(folder / "config.json", config.dump(2) + "\n");
}

// Encodes rows in the order that `row_of` names, some at a time.
void encode_rows(ThreadPool& pool, const std::vector<float>& values, const Shape& shape, DType type,
                 const std::function<int64_t(int64_t)>& row_of, const std::vector<float>* importance,
                 const ByteSink& sink) {
  const int64_t cols = shape.rank() < 2 ? 1 : shape[-1], rows = int64_t(values.size()) / std::max<int64_t>(cols, 1);
  const size_t bytes = row_bytes(type, cols);
  const int64_t at_once = std::max<int64_t>(1, (int64_t{4} << 20) / std::max<int64_t>(1, int64_t(bytes)));
  const bool weighted = importance && int64_t(importance->size()) == cols && is_k_quant(type);
  std::vector<char> encoded(size_t(std::min(rows, at_once)) * bytes);
  for (int64_t from = 0; from < rows; from += at_once) {
    const int64_t count = std::min(at_once, rows - from);
    pool.parallel_for(count, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* row = values.data() + row_of(from + r) * cols;
        if (weighted)
          encode_k_quants(type, row, &encoded[size_t(r) * bytes], cols, importance->data());
        else
          encode(type, row, &encoded[size_t(r) * bytes], cols);
      }
    });
    sink(encoded.data(), size_t(count) * bytes);
  }
}

// (rows, cols) as (cols, rows).
std::vector<float> transposed(const std::vector<float>& values, int64_t rows, int64_t cols) {
  std::vector<float> other(values.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) other[size_t(c * rows + r)] = values[size_t(r * cols + c)];
  return other;
}

std::vector<float> raised_by(std::vector<float> values, float raised) {
  for (float& v : values) v += raised;
  return values;
}

bool is_query_or_key(const std::string& name) {
  return name.find(".q_proj.") != std::string::npos || name.find(".k_proj.") != std::string::npos;
}

// GGUF has no keys for which layers see a window or no positions: their order must be the architecture's own.
void check_layers(const Checkpoint& like) {
  const ModelConfig& c = like.config();
  if (is_mixture(c.model_type)) {
    bool own = c.norm_topk_prob;
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) own = own && c.is_sparse(i);
    if (!own)
      throw Error(
          like.path().string() + ": llama.cpp knows no layers without experts there, nor weights that do not sum to 1",
          "keep it as a folder");
  }
  if (is_gemma(c.model_type)) {
    const bool gemma2 = c.model_type == "gemma2";
    bool own = c.query_pre_attn_scalar == gguf_query_scalar(c) && (gemma2 || c.rope_local_base_freq == 10000) &&
               (gemma2 || c.attn_logit_softcapping == 0);
    for (int64_t i = 0; i < c.num_hidden_layers; ++i)
      own = own && (c.window_of(i) > 0) == slides_in_gemma(c.model_type, i);
    if (own) return;
    throw Error(like.path().string() +
                    ": GGUF cannot say its windows, its sliding layers' rope_theta, its scale or its cap of scores",
                "keep it as a folder");
  }
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    if ((c.sliding_window > 0 && c.window_of(i) == 0) ||
        (c.model_type == "smollm3" && c.rotates(i) == ((i + 1) % 4 == 0)))
      throw Error(like.path().string() + ": GGUF cannot say which layers see a window or no positions",
                  "keep it as a folder");
}

// YaRN and LongRoPE; the divisors of the latter are tensors.
void write_gguf_stretched(GgufWriter& out, const Checkpoint& like, const std::string& at) {
  const RopeScaling& s = like.config().rope_scaling;
  const bool yarn = s.type == RopeScaling::Type::kYarn;
  if (!yarn && s.type != RopeScaling::Type::kLongRope) return;
  if (yarn && !s.truncate)
    throw Error(like.path().string() + ": GGUF cannot say that YaRN's range is not rounded", "keep it as a folder");
  out.set(at + "rope.scaling.original_context_length", uint32_t(s.original_max_position_embeddings));
  // llama.cpp multiplies by YaRN's own factor besides.
  const float rest = s.attention_factor / (yarn ? yarn_attention_factor(s.factor, 1) : 1);
  if (!yarn || rest != 1) out.set(at + "rope.scaling.attn_factor", rest);
  if (!yarn) return;
  out.set(at + "rope.scaling.type", "yarn");
  out.set(at + "rope.scaling.factor", s.factor);
  if (s.beta_fast != 32) out.set(at + "rope.scaling.yarn_beta_fast", s.beta_fast);
  if (s.beta_slow != 1) out.set(at + "rope.scaling.yarn_beta_slow", s.beta_slow);
}

void write_gguf_config(GgufWriter& out, const Checkpoint& like, uint32_t file_type) {
  const ModelConfig& c = like.config();
  const std::string architecture = family_of(c.model_type, like.path().string()).gguf_architecture,
                    at = architecture + ".";
  const auto u32 = [&](const std::string& key, int64_t value) { out.set(at + key, uint32_t(value)); };
  out.set("general.architecture", architecture);
  out.set("general.name", like.name());
  out.set("general.file_type", file_type);
  out.set("general.quantization_version", uint32_t{2});
  u32("block_count", c.num_hidden_layers), u32("context_length", c.max_position_embeddings),
      u32("embedding_length", c.hidden_size);
  u32("feed_forward_length", c.intermediate_size), u32("attention.head_count", c.num_attention_heads),
      u32("attention.head_count_kv", c.num_key_value_heads);
  u32("attention.key_length", c.head_dim), u32("attention.value_length", c.head_dim), u32("vocab_size", c.vocab_size);
  if (c.model_type == "gpt2") return out.set(at + "attention.layer_norm_epsilon", c.layer_norm_eps);
  u32("rope.dimension_count", c.rotary_dim());
  out.set(at + "attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  out.set(at + "rope.freq_base", c.rope_theta);
  if (c.sliding_window > 0) u32("attention.sliding_window", c.sliding_window);
  check_layers(like);
  if (is_mixture(c.model_type)) {
    u32("expert_count", c.num_experts), u32("expert_used_count", c.num_experts_per_tok);
    if (c.model_type == "qwen3_moe") u32("expert_feed_forward_length", c.moe_intermediate_size);
  }
  if (c.attn_logit_softcapping > 0) out.set(at + "attn_logit_softcapping", c.attn_logit_softcapping);
  if (c.final_logit_softcapping > 0) out.set(at + "final_logit_softcapping", c.final_logit_softcapping);
  if (c.rope_scaling.type == RopeScaling::Type::kLinear) {
    out.set(at + "rope.scaling.type", "linear");
    out.set(at + "rope.scaling.factor", c.rope_scaling.factor);
  }
  write_gguf_stretched(out, like, at);
  if (c.rope_scaling.type == RopeScaling::Type::kLlama3) {  // rope_freqs.weight is what computes; these name its terms
    u32("rope.scaling.original_context_length", c.rope_scaling.original_max_position_embeddings);
    out.set("sedum.rope.low_freq_factor", c.rope_scaling.low_freq_factor);
    out.set("sedum.rope.high_freq_factor", c.rope_scaling.high_freq_factor);
  }
}

void write_gguf_tokenizer(GgufWriter& out, const Checkpoint& like) {
  const auto id = [&](const char* key, int32_t value) {
    if (value >= 0) out.set(key, uint32_t(value));
  };
  if (!like.has_tokenizer()) {
    id("tokenizer.ggml.bos_token_id", like.config().bos_token_id);
    return id("tokenizer.ggml.eos_token_id", like.config().eos_token_id);
  }
  const TokenizerSpec& spec = like.tokenizer()->spec();  // complete: added tokens that GGUF names by kind alone
  if (spec.pre_tokenizer.empty())
    throw Error(like.path().string() + ": GGUF has no name for this tokenizer's way of cutting words",
                "keep it as a folder");
  out.set("tokenizer.ggml.model", "gpt2");
  out.set("tokenizer.ggml.pre", spec.pre_tokenizer);
  out.set("tokenizer.ggml.tokens", spec.tokens);
  std::vector<int32_t> kinds(spec.tokens.size(), int32_t(TokenKind::kNormal));
  for (size_t i = 0; i < spec.kinds.size(); ++i) kinds[i] = int32_t(spec.kinds[i]);
  for (const AddedToken& added : spec.added)
    if (added.id >= 0 && size_t(added.id) < kinds.size())
      kinds[size_t(added.id)] = int32_t(added.special ? TokenKind::kControl : TokenKind::kUserDefined);
  out.set("tokenizer.ggml.token_type", kinds);
  out.set("tokenizer.ggml.merges", spec.merges);
  id("tokenizer.ggml.bos_token_id", spec.bos), id("tokenizer.ggml.eos_token_id", spec.eos);
  id("tokenizer.ggml.unknown_token_id", spec.unk), id("tokenizer.ggml.padding_token_id", spec.pad);
  out.set("tokenizer.ggml.add_bos_token", spec.add_bos);
  out.set("tokenizer.ggml.add_eos_token", spec.add_eos);
  if (!spec.chat_template.empty()) out.set("tokenizer.chat_template", spec.chat_template);
}

// A tensor of a GGUF file and what it is made of: one of the model's, or a matrix of every expert of a layer.
struct Stored {
  std::string name;
  std::vector<std::string> parts;
  bool stacked = false;
};
std::vector<Stored> stored_tensors(const Checkpoint& like) {
  std::vector<Stored> all;
  std::map<std::string, size_t> at;
  for (const std::string& name : like.tensor_names()) {
    const std::string stored = gguf_name(name, like.config());
    const auto [found, isnew] = at.emplace(stored, all.size());
    if (isnew) all.push_back({stored, {}, expert_tensor(name).has_value()});
    all[found->second].parts.push_back(name);
  }
  return all;
}

}  // namespace

void write_folder_description(const fs::path& folder, const Checkpoint& like, const char* torch_dtype,
                              const std::string& quantization_config) {
  write_config(folder, like, torch_dtype, quantization_config);
  write_tokenizer(folder, like);
}

TensorReader stored_values(const Checkpoint& checkpoint) {
  return [&checkpoint](const std::string& name) {
    const Tensor stored = checkpoint.tensor(name);
    std::vector<float> values(size_t(stored.count()));
    decode(stored.dtype(), stored.raw(), values.data(), stored.count());
    return values;
  };
}

void write_gguf(const fs::path& path, const Checkpoint& like, DType type, const TensorReader& read) {
  ThreadPool alone(1);
  write_gguf(path, like, gguf_mixture(name(type), like.config()), read, alone);
}

void write_gguf(const fs::path& path, const Checkpoint& like, const GgufMixture& mixture, const TensorReader& read,
                ThreadPool& pool, const ImportanceReader& importance) {
  GgufWriter out(path);
  write_gguf_config(out, like, mixture.file_type);
  write_gguf_tokenizer(out, like);
  const std::vector<Stored> tensors = stored_tensors(like);
  Progress progress("writing " + path.filename().string(), tensors.size());
  for (const Stored& tensor : tensors) {
    const std::string& name = tensor.parts.front();
    const Shape shape = like.tensor(name).shape();
    const Shape whole = tensor.stacked ? Shape{int64_t(tensor.parts.size()), shape[0], shape[1]} : shape;
    const DType t = mixture.type_of(tensor.name, whole);
    const bool interleave =
        family_of(like.config().model_type, like.path().string()).interleaved && is_query_or_key(name);
    const int64_t head_dim = like.config().head_dim;
    const float raised = like.raised_in_gguf(name) ? 1 : 0;
    out.add(
        tensor.name, t, sizes(whole),
        [&progress, &pool, &importance, read, tensor, shape, t, interleave, head_dim, raised](const ByteSink& sink) {
          for (const std::string& part : tensor.parts)
            encode_rows(
                pool, raised_by(read(part), raised), shape, t,
                [&](int64_t r) { return interleave ? other_row(r, head_dim, RowOrder::kInterleaved) : r; },
                importance ? importance(tensor.name) : nullptr, sink);
          progress.advance(1);
        });
  }
  const auto add_divisors = [&out](const char* name, const std::vector<float>& divisors) {
    out.add(name, DType::kF32, {int64_t(divisors.size())},
            [divisors](const ByteSink& sink) { sink(divisors.data(), divisors.size() * sizeof(float)); });
  };
  const RopeScaling& scaling = like.config().rope_scaling;
  if (scaling.type == RopeScaling::Type::kLlama3) add_divisors("rope_freqs.weight", rotary_divisors(like.config()));
  if (scaling.type == RopeScaling::Type::kLongRope)
    add_divisors("rope_factors_long.weight", scaling.long_factor),
        add_divisors("rope_factors_short.weight", scaling.short_factor);
  out.finish();
}

void write_folder(const fs::path& folder, const Checkpoint& like, DType type, const TensorReader& read) {
  fs::create_directories(folder);
  const std::vector<std::string> names = like.tensor_names();
  Progress progress("writing " + folder.filename().string(), names.size());
  ThreadPool pool(1);
  SafetensorsWriter out(folder / "model.safetensors", {{"format", "pt"}});
  for (const std::string& name : names) {
    const Shape shape = like.tensor(name).shape();
    const bool turned = like.turned_in_folder(name);
    const Shape kept = turned ? Shape{shape[1], shape[0]} : shape;
    out.add(name, type, sizes(kept), [&progress, &pool, read, name, kept, type, turned](const ByteSink& sink) {
      encode_rows(
          pool, turned ? transposed(read(name), kept[1], kept[0]) : read(name), kept, type, [](int64_t r) { return r; },
          nullptr, sink);
      progress.advance(1);
    });
  }
  out.finish();
  write_folder_description(folder, like,
                           type == DType::kF32   ? "float32"
                           : type == DType::kF16 ? "float16"
                                                 : "bfloat16");
}

void write_folder(const fs::path& folder, const Checkpoint& like, const std::vector<Variable>& parameters) {
  fs::create_directories(folder);
  SafetensorsWriter out(folder / "model.safetensors", {{"format", "pt"}});
  bool narrow = false;
  for (const Variable& p : parameters) {
    narrow = narrow || p.dtype() == DType::kBF16;
    const Tensor stored = like.turned_in_folder(p.name()) ? turned(p.value()) : p.value();
    out.add(p.name(), p.dtype(), sizes(stored.shape()),
            [stored](const ByteSink& sink) { sink(stored.raw(), stored.bytes()); });
  }
  out.finish();
  write_folder_description(folder, like, narrow ? "bfloat16" : "float32");
}

}  // namespace sedum
