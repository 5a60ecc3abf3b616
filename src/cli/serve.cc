// sedum serve

#include <cstdio>
#include <ctime>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/stop_signal.h"
#include "infer/local_engine.h"
#include "serve/server.h"

namespace sedum::cli {
namespace {

void log_line(const std::string& line) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  fmt::print(stderr, "{:02}:{:02}:{:02} {}\n", local.tm_hour, local.tm_min, local.tm_sec, line);
}

void print_usage(const serve::Server& server, const std::string& model, bool with_key) {
  fmt::print("{} is served at\n\n  {}/      the page\n  {}/v1    OpenAI's API\n\n", model, server.address(),
             server.address());
  fmt::print(
      "  curl {}/v1/chat/completions -H 'Content-Type: application/json' {}\\\n    -d '{}'\n\nCtrl-C stops it.\n",
      server.address(), with_key ? "-H 'Authorization: Bearer KEY' " : "",
      nlohmann::ordered_json{{"model", model}, {"messages", {{{"role", "user"}, {"content", "Hello!"}}}}}.dump());
  std::fflush(stdout);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(serve) {
  struct Options : ModelOptions {
    std::string name, key_file;
    serve::ServerOptions server;
    int64_t context = 0;
    bool quiet = false;
  };
  auto o = std::make_shared<Options>();
  add_model_options(app, *o, "int8");
  app.add_option("--name", o->name, "the name that requests call the model by");
  app.add_option("--host", o->server.host, "the address to listen on; 0.0.0.0 for all")->capture_default_str();
  app.add_option("--port", o->server.port, "the port; 0 for any that is free")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  app.add_option("--api-key-file", o->key_file, "a file of keys, one a line; requests need one of them");
  app.add_option("--context", o->context, "tokens of one conversation; 0: the model's own, at most 32,768")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--max-requests", o->server.max_requests, "in flight at once; more are refused")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  app.add_flag("--quiet", o->quiet, "no line for each answer");
  app.footer("example: sedum serve --model qwen2.5-coder-0.5b --port 8080");
  return [o] {
    if (!o->key_file.empty()) o->server.api_keys = serve::read_api_keys(o->key_file);
    if (!o->quiet) o->server.log = cli::log_line;
    cli::LoadedModel loaded(*o);
    EngineOptions engine_options;
    engine_options.context_length = o->context;
    const bool by_name = !std::filesystem::exists(o->model);  // as `sedum pull` knows it
    engine_options.model_name = o->name.empty() && by_name ? o->model : o->name;
    LocalEngine engine(loaded.model, engine_options);
    serve::Server server({serve::served_model(engine)}, o->server);
    server.start();
    const cli::StopSignal stop;
    if (server.exposed()) {
      fmt::print(stderr, "warning: everybody who can reach {} may use this server; --api-key-file asks for a key\n",
                 o->server.host);
    }
    cli::print_usage(server, engine.model_name(), !o->key_file.empty());
    stop.wait();
    fmt::print(stderr, "stopping: answers in the making get five seconds\n");
    server.stop(5);
  };
}
