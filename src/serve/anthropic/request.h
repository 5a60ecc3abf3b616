#pragma once
// Anthropic's Messages API on top of the same engine: bodies in, errors out.
//
//   const MessagesRequest request = anthropic::parse_messages(body);   // throws openai::Failure

#include <string>
#include <string_view>

#include "http/server.h"
#include "serve/openai/failure.h"
#include "serve/openai/request.h"

namespace sedum::anthropic {

struct MessagesRequest : openai::ChatRequest {};

// `counting`: for /v1/messages/count_tokens, where max_tokens and what steers sampling are absent.
MessagesRequest parse_messages(std::string_view body, bool counting = false);

http::Response response(const openai::Failure& failure);
std::string error_json(const openai::Failure& failure);  // {"type": "error", "error": {"type": …, "message": …}}

}  // namespace sedum::anthropic
