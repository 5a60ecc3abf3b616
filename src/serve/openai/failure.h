#pragma once
// What OpenAI's API answers when a request cannot be served: a status and an error object.
//
//   throw Failure::invalid("temperature", "must be between 0 and 2");

#include <stdexcept>
#include <string>

#include "http/server.h"

namespace sedum::openai {

// What is quoted may hold NULs, and what() would end at the first: they are written "\\0".
std::string without_nul(std::string text);

struct Failure : std::runtime_error {
  Failure(int http_status, std::string error_type, const std::string& message, std::string error_param = "",
          std::string error_code = "")
      : std::runtime_error(without_nul(message)),
        status(http_status),
        type(std::move(error_type)),
        param(std::move(error_param)),
        code(std::move(error_code)) {}

  static Failure invalid(const std::string& param, const std::string& message, const std::string& code = "") {
    return {400, "invalid_request_error", message, param, code};
  }

  int status;
  std::string type, param, code;  // "": null
  int retry_seconds = 1;          // with 429 and 503
};

http::Response response(const Failure& failure);
std::string error_json(const Failure& failure);  // {"error": {"message": …, "type": …, "param": …, "code": …}}

// The failure that belongs to a status which the transport gives by itself.
Failure from_status(int status, const std::string& message);

}  // namespace sedum::openai
