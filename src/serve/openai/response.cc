#include "serve/openai/response.h"

#include <ctime>
#include <random>

#include <nlohmann/json.hpp>

namespace sedum::openai {
using json = nlohmann::ordered_json;

namespace {

// Text comes from a model: what is no UTF-8 must not make the answer fail.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

json usage_object(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

json base(const AnswerHead& head, bool streamed) {
  const char* object = head.kind == Kind::kCompletion ? "text_completion"
                       : streamed                     ? "chat.completion.chunk"
                                                      : "chat.completion";
  return {{"id", head.id}, {"object", object}, {"created", head.created}, {"model", head.model}};
}

json finish_value(const std::optional<FinishReason>& finish) { return finish ? json(name(*finish)) : json(); }

// A piece: `delta` is an object in a chat and text otherwise.
std::string piece(const AnswerHead& head, int index, json delta, const std::optional<FinishReason>& finish) {
  json chunk = base(head, true);
  json choice = {{"index", index}};
  choice[head.kind == Kind::kChat ? "delta" : "text"] = std::move(delta);
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = finish_value(finish);
  chunk["choices"] = json::array({std::move(choice)});
  if (head.include_usage) chunk["usage"] = nullptr;
  return event(dump(chunk));
}

}  // namespace

AnswerHead make_head(Kind kind, const std::string& model, bool include_usage) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::string id = kind == Kind::kChat ? "chatcmpl-" : "cmpl-";
  for (int i = 0; i < 24; ++i) id += "0123456789abcdefghijklmnopqrstuv"[random() % 32];
  return {kind, id, model, int64_t(std::time(nullptr)), include_usage};
}

std::string whole_answer(const AnswerHead& head, const std::vector<Choice>& choices, const Usage& usage) {
  json answer = base(head, false);
  answer["choices"] = json::array();
  for (size_t i = 0; i < choices.size(); ++i) {
    json choice = {{"index", i}};
    if (head.kind == Kind::kChat)
      choice["message"] = {{"role", "assistant"}, {"content", choices[i].text}, {"refusal", nullptr}};
    else
      choice["text"] = choices[i].text;
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = finish_value(choices[i].finish);
    answer["choices"].push_back(std::move(choice));
  }
  answer["usage"] = usage_object(usage);
  return dump(answer);
}

std::string event(std::string_view data) { return "data: " + std::string(data) + "\n\n"; }

std::string first_event(const AnswerHead& head, int index) {
  return head.kind == Kind::kChat ? piece(head, index, {{"role", "assistant"}, {"content", ""}}, {}) : "";
}

std::string text_event(const AnswerHead& head, int index, std::string_view text) {
  return piece(head, index, head.kind == Kind::kChat ? json{{"content", text}} : json(text), {});
}

std::string finish_event(const AnswerHead& head, int index, FinishReason reason) {
  return piece(head, index, head.kind == Kind::kChat ? json::object() : json(""), reason);
}

std::string usage_event(const AnswerHead& head, const Usage& usage) {
  json chunk = base(head, true);
  chunk["choices"] = json::array();
  chunk["usage"] = usage_object(usage);
  return event(dump(chunk));
}

namespace {
json model_object(const ModelEntry& model) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "sedum"},
          {"context_length", model.context_length}};
}
}  // namespace

std::string model_json(const ModelEntry& model) { return dump(model_object(model)); }

std::string models_json(const std::vector<ModelEntry>& models) {
  json list = json::array();
  for (const ModelEntry& model : models) list.push_back(model_object(model));
  return dump({{"object", "list"}, {"data", list}});
}

}  // namespace sedum::openai
