#pragma once
// OpenAI's answers, whole and in pieces.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "infer/engine.h"

namespace sedum::openai {

enum class Kind { kChat, kCompletion };

// What is the same in all pieces of one answer.
struct AnswerHead {
  Kind kind;
  std::string id, model;
  int64_t created;     // seconds since 1970
  bool include_usage;  // in a stream
};
AnswerHead make_head(Kind kind, const std::string& model, bool include_usage);

struct Choice {
  std::string text;
  std::optional<FinishReason> finish;
};

struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0;
};

std::string whole_answer(const AnswerHead& head, const std::vector<Choice>& choices, const Usage& usage);

// Server-sent events, each "data: {…}\n\n".
std::string first_event(const AnswerHead& head, int index);  // of a chat: says that the assistant speaks
std::string text_event(const AnswerHead& head, int index, std::string_view text);
std::string finish_event(const AnswerHead& head, int index, FinishReason reason);
std::string usage_event(const AnswerHead& head, const Usage& usage);
std::string event(std::string_view data);
inline constexpr char kDoneEvent[] = "data: [DONE]\n\n";

struct ModelEntry {
  std::string name;
  int64_t created;
  int context_length;
};
std::string model_json(const ModelEntry& model);
std::string models_json(const std::vector<ModelEntry>& models);

}  // namespace sedum::openai
