#pragma once
// The families of models that can be loaded, and what their files call them.
//
//   const ModelFamily& family = family_of("mistral", "model/config.json");

#include <string>
#include <vector>

namespace sedum {

struct ModelFamily {
  const char* model_type;         // in config.json
  const char* hf_class;           // in config.json's "architectures"
  const char* gguf_architecture;  // several may share one
  bool interleaved;               // GGUF keeps q and k with the halves of each head interleaved
};

const std::vector<ModelFamily>& model_families();
// Error, listing those that are known, for another one. `where` is the file.
const ModelFamily& family_of(const std::string& model_type, const std::string& where);
// The first of the architecture's families.
const ModelFamily& family_of_gguf(const std::string& architecture, const std::string& where);

}  // namespace sedum
