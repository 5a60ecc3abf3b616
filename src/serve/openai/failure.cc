#include "serve/openai/failure.h"

#include "base/json.h"

namespace sedum::openai {
using nlohmann::json;

std::string without_nul(std::string text) {
  for (size_t at = 0; (at = text.find('\0', at)) != std::string::npos; at += 2) text.replace(at, 1, "\\0");
  return text;
}

std::string error_json(const Failure& failure) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? json() : json(text); };
  const json error = {{"message", failure.what()},
                      {"type", failure.type},
                      {"param", text_or_null(failure.param)},
                      {"code", text_or_null(failure.code)}};
  return json{{"error", error}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

http::Response response(const Failure& failure) {
  http::Response answer{.status = failure.status, .body = error_json(failure)};
  if (failure.status == 401) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (failure.status == 429 || failure.status == 503)
    answer.headers.emplace_back("Retry-After", std::to_string(failure.retry_seconds));
  return answer;
}

Failure from_status(int status, const std::string& message) {
  const std::string type = status >= 500 ? "server_error" : "invalid_request_error";
  const std::string code = status == 404   ? "unknown_url"
                           : status == 405 ? "method_not_allowed"
                           : status == 408 ? "request_timeout"
                           : status == 413 ? "request_too_large"
                           : status == 503 ? "overloaded"
                                           : "";
  return {status, type, message, "", code};
}

}  // namespace sedum::openai
