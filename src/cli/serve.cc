// sedum serve

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/sampling.h"
#include "cli/stop_signal.h"
#include "hub/settings.h"
#include "infer/embedding_engine.h"
#include "serve/log.h"
#include "serve/server.h"

namespace sedum::cli {
namespace {

void log_line(const std::string& line) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  fmt::print(stderr, "{:02}:{:02}:{:02} {}\n", local.tm_hour, local.tm_min, local.tm_sec, line);
}

std::function<void(const http::Record&)> logger(const std::string& format) {
  if (format == "none") return {};
  if (format == "json" || (format == "auto" && !::isatty(STDERR_FILENO)))
    return [](const http::Record& record) { fmt::print(stderr, "{}\n", serve::log_json(record)); };
  return [](const http::Record& record) {
    if (record.path.starts_with("/v1/") || record.status >= 400) log_line(serve::log_text(record));
  };
}

void print_usage(const serve::Server& server, const std::string& model, bool with_key) {
  fmt::print("{} is served at\n\n  {}/      the page\n  {}/v1    OpenAI's and Anthropic's APIs\n\n", model,
             server.address(), server.address());
  fmt::print(
      "  curl {}/v1/chat/completions -H 'Content-Type: application/json' {}\\\n    -d '{}'\n\nCtrl-C stops it.\n",
      server.address(), with_key ? "-H 'Authorization: Bearer KEY' " : "",
      nlohmann::ordered_json{{"model", model}, {"messages", {{{"role", "user"}, {"content", "Hello!"}}}}}.dump());
  std::fflush(stdout);
}

}  // namespace
}  // namespace sedum::cli

namespace sedum::cli {
namespace {

struct ServeOptions : ModelOptions {
  std::vector<std::string> also;  // NAME=PATH
  std::string key_file, log = "auto", history, documents, embedding_model;
  bool no_history = false;
  serve::ServerOptions server;
  EngineChoices engine;
  double drain = 30;
};

// SHA-256 over the files of a model's folder that say what it computes: 0.1 s for 100 MB.
std::string content_digest(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string kind = entry.path().extension().string();
    if (entry.is_regular_file() && (kind == ".safetensors" || kind == ".json" || kind == ".txt"))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const auto& file : files)
    all += file.lexically_relative(folder).string() + ' ' + digest(file, Checksum::Kind::kSha256) + '\n';
  return sha256(all);
}

// An encoder with threads and memory of its own.
struct LoadedEncoder {
  LoadedEncoder(const ServeOptions& o, const std::string& model)
      : runtime(o.threads), engine(runtime, find_model(model)) {}
  Runtime runtime;
  EmbeddingEngine engine;
};

// A model that generates, with threads and memory of its own.
struct LoadedGenerator {
  LoadedGenerator(const ModelOptions& o, const EngineChoices& choices) : loaded(o), chosen(loaded.model, choices) {}
  LoadedModel loaded;
  ChosenEngine chosen;
};

bool names_encoder(const std::string& model) {
  return is_encoder(Checkpoint::open(resolve_model_path(find_model(model)).base).config().model_type);
}

// Those of --also, with the first one's options but for what belongs to it alone: its adapters and its draft model.
std::vector<std::unique_ptr<LoadedGenerator>> load_others(const ServeOptions& o) {
  std::vector<std::unique_ptr<LoadedGenerator>> others;
  for (const auto& [name, path] : parse_named_paths(o.also, "--also", "large=qwen2.5-coder-0.5b")) {
    if (names_encoder(path.string()))
      throw Error("--also " + name + ": " + path.string() + " is an encoder", "give it as --embedding-model");
    ModelOptions model = o;
    model.model = path.string(), model.adapter.clear(), model.named_adapters.clear();
    EngineChoices engine = o.engine;
    engine.name = name, engine.draft_model.clear();
    others.push_back(std::make_unique<LoadedGenerator>(model, engine));
  }
  return others;
}

void open_stores(const ServeOptions& o, std::optional<serve::History>& history,
                 std::optional<serve::Documents>& documents, LoadedEncoder* encoder) {
  const std::filesystem::path home = hub::settings_from(std::getenv).home;
  if (!o.no_history) history.emplace(o.history.empty() ? home / "serve.sqlite" : std::filesystem::path(o.history));
  if (o.documents.empty()) return;
  const std::string folder = std::filesystem::absolute(o.documents).lexically_normal().string();
  documents.emplace(o.documents, home / "documents" / fmt::format("{:016x}.sqlite", std::hash<std::string>{}(folder)));
  if (encoder)
    documents->embed_by([encoder](const std::vector<std::string>& texts) { return encoder->engine.encode(texts); },
                        content_digest(resolve_model_path(find_model(o.embedding_model)).base));
  const serve::RefreshCount count = documents->refresh();
  fmt::print(stderr, "{}: {} documents, {} new or changed, {} passages, {} vectors computed\n", o.documents,
             count.files, count.read, count.passages, count.embedded);
  documents->refresh_every(15);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(serve) {
  auto o = std::make_shared<ServeOptions>();
  add_model_options(app, *o, "int8");
  app.add_option("--name", o->engine.name, "the name that requests call the model by");
  app.add_option("--also", o->also,
                 "NAME=PATH: another model, which requests call by that name; may be given several times");
  app.add_option("--host", o->server.host, "the address to listen on; 0.0.0.0 for all")->capture_default_str();
  app.add_option("--port", o->server.port, "the port; 0 for any that is free")
      ->capture_default_str()
      ->check(in_range(0, 65535));
  app.add_option("--api-key-file", o->key_file,
                 "a file of keys, one a line, each with bounds if wanted: KEY name=N requests_per_minute=N "
                 "tokens_per_minute=N concurrent=N");
  app.add_option("--allow-host", o->server.allowed_hosts, "a name that this server is asked by, behind a proxy");
  app.add_option("--documents", o->documents, "a folder of Markdown, text and HTML that answers draw on and name");
  app.add_option("--embedding-model", o->embedding_model,
                 "an encoder for /v1/embeddings, by which documents are found, too");
  app.add_option("--history", o->history, "the file that keeps the page's conversations, ratings and votes");
  app.add_flag("--no-history", o->no_history, "keep none of these");
  add_engine_options(app, o->engine);
  add_paging_options(app, o->engine);
  app.add_option("--max-requests", o->server.max_requests, "in flight at once; more are refused")
      ->capture_default_str()
      ->check(in_range(1, 100000));
  app.add_option("--max-body-bytes", o->server.limits.body_bytes, "of a request; larger ones are refused")
      ->capture_default_str()
      ->check(in_range(1024, 1 << 30));
  app.add_option("--idle-seconds", o->server.limits.idle_seconds, "that a connection may wait between two requests")
      ->capture_default_str()
      ->check(in_range(0.1, 86400.0));
  app.add_option("--request-seconds", o->server.limits.request_seconds, "that a request may take to arrive")
      ->capture_default_str()
      ->check(in_range(0.1, 86400.0));
  app.add_option("--drain-seconds", o->drain, "that answers in the making get when the server is stopped")
      ->capture_default_str()
      ->check(in_range(0.0, 86400.0));
  app.add_option("--log", o->log,
                 "a line for each answer on standard error: json, text or none; auto: text on a terminal")
      ->capture_default_str()
      ->check(one_of({"auto", "json", "text", "none"}));
  app.add_flag("--log-prompts", o->server.log_prompts, "log what was asked, too");
  app.footer("example: sedum serve --model qwen2.5-coder-0.5b --port 8080");
  return [o] {
    if (!o->key_file.empty()) o->server.api_keys = serve::read_api_keys(o->key_file);
    o->server.log = cli::logger(o->log);
    std::optional<cli::LoadedEncoder> encoder;
    if (!o->embedding_model.empty()) encoder.emplace(*o, o->embedding_model);
    std::optional<serve::History> history;
    std::optional<serve::Documents> documents;
    cli::open_stores(*o, history, documents, encoder ? &*encoder : nullptr);
    if (history) o->server.history = &*history;
    if (documents) o->server.documents = &*documents;
    serve::Server server(o->server);
    server.start();  // a port that is taken is known before the model is loaded
    const bool by_name = !std::filesystem::exists(o->model);  // as `sedum pull` knows it
    if (o->engine.name.empty() && by_name) o->engine.name = o->model;
    const std::string& name = o->engine.name;
    std::optional<cli::LoadedGenerator> own;
    if (cli::names_encoder(o->model)) {
      if (encoder) throw Error("--model is an encoder already", "leave --embedding-model out");
      encoder.emplace(*o, o->model);
    } else {
      own.emplace(*o, o->engine);
    }
    GenerationEngine& engine = own ? own->chosen.engine() : static_cast<GenerationEngine&>(encoder->engine);
    std::vector<serve::ServedModel> models = {serve::served_model(engine, own ? "" : name)};
    for (const std::string& adapter : engine.adapters())
      models.push_back(serve::served_model(engine, adapter, adapter));
    const auto others = cli::load_others(*o);
    for (const auto& other : others) models.push_back(serve::served_model(other->chosen.engine()));
    if (own && encoder) models.push_back(serve::served_model(encoder->engine));
    server.serve(std::move(models));
    const cli::StopSignal stop;
    if (server.exposed()) {
      fmt::print(stderr, "warning: everybody who can reach {} may use this server; --api-key-file asks for a key\n",
                 o->server.host);
    }
    cli::print_usage(server, own || name.empty() ? engine.model_name() : name, !o->key_file.empty());
    stop.wait();
    fmt::print(stderr, "stopping: answers in the making get {} seconds\n", o->drain);
    server.drain(o->drain);
    server.stop(1);
  };
}
