#pragma once
// An HTTP/1.1 server for answers that take a while: a few threads carry all connections, and a handler may pass its exchange on
// to whoever makes the answer.
//
//   http::Server server({.port = 8080});
//   server.route("GET", "/health", [](const http::Request&, http::Exchange exchange) { exchange.respond({.body = "{}"}); });
//   server.route("POST", "/stream", [&](const http::Request& request, http::Exchange exchange) {
//     exchange.begin({.content_type = "text/event-stream"});
//     engine.submit(request.body, [=](std::string token) { return exchange.write(token); },  // false: the client has gone
//                   [=] { exchange.finish(); });
//   });
//   server.start();                  // throws Error if the port is in use
//   server.stop(5);                  // answers in the making get five seconds
//
// Handlers run on the server's threads and must return soon. Everything of an Exchange may be called from any thread. Requests
// that exceed a limit, match no route or are not HTTP never reach a handler.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace sedum::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;
  std::string path;   // percent-decoded, without the query
  std::string rest;   // what followed the prefix of a route that ends in "/*"
  std::string query;  // as sent, without '?'
  Headers headers;
  std::string body;
  std::string remote;  // the client's address
  std::string id;      // the client's X-Request-Id where it is a plain one, or ours; every answer carries it

  std::string_view header(std::string_view name) const;  // "" if absent; names compare without case
};

struct Response {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  Headers headers = {};
};

// What a log says of an exchange when it is over.
struct Record {
  std::string id, remote, method, path;
  int status = 0;      // 0: the client went before the answer began
  uint64_t bytes = 0;  // of the body
  double seconds = 0;
  bool cut = false;  // the client went, or the answer was dropped, before its end
  nlohmann::ordered_json notes = nlohmann::ordered_json::object();  // by the handler
};

// One request's answer. Copies share it; when the last goes without an answer, the client gets status 500.
class Exchange {
 public:
  struct State;
  explicit Exchange(std::shared_ptr<State> state) : state_(std::move(state)) {}

  void respond(Response response) const;  // a whole answer

  void begin(Response head) const;           // or one in pieces: status and headers (a body is the first piece),
  bool write(std::string_view piece) const;  // pieces as they come; never blocks; false: the client has gone
  void finish() const;                       // and the end

  // Back-pressure: a producer with a thread of its own waits here until the client has taken what was written. One that cannot
  // wait (a handler, for one) just writes: at Limits::queue_bytes unsent the client counts as gone. False: the client has gone.
  bool drain() const;

  // Adds to what the log will say; nothing after the end.
  void note(const std::string& name, nlohmann::ordered_json value) const;

  bool closed() const;  // the client has gone before the end of its answer
  // Called once if that happens, on one of the server's threads; at once if it has happened. Must not hold the exchange.
  void on_close(std::function<void()> callback) const;

 private:
  std::shared_ptr<State> state_;
};

using Handler = std::function<void(const Request&, Exchange)>;

struct Limits {
  uint32_t header_bytes = 16 << 10;  // more: 431
  uint64_t body_bytes = 8 << 20;     // more: 413
  size_t queue_bytes = 4 << 20;      // unsent output of one connection
  int connections = 1024;            // more: 503
  double idle_seconds = 75;          // between two requests of a connection
  double request_seconds = 30;       // for a request to arrive: 408
  double write_seconds = 30;         // for the client to take anything of what is being sent
};

class Server {
 public:
  struct Options {
    std::string host = "127.0.0.1";
    int port = 8080;  // 0: any that is free
    int threads = 2;
    Limits limits = {};
    // The body of answers that the server gives by itself (404, 405, 413 …). Default: {"error": message}.
    std::function<Response(int status, const std::string& message)> error = {};
    std::function<void(const Record&)> log = {};  // hears of every answer, on any thread
  };

  explicit Server(Options options);
  ~Server();  // stop(0)
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Before start(). GET also answers HEAD; a path that ends in "/*" takes everything below it that no other route names.
  void route(std::string method, std::string path, Handler handler);
  void start();
  void stop(double drain_seconds = 5);  // no new requests; waits for the answers in the making
  int port() const;
  std::string address() const;  // "http://127.0.0.1:8080"

 private:
  struct Core;
  class Connection;
  std::shared_ptr<Core> core_;
};

}  // namespace sedum::http
