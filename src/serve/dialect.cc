#include "serve/dialect.h"

#include <cmath>
#include <ctime>
#include <random>

namespace sedum::serve {
using json = nlohmann::ordered_json;

std::string random_id(const std::string& prefix) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::string id = prefix;
  for (int i = 0; i < 24; ++i) id += "0123456789abcdefghijklmnopqrstuv"[random() % 32];
  return id;
}

AnswerHead make_head(const std::string& id_prefix, const std::string& model) {
  AnswerHead head;
  head.id = random_id(id_prefix), head.model = model, head.created = int64_t(std::time(nullptr));
  return head;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string event(std::string_view data) { return "data: " + std::string(data) + "\n\n"; }
std::string event(std::string_view type, const json& data) {
  return "event: " + std::string(type) + "\ndata: " + dump(data) + "\n\n";
}

json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

namespace {
json one_token(const AnswerHead& head, int32_t id, float logprob) {
  const std::string text = head.token_text(id);
  json bytes = json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  // JSON has no infinity; OpenAI's own floor.
  return {{"token", text}, {"logprob", std::isfinite(logprob) ? logprob : -9999.0f}, {"bytes", std::move(bytes)}};
}
}  // namespace

json logprob_json(const AnswerHead& head, const TokenLogprobs& token) {
  json entry = one_token(head, token.id, token.logprob);
  entry["top_logprobs"] = json::array();
  for (const auto& [id, logprob] : token.top) entry["top_logprobs"].push_back(one_token(head, id, logprob));
  return entry;
}

}  // namespace sedum::serve
