#pragma once
// A line for each answer, for people or for programs.

#include <string>

#include "http/server.h"

namespace sedum::serve {

std::string log_json(const http::Record& record);  // one JSON object: time, request_id, method, path, status, seconds …
std::string log_text(const http::Record& record);  // "POST /v1/chat/completions 200 in 1.2 s: 5 + 40 tokens"

}  // namespace sedum::serve
