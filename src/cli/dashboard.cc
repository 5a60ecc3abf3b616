#include "cli/dashboard.h"

#include <charconv>

namespace sedum::cli {
namespace {

int64_t since_of(const std::string& query) {
  constexpr std::string_view key = "since=";
  int64_t since = 0;
  if (query.starts_with(key)) std::from_chars(query.data() + key.size(), query.data() + query.size(), since);
  return since;
}

}  // namespace

Dashboard::Dashboard(const RunView& view, int port)
    : view_(view), server_({.host = "127.0.0.1", .port = port, .threads = 1}) {
  server_.route("GET", "/", [](const http::Request&, http::Exchange exchange) {
    exchange.respond({.body = std::string(dashboard_page()), .content_type = "text/html; charset=utf-8"});
  });
  server_.route("GET", "/run", [this](const http::Request& request, http::Exchange exchange) {
    exchange.respond(
        {.body = view_.document(since_of(request.query)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
         .headers = {{"Cache-Control", "no-store"}}});
  });
  server_.start();
}

}  // namespace sedum::cli
