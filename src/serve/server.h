#pragma once
// OpenAI's and Anthropic's APIs and the chat page over a model and its adapters.
//
//   Server server({.port = 8080});
//   server.start();                            // the port is ours; /ready says 503 until there is a model
//   server.serve({served_model(engine)});      // http://127.0.0.1:8080/ is the page, /v1/… the API
//   server.drain(30);                          // /ready says 503, no new requests, answers in the making are finished
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
#include "serve/access.h"
#include "serve/answer.h"
#include "serve/metrics.h"
#include "serve/openai/request.h"
#include "serve/served_model.h"
#include "serve/store/documents.h"
#include "serve/store/history.h"

namespace sedum::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;
  std::vector<ApiKey> api_keys = {};            // none: everybody may ask
  std::vector<std::string> allowed_hosts = {};  // names beside this machine's own, without keys
  int max_requests = 256;                       // in flight, waiting ones included; more get status 429
  http::Limits limits = {};
  bool log_prompts = false;
  History* history = nullptr;                         // null: none is kept. Both outlive the server
  Documents* documents = nullptr;                     // what answers draw on
  std::function<void(const http::Record&)> log = {};  // hears of each answer
};

class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();                                    // stop(0)
  void start();                                 // throws Error if the port is in use
  void serve(std::vector<ServedModel> models);  // once; from now on the server is ready
  void drain(double seconds);                   // until no request is in flight, at most so long
  void stop(double drain_seconds = 5);          // answers in the making get that long
  std::string address() const { return http_.address(); }
  bool exposed() const;  // others than this machine may ask, and no key is needed

 private:
  struct Call {  // one request as its handler sees it
    const http::Request& request;
    const http::Exchange& exchange;
    Caller* caller;
  };
  using Handle = void (Server::*)(const Call&);
  void route(const char* method, const std::string& path, Handle handle);
  void route_assets();
  std::string describe(std::string_view openapi) const;
  void answered(const http::Record& record);
  const ServedModel& find_model(const std::string& name) const;
  void check_running() const;

  void health(const http::Exchange& exchange) const;
  void ready(const http::Exchange& exchange) const;
  void metrics(const Call& call);
  void list_models(const Call& call);
  void one_model(const Call& call);
  // generation.cc
  void chat(const Call& call);
  void responses(const Call& call);
  void messages(const Call& call);
  void count_tokens(const Call& call);
  void completion(const Call& call);
  void embeddings(const Call& call);
  void tokenize(const Call& call);
  void detokenize(const Call& call);
  // page_api.cc
  std::string owner(const Call& call) const;
  History& history() const;
  void list_conversations(const Call& call);
  void load_conversation(const Call& call);
  void save_conversation(const Call& call);
  void erase_conversation(const Call& call);
  void rate(const Call& call);
  void export_feedback(const Call& call);
  void vote(const Call& call);
  void standings(const Call& call);
  void stats(const Call& call);
  using MakeDialect = std::unique_ptr<Dialect> (*)(AnswerHead);
  void converse(const Call& call, openai::ChatRequest& chat, AnswerHead head, MakeDialect make, const char* field);
  // Submits `prompts`, each for common.sampling.n answers, and sends these to the exchange.
  void generate(const Call& call, const ServedModel& model, const openai::CommonRequest& common,
                std::vector<std::vector<int32_t>> prompts, Answer::Options options, AnswerHead head, MakeDialect make,
                const char* field);
  // The prompt with passages that answer the question, as many as fit; head.sources says which. Without documents: the prompt.
  EncodedChat encode_with_documents(const ServedModel& model, const openai::ChatRequest& chat, AnswerHead& head,
                                    const char* field) const;
  std::vector<int32_t> ids_of(const ServedModel& model, const openai::Prompt& prompt, const char* field) const;

  const ServerOptions options_;
  const int64_t started_;
  const std::shared_ptr<Access> access_;  // shared with answers, which may outlive the server
  Metrics metrics_;
  std::vector<ServedModel> models_;
  std::atomic<bool> ready_{false}, draining_{false};
  http::Server http_;  // last: its threads use the others
};

}  // namespace sedum::serve
