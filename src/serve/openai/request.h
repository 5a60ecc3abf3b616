#pragma once
// The bodies of requests as types: what is accepted, what is refused, and why.
//
//   const ChatRequest request = parse_chat(body);   // throws Failure with the field at fault
//
// What would change the answer and is not supported is refused, never ignored; what cannot change it (`user`, `metadata` …) is
// accepted. Beside OpenAI's own fields: top_k, min_p, typical_p, repetition_penalty, ignore_eos, num_beams, guided_regex … as other
// servers and transformers name them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "infer/engine.h"

namespace sedum::openai {

class Fields;

// What all kinds of generation share. sampling.n: answers to each prompt.
struct CommonRequest {
  std::string model;
  SamplingParams sampling = {};
  std::optional<uint64_t> seed = {};  // none: a new one for each request
  GrammarSpec grammar = {};
  std::string grammar_field = {};  // that asked for it
  bool stream = false;
  bool include_usage = false;  // in a stream
};

enum class ToolUse { kAuto, kNone, kRequired };

// A conversation as chat templates take it: messages of {role, content, tool_calls?, tool_call_id?, name?} with a call's arguments as
// an object; tools as OpenAI has them.
struct ChatRequest : CommonRequest {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  nlohmann::ordered_json tools = nlohmann::ordered_json::array();
  ToolUse tool_use = ToolUse::kAuto;
  std::string tool_name = {};  // with kRequired: this one; "": any
  bool parallel_tool_calls = true;
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();  // of the template: enable_thinking …
  bool use_documents = true;                                            // of --documents, if there are any
};

using Prompt = std::variant<std::string, std::vector<int32_t>>;  // text or token ids

struct CompletionRequest : CommonRequest {
  std::vector<Prompt> prompts = {};
  bool echo = false;  // the answer begins with the prompt
};

// The Responses API; `echo` is what an answer repeats of its request.
struct ResponsesRequest : ChatRequest {
  nlohmann::ordered_json echo = nlohmann::ordered_json::object();
};

struct EmbeddingsRequest {
  std::string model;
  std::vector<Prompt> inputs = {};
  Pooling pooling = Pooling::kMean;
  std::optional<int64_t> dimensions = {};
  bool base64 = false;
};

struct TokenizeRequest {
  std::string model = {};                // "": the first
  std::string text = {};                 // or
  std::optional<ChatRequest> chat = {};  // a conversation
  bool add_special = true, token_strings = false;
};

struct DetokenizeRequest {
  std::string model = {};
  std::vector<int32_t> ids = {};
};

constexpr int kMaxAnswers = 16;      // n
constexpr size_t kMaxPrompts = 128;  // of one request, times n
constexpr size_t kMaxTools = 128;

ChatRequest parse_chat(std::string_view body);
CompletionRequest parse_completion(std::string_view body);
ResponsesRequest parse_responses(std::string_view body);
EmbeddingsRequest parse_embeddings(std::string_view body);
TokenizeRequest parse_tokenize(std::string_view body);
DetokenizeRequest parse_detokenize(std::string_view body);

// Parts that several of these share.
void parse_sampling(Fields& fields, CommonRequest& request);  // from `model` to `stream`, without the number of tokens
std::vector<std::string> parse_stop(Fields& fields, const char* name);
std::vector<Prompt> parse_prompts(Fields& fields, const char* name);
// A function as a tool: checks name, description and parameters; path: for messages.
nlohmann::ordered_json parse_function(const nlohmann::ordered_json& function, const std::string& path,
                                      const char* parameters_name);
void check_tool_name(const Fields& fields, const char* field, const std::string& name);
// {"type": "text" | "json_object" | "json_schema", …}; `inner`: the schema's name stands in json_schema (chat) or beside the type.
void add_format(Fields& fields, const char* name, bool inner, CommonRequest& request);
nlohmann::ordered_json parse_arguments(const std::string& text);  // of a call: the object, or the text where it is none

}  // namespace sedum::openai
