#pragma once
// OpenAI's API and the chat page over one or several models.
//
//   Server server({served_model(engine)}, {.port = 8080});
//   server.start();                 // http://127.0.0.1:8080/ is the page, /v1/… the API
//   server.stop();
//
// A request is cancelled in the engine when its client goes away. Without a key the server takes requests from this machine's own
// pages and programs: a page of another site cannot use it (its Origin is not ours), nor can one that has its name point here.

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/server.h"
#include "serve/openai/request.h"
#include "serve/served_model.h"

namespace sedum::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;
  std::vector<std::string> api_keys = {};  // none: everybody may ask
  int max_requests = 256;                  // in flight, waiting ones included; more get status 429
  http::Limits limits = {};
  std::function<void(const std::string&)> log = {};  // a line for each answer
};

// Reads a file of keys, one a line; '#' begins a comment.
std::vector<std::string> read_api_keys(const std::string& path);

class Server {
 public:
  Server(std::vector<ServedModel> models, ServerOptions options);
  ~Server();                            // stop(0)
  void start();                         // throws Error if the port is in use
  void stop(double drain_seconds = 5);  // answers in the making get that long
  std::string address() const { return http_.address(); }
  bool exposed() const;  // others than this machine may ask, and no key is needed

 private:
  using Handle = void (Server::*)(const http::Request&, const http::Exchange&);
  void route(const char* method, const std::string& path, Handle handle);
  void add_model_routes();
  void check_access(const http::Request& request) const;
  const ServedModel& find_model(const std::string& name) const;

  void chat(const http::Request& request, const http::Exchange& exchange);
  void completion(const http::Request& request, const http::Exchange& exchange);
  void list_models(const http::Request& request, const http::Exchange& exchange);
  // Submits `prompts`, each common.n times, and sends the answers to `exchange`.
  void generate(const ServedModel& model, const openai::CommonRequest& common,
                std::vector<std::vector<int32_t>> prompts, std::vector<std::string> prefixes, bool is_chat,
                const http::Exchange& exchange);

  const std::vector<ServedModel> models_;
  const ServerOptions options_;
  const int64_t started_;
  const std::shared_ptr<std::atomic<int>> in_flight_ = std::make_shared<std::atomic<int>>(0);
  http::Server http_;  // last: its threads use the others
};

}  // namespace sedum::serve
