#include "serve/server.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/json.h"
#include "serve/anthropic/request.h"
#include "serve/openai/failure.h"
#include "serve/web/assets.h"

namespace sedum::serve {
using openai::Failure;
using json = nlohmann::ordered_json;

namespace {

constexpr char kMessages[] = "/v1/messages";

std::string iso_time(int64_t seconds) {
  const std::time_t time = std::time_t(seconds);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

// What both OpenAI's and Anthropic's clients find in it.
json model_json(const ServedModel& model, int64_t started) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", started},
          {"owned_by", "sedum"},
          {"context_length", model.engine->context_length()},
          {"generates", model.engine->generates()},
          {"adapter", model.adapter.empty() ? json() : json(model.adapter)},
          {"type", "model"},
          {"display_name", model.name},
          {"created_at", iso_time(started)}};
}

// A pattern of the numbers 0 … last: fewer digits; those that agree up to a digit, which is less; the last itself. 319:
// "^(0|[1-9][0-9]{0,1}|[1-2][0-9]{2}|3[0-0][0-9]{1}|31[0-8][0-9]{0}|319)$".
std::string numbers_up_to(int last) {
  const std::string digits = std::to_string(last);
  std::string pattern = digits.size() > 1 ? fmt::format("^(0|[1-9][0-9]{{0,{}}}|", digits.size() - 2) : "^(";
  for (size_t i = 0; i < digits.size(); ++i) {
    const char least = i == 0 && digits.size() > 1 ? '1' : '0';
    if (digits[i] > least)
      pattern +=
          fmt::format("{}[{}-{}][0-9]{{{}}}|", digits.substr(0, i), least, char(digits[i] - 1), digits.size() - i - 1);
  }
  return pattern + digits + ")$";
}

http::Server::Options http_options(const ServerOptions& options, std::function<void(const http::Record&)> log) {
  http::Server::Options http{.host = options.host, .port = options.port, .limits = options.limits};
  http.error = [](int status, const std::string& message) { return response(openai::from_status(status, message)); };
  http.log = std::move(log);
  return http;
}

}  // namespace

Server::Server(ServerOptions options)
    : options_(std::move(options)),
      started_(int64_t(std::time(nullptr))),
      access_(std::make_shared<Access>(options_.api_keys, Access::Options{.max_requests = options_.max_requests,
                                                                          .local = is_loopback(options_.host),
                                                                          .allowed_hosts = options_.allowed_hosts})),
      http_(http_options(options_, [this](const http::Record& record) { answered(record); })) {
  route_assets();
  http_.route("GET", "/health", [this](const http::Request&, const http::Exchange& e) { health(e); });
  http_.route("GET", "/ready", [this](const http::Request&, const http::Exchange& e) { ready(e); });
  route("GET", "/metrics", &Server::metrics);
  route("GET", "/v1/models", &Server::list_models);
  route("GET", "/v1/models/*", &Server::one_model);
  route("POST", "/v1/chat/completions", &Server::chat);
  route("POST", "/v1/completions", &Server::completion);
  route("POST", "/v1/responses", &Server::responses);
  route("POST", "/v1/embeddings", &Server::embeddings);
  route("POST", kMessages, &Server::messages);
  route("POST", "/v1/messages/count_tokens", &Server::count_tokens);
  route("POST", "/tokenize", &Server::tokenize);
  route("POST", "/detokenize", &Server::detokenize);
  route("GET", "/sedum/conversations", &Server::list_conversations);
  route("GET", "/sedum/conversations/*", &Server::load_conversation);
  route("PUT", "/sedum/conversations/*", &Server::save_conversation);
  route("DELETE", "/sedum/conversations/*", &Server::erase_conversation);
  route("POST", "/sedum/feedback", &Server::rate);
  route("GET", "/sedum/feedback", &Server::export_feedback);
  route("POST", "/sedum/votes", &Server::vote);
  route("GET", "/sedum/votes", &Server::standings);
  route("GET", "/sedum/stats", &Server::stats);
}

Server::~Server() { stop(0); }
void Server::start() { http_.start(); }

void Server::serve(std::vector<ServedModel> models) {
  SEDUM_CHECK(!models.empty() && !ready_);
  std::set<std::string> names;
  for (const ServedModel& model : models)
    if (!names.insert(model.name).second)
      throw Error("two models are called " + model.name,
                  "give one of them another: --name, --lora NAME=…, --also NAME=…");
  models_ = std::move(models);
  ready_ = true;
}

void Server::drain(double seconds) {
  draining_ = true;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (access_->in_flight() > 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

void Server::stop(double drain_seconds) { http_.stop(drain_seconds); }
bool Server::exposed() const { return options_.api_keys.empty() && !is_loopback(options_.host); }

void Server::route(const char* method, const std::string& path, Handle handle) {
  const bool anthropic_errors = path.starts_with(kMessages);
  http_.route(method, path, [=, this](const http::Request& request, const http::Exchange& exchange) {
    const auto refuse = [&](const Failure& failure) {
      exchange.note("error", failure.what());
      exchange.respond(anthropic_errors ? anthropic::response(failure) : response(failure));
    };
    exchange.note("route", path);
    try {
      Caller* caller = access_->check(request);
      if (!caller->name.empty()) exchange.note("key", caller->name);
      if (options_.log_prompts) exchange.note("body", request.body);
      (this->*handle)({request, exchange, caller});
    } catch (const Failure& failure) {
      refuse(failure);
    } catch (const std::exception& e) {
      refuse(Failure(500, "server_error", e.what()));
    }
  });
}

void Server::route_assets() {
  for (const web::Asset& asset : web::assets()) {
    const bool description = asset.path == std::string_view("/openapi.json");
    http_.route("GET", asset.path, [=, this](const http::Request&, const http::Exchange& exchange) {
      exchange.respond({.body = description && ready_ ? describe(asset.content) : std::string(asset.content),
                        .content_type = asset.type,
                        .headers = {{"Content-Security-Policy", web::kContentSecurityPolicy},
                                    {"X-Content-Type-Options", "nosniff"},
                                    {"Referrer-Policy", "no-referrer"},
                                    {"Cache-Control", "no-cache"}}});
    });
  }
}

// The API's description with what only this server knows: its models' names, and which tokens all of them have.
std::string Server::describe(std::string_view openapi) const {
  json api = parse_json<json>(openapi);
  json& schemas = api["components"]["schemas"];
  int vocabulary = models_[0].vocabulary;
  for (const ServedModel& model : models_) {
    schemas["ModelName"]["enum"].push_back(model.name);
    vocabulary = std::min(vocabulary, model.vocabulary);
  }
  schemas["TokenId"]["maximum"] = vocabulary - 1;
  json& biases = schemas["sampling_logit_bias"]["patternProperties"];
  biases = {{numbers_up_to(vocabulary - 1), biases.front()}};
  for (auto& [path, methods] : api["paths"].items()) {
    for (json& method : methods) {
      const json::json_pointer model("/requestBody/content/application~1json/example/model");
      if (method.contains(model)) method[model] = models_[0].name;
    }
  }
  return api.dump(1);
}

void Server::answered(const http::Record& record) {
  metrics_.answered(record.notes.value("route", "other"), record.status);
  if (options_.log) options_.log(record);
}

const ServedModel& Server::find_model(const std::string& name) const {
  check_running();
  for (const ServedModel& model : models_)
    if (model.name == name) return model;
  std::vector<std::string> names;
  for (const ServedModel& model : models_) names.push_back(model.name);
  throw Failure(404, "invalid_request_error",
                "the model \"" + name + "\" is not served here; there is " + fmt::format("{}", fmt::join(names, ", ")),
                "model", "model_not_found");
}

void Server::check_running() const {
  if (draining_) throw Failure(503, "server_error", "the server is stopping", "", "overloaded");
  if (!ready_) throw Failure(503, "server_error", "the model is still being loaded", "", "overloaded");
}

void Server::health(const http::Exchange& exchange) const {
  exchange.note("route", "/health");
  exchange.respond({.body = json{{"status", "ok"}, {"requests", access_->in_flight()}}.dump()});
}

void Server::ready(const http::Exchange& exchange) const {
  exchange.note("route", "/ready");
  const char* status = draining_ ? "stopping" : ready_ ? "ready" : "loading";
  exchange.respond({.status = ready_ && !draining_ ? 200 : 503, .body = json{{"status", status}}.dump()});
}

void Server::metrics(const Call& call) {
  std::vector<std::pair<std::string, EngineStatistics>> engines;
  std::set<const GenerationEngine*> seen;
  if (ready_)
    for (const ServedModel& model : models_)
      if (seen.insert(model.engine).second) engines.emplace_back(model.name, model.engine->statistics());
  call.exchange.respond({.body = metrics_.text(engines, access_->in_flight()), .content_type = kMetricsType});
}

void Server::list_models(const Call& call) {
  check_running();
  json data = json::array();
  for (const ServedModel& model : models_) data.push_back(model_json(model, started_));
  const json list = {{"object", "list"},
                     {"data", std::move(data)},
                     {"has_more", false},
                     {"first_id", models_.front().name},
                     {"last_id", models_.back().name}};
  call.exchange.respond({.body = dump(list)});
}

void Server::one_model(const Call& call) {
  call.exchange.respond({.body = dump(model_json(find_model(call.request.rest), started_))});
}

}  // namespace sedum::serve
