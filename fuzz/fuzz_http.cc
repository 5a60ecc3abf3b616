// A whole request as bytes come: the head through the parser that the server uses, the body through every endpoint's reader. Whatever
// they are, a typed request or a Failure of status 400.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/beast/http.hpp>

#include "base/error.h"
#include "serve/anthropic/request.h"
#include "serve/openai/request.h"
#include "serve/store/passages.h"

namespace {

template <class Parse>
void try_body(Parse parse, std::string_view body) {
  try {
    parse(body);
  } catch (const sedum::openai::Failure& failure) {
    SEDUM_CHECK(failure.status == 400);
  }
}

void read_bodies(std::string_view body) {
  using namespace sedum;
  try_body(openai::parse_chat, body);
  try_body(openai::parse_completion, body);
  try_body(openai::parse_responses, body);
  try_body(openai::parse_embeddings, body);
  try_body(openai::parse_tokenize, body);
  try_body(openai::parse_detokenize, body);
  try_body([](std::string_view b) { anthropic::parse_messages(b); }, body);
  try_body([](std::string_view b) { anthropic::parse_messages(b, true); }, body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  namespace http = boost::beast::http;
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  http::request_parser<http::string_body> parser;
  parser.header_limit(16 << 10);
  parser.body_limit(1 << 20);
  parser.eager(true);
  boost::beast::error_code error;
  for (size_t at = 0; at < size && !error && !parser.is_done();) {
    const size_t used = parser.put(boost::asio::buffer(input.data() + at, size - at), error);
    if (used == 0) break;
    at += used;
  }
  if (parser.is_done()) read_bodies(parser.get().body());
  read_bodies(input);
  sedum::serve::cut_passages(input, sedum::serve::DocumentKind::kHtml);
  sedum::serve::index_terms(input);
  return 0;
}
