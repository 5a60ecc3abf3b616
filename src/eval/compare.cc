#include "eval/compare.h"

#include <future>

#include "base/error.h"
#include "base/json.h"
#include "infer/chat.h"
#include "infer/local_engine.h"

namespace sedum {
namespace {

// Inside a table's cell: no pipe, no line break.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|')
      out += "\\|";
    else if (c == '\n')
      out += "<br>";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::vector<data::Message> question_of(const data::Row& row) {
  const nlohmann::ordered_json& columns = *row.columns;
  std::vector<data::Message> question;
  const auto text = [](const nlohmann::ordered_json& object, const char* key) {
    return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>()
                                                                                 : std::string();
  };
  if (columns.contains("messages") && columns["messages"].is_array()) {
    for (const auto& message : columns["messages"])
      question.push_back({text(message, "role"), text(message, "content")});
    while (!question.empty() && question.back().role != "user") question.pop_back();
  } else if (const std::string instruction = text(columns, "instruction"); !instruction.empty()) {
    const std::string input = text(columns, "input");
    question.push_back({"user", input.empty() ? instruction : instruction + "\n" + input});
  }
  if (question.empty())
    throw Error(row.origin.to_string() + ": the row asks nothing",
                "give it messages that end with the user's, or an instruction");
  return question;
}

std::vector<std::string> EngineGenerator::generate(std::span<const std::vector<data::Message>> conversations,
                                                   const data::GeneratorOptions& options) const {
  // All are submitted at once: the engine batches them, and an answer does not depend on its neighbours.
  std::vector<std::string> answers(conversations.size()), errors(conversations.size());
  std::vector<std::promise<void>> done(conversations.size());
  for (size_t i = 0; i < conversations.size(); ++i) {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    if (!system_.empty()) messages.push_back({{"role", "system"}, {"content", system_}});
    for (const auto& m : conversations[i]) messages.push_back({{"role", m.role}, {"content", m.content}});
    const SamplingParams sampling{.temperature = options.temperature,
                                  .top_p = options.top_p,
                                  .repetition_penalty = options.repetition_penalty,
                                  .seed = options.seed + i,
                                  .max_tokens = options.max_tokens};
    engine_.submit({chat_prompt(engine_, messages), sampling}, [&, i](const GenerationUpdate& update) {
      answers[i] += update.text;
      if (!update.finish) return;
      errors[i] = update.error;
      done[i].set_value();
    });
  }
  for (auto& each : done) each.get_future().get();
  for (const auto& error : errors)
    if (!error.empty()) throw Error(error);
  return answers;
}

std::string comparison_markdown(const std::vector<Comparison>& rows, const std::string& first_name,
                                const std::string& second_name) {
  std::string out = "| question | " + cell(first_name) + " | " + cell(second_name) + " |\n|---|---|---|\n";
  for (const auto& row : rows)
    out += "| " + cell(row.question) + " | " + cell(row.first) + " | " + cell(row.second) + " |\n";
  return out;
}

}  // namespace sedum
