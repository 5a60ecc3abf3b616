#include "model/families.h"

#include "base/error.h"
#include "formats/tensor_source.h"

namespace sedum {

const std::vector<ModelFamily>& model_families() {
  static const std::vector<ModelFamily> all{
      {"llama", "LlamaForCausalLM", "llama", true},       {"mistral", "MistralForCausalLM", "llama", true},
      {"qwen2", "Qwen2ForCausalLM", "qwen2", false},      {"qwen3", "Qwen3ForCausalLM", "qwen3", false},
      {"smollm3", "SmolLM3ForCausalLM", "smollm3", true}, {"phi3", "Phi3ForCausalLM", "phi3", false},
      {"mixtral", "MixtralForCausalLM", "llama", true},   {"qwen3_moe", "Qwen3MoeForCausalLM", "qwen3moe", false},
      {"gemma2", "Gemma2ForCausalLM", "gemma2", false},   {"gemma3_text", "Gemma3ForCausalLM", "gemma3", false},
      {"gpt2", "GPT2LMHeadModel", "gpt2", false},
  };
  return all;
}

namespace {

const ModelFamily& find(const char* const ModelFamily::*key, const std::string& name, const std::string& where) {
  std::string known;
  for (const ModelFamily& family : model_families()) {
    if (name == family.*key) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  throw Error(where + ": the architecture \"" + printable(name) + "\" is not known here",
              known + " models can be loaded");
}

}  // namespace

const ModelFamily& family_of(const std::string& model_type, const std::string& where) {
  return find(&ModelFamily::model_type, model_type, where);
}
const ModelFamily& family_of_gguf(const std::string& architecture, const std::string& where) {
  return find(&ModelFamily::gguf_architecture, architecture, where);
}

}  // namespace sedum
