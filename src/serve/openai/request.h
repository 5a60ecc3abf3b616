#pragma once
// The bodies of OpenAI's requests as types: what is accepted, what is refused, and why.
//
//   const ChatRequest request = parse_chat(body);   // throws Failure with the field at fault
//
// What would change the answer and is not supported is refused, never ignored; what cannot change it (`user`, `metadata` …) is accepted.
// Beside OpenAI's own fields: top_k, min_p, repetition_penalty and ignore_eos, as other servers name them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "infer/engine.h"

namespace sedum::openai {

// What the two kinds of request share.
struct CommonRequest {
  std::string model;
  SamplingParams sampling;
  std::optional<uint64_t> seed;  // none: a new one for each request
  int n = 1;                     // answers to each prompt
  bool stream = false;
  bool include_usage = false;  // in a stream
};

struct ChatMessage {
  std::string role, content;  // role: system, user or assistant
};

struct ChatRequest : CommonRequest {
  std::vector<ChatMessage> messages;
};

using Prompt = std::variant<std::string, std::vector<int32_t>>;  // text or token ids

struct CompletionRequest : CommonRequest {
  std::vector<Prompt> prompts;
  bool echo = false;  // the answer begins with the prompt
};

constexpr int kMaxAnswers = 16;   // n
constexpr int kMaxPrompts = 128;  // of one completion request

ChatRequest parse_chat(std::string_view body);
CompletionRequest parse_completion(std::string_view body);

}  // namespace sedum::openai
