#include "model/checkpoint/mixture.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace sedum {
namespace {

struct Known {
  const char* name;
  DType type;
  uint32_t file_type;  // llama_ftype
  bool more_bits, few_more;
};
constexpr Known kKnown[] = {
    {"f32", DType::kF32, 0, false, false},      {"f16", DType::kF16, 1, false, false},
    {"bf16", DType::kBF16, 32, false, false},   {"q8_0", DType::kQ8_0, 7, false, false},
    {"q4_0", DType::kQ4_0, 2, false, false},    {"q4_1", DType::kQ4_1, 3, false, false},
    {"q5_0", DType::kQ5_0, 8, false, false},    {"q5_1", DType::kQ5_1, 9, false, false},
    {"q4_K_S", DType::kQ4_K, 14, false, true},  {"q4_K_M", DType::kQ4_K, 15, true, false},
    {"q5_K_S", DType::kQ5_K, 16, false, false}, {"q5_K_M", DType::kQ5_K, 17, true, false},
    {"q6_K", DType::kQ6_K, 18, false, false},   {"q4_K", DType::kQ4_K, 15, true, false},
    {"q5_K", DType::kQ5_K, 17, true, false},
};

bool same_name(const std::string& a, const std::string& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return std::tolower(uint8_t(x)) == std::tolower(uint8_t(y)); });
}

bool is(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

int64_t layer_of(const std::string& name) { return name.starts_with("blk.") ? std::atoll(name.c_str() + 4) : 0; }

bool gets_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

DType fall_back(DType type, int64_t cols) {
  if (cols % info(type).block == 0) return type;
  const DType smaller = type == DType::kQ4_K   ? DType::kQ5_0
                        : type == DType::kQ5_K ? DType::kQ5_1
                        : type == DType::kQ6_K ? DType::kQ8_0
                                               : DType::kF16;
  return cols % info(smaller).block == 0 ? smaller : DType::kF16;
}

}  // namespace

DType GgufMixture::type_of(const std::string& gguf_name, const Shape& shape) const {
  const bool keeps = shape.rank() < 2 || !gguf_name.ends_with(".weight") || is(gguf_name, "_norm.weight") ||
                     is(gguf_name, "ffn_gate_inp") || is(gguf_name, "position_embd") || is(gguf_name, "token_types") ||
                     is(gguf_name, "attn_rel_b");
  if (keeps) return DType::kF32;
  if (!info(type).quantised) return type;
  const int64_t cols = shape[-1], layer = layer_of(gguf_name);
  DType chosen = type;
  if (gguf_name == "output.weight" || (tied && gguf_name == "token_embd.weight")) {
    if (cols % info(type).block)
      chosen = DType::kQ8_0;
    else if (type != DType::kQ8_0)
      chosen = DType::kQ6_K;
  } else if (is(gguf_name, "attn_v.weight")) {
    if (more_bits && gets_more_bits(layer, layers)) chosen = DType::kQ6_K;
    if (few_more && layer < 4) chosen = DType::kQ5_K;
  } else if (is(gguf_name, "attn_qkv.weight")) {
    if (more_bits) chosen = type == DType::kQ4_K ? DType::kQ5_K : DType::kQ6_K;
  } else if (is(gguf_name, "ffn_down")) {
    if (more_bits && gets_more_bits(layer, layers)) chosen = DType::kQ6_K;
    if (few_more && layer < layers / 8) chosen = DType::kQ5_K;
    if (has_importance && layer < layers / 8)
      chosen = type == DType::kQ4_0 ? DType::kQ4_1 : type == DType::kQ5_0 ? DType::kQ5_1 : chosen;
  }
  return fall_back(chosen, cols);
}

GgufMixture gguf_mixture(const std::string& name, const ModelConfig& config) {
  for (const Known& known : kKnown) {
    if (!same_name(name, known.name)) continue;
    return {.name = known.name,
            .type = known.type,
            .file_type = known.file_type,
            .layers = config.num_hidden_layers,
            .tied = config.tie_word_embeddings,
            .more_bits = known.more_bits,
            .few_more = known.few_more};
  }
  std::string all;
  for (const std::string& each : gguf_mixture_names()) all += (all.empty() ? "" : ", ") + each;
  throw Error("--type " + name + " is not known for GGUF files", "choose one of " + all);
}

const std::vector<std::string>& gguf_mixture_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Known& known : kKnown) all.push_back(known.name);
    return all;
  }();
  return names;
}

}  // namespace sedum
