#include <map>

#include "base/error.h"
#include "model/architectures/llama.h"
#include "model/architectures/makers.h"
#include "model/families.h"

namespace sedum {
namespace {

std::unique_ptr<CausalModel> make_llama(const ModelConfig& config, LayerFactory& factory) {
  return std::make_unique<LlamaModel>(config, factory);
}

using Maker = std::unique_ptr<CausalModel> (*)(const ModelConfig& config, LayerFactory& factory);
const std::map<std::string, Maker> kMakers{
    {"llama", make_llama},     {"mistral", make_llama},      {"qwen2", make_llama},   {"qwen3", make_qwen3},
    {"smollm3", make_smollm3}, {"phi3", make_phi3},          {"mixtral", make_llama}, {"qwen3_moe", make_qwen3},
    {"gemma2", make_gemma2},   {"gemma3_text", make_gemma3}, {"gpt2", make_gpt2},
};

}  // namespace

std::unique_ptr<CausalModel> build_model(const ModelConfig& config, LayerFactory& factory) {
  if (is_encoder(config.model_type))
    throw Error("a model of the family \"" + config.model_type + "\" does not continue texts",
                is_seq2seq(config.model_type) ? "use `sedum generate` or `sedum forward`"
                                              : "encoders serve `sedum embed` and --embedding-model");
  return kMakers.at(family_of(config.model_type, "the model").model_type)(config, factory);
}

}  // namespace sedum
