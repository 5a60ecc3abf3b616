#pragma once
// Two models' answers to the same questions, side by side.

#include <string>
#include <vector>

#include "data/interfaces.h"
#include "data/rows.h"
#include "infer/engine.h"

namespace sedum {

// What a row asks: its messages up to the last of the user, or its instruction and input. Error, with file and line, when it asks nothing.
std::vector<data::Message> question_of(const data::Row& row);

struct Comparison {
  std::string question, first, second;
};

// Conversations answered by the engine's chat template, greedily unless `options` say otherwise. Implements what data steps ask of a model.
class EngineGenerator : public data::Generator {
 public:
  explicit EngineGenerator(GenerationEngine& engine, std::string system = "")
      : engine_(engine), system_(std::move(system)) {}
  std::vector<std::string> generate(std::span<const std::vector<data::Message>> conversations,
                                    const data::GeneratorOptions& options) const override;

 private:
  GenerationEngine& engine_;
  std::string system_;
};

// A Markdown table of questions and both answers.
std::string comparison_markdown(const std::vector<Comparison>& rows, const std::string& first_name,
                                const std::string& second_name);

}  // namespace sedum
