#pragma once
// How one API writes an answer down: whole, or as events. Answer (answer.h) drives it; the dialects are openai/*_answer.cc and
// anthropic/messages_answer.cc.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "infer/engine.h"
#include "serve/openai/failure.h"

namespace sedum::serve {

struct Usage {
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
};

struct Call {
  std::string id, name, arguments;
};

// What an update adds to a choice. A call begins with its id and name; its arguments may come in pieces.
struct Delta {
  struct CallPart {
    size_t index;
    std::string id, name, arguments;
  };
  std::string reasoning, content;
  std::vector<CallPart> calls = {};
  std::vector<TokenLogprobs> logprobs = {};
  bool empty() const { return reasoning.empty() && content.empty() && calls.empty() && logprobs.empty(); }
};

// All that a choice has so far.
struct Choice {
  std::string prefix = {};  // text before it: the prompt, with `echo`
  std::string reasoning = {}, content = {};
  std::vector<Call> calls = {};
  std::vector<TokenLogprobs> prompt_logprobs = {}, logprobs = {};
  std::vector<int32_t> ids = {};
  std::string finish = {};       // "stop", "length", "tool_calls"; "" while it goes on
  std::string stop_string = {};  // the one that ended it
};

// What is the same in all of one answer.
struct AnswerHead {
  std::string id, model;
  int64_t created = 0;         // seconds since 1970
  bool include_usage = false;  // in a stream
  int64_t prompt_tokens = 0;
  std::function<std::string(int32_t)> token_text = {};             // bytes
  nlohmann::ordered_json sources = {};                             // array: what documents were given; null: none
  nlohmann::ordered_json echo = nlohmann::ordered_json::object();  // of a Responses request
};
AnswerHead make_head(const std::string& id_prefix, const std::string& model);
std::string random_id(const std::string& prefix);

class Dialect {
 public:
  virtual ~Dialect() = default;
  virtual std::string begin(const std::vector<Choice>& choices) = 0;  // events
  virtual std::string delta(int index, const Delta& delta) = 0;
  virtual std::string finish(int index, const Choice& choice) = 0;
  virtual std::string end(const std::vector<Choice>& choices, const Usage& usage) = 0;
  virtual std::string failure_event(const openai::Failure& failure) = 0;
  virtual std::string whole(const std::vector<Choice>& choices, const Usage& usage) = 0;
  virtual http::Response failure(const openai::Failure& failure) { return openai::response(failure); }
};

std::unique_ptr<Dialect> chat_dialect(AnswerHead head);
std::unique_ptr<Dialect> completion_dialect(AnswerHead head);
std::unique_ptr<Dialect> responses_dialect(AnswerHead head);
std::unique_ptr<Dialect> messages_dialect(AnswerHead head);

// Text comes from a model: what is no UTF-8 must not make the answer fail.
std::string dump(const nlohmann::ordered_json& value);
std::string event(std::string_view data);                                      // "data: …"
std::string event(std::string_view type, const nlohmann::ordered_json& data);  // "event: …" and "data: …"
inline constexpr char kDoneEvent[] = "data: [DONE]\n\n";

nlohmann::ordered_json usage_json(const Usage& usage);  // of OpenAI's older endpoints
nlohmann::ordered_json logprob_json(const AnswerHead& head,
                                    const TokenLogprobs& token);  // {"token", "logprob", "bytes", "top_logprobs"}

}  // namespace sedum::serve
