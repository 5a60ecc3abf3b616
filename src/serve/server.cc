#include "serve/server.h"

#include <algorithm>
#include <ctime>
#include <random>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "serve/answer.h"
#include "serve/openai/failure.h"
#include "serve/web/page.h"

namespace sedum::serve {
using openai::Failure;

namespace {

// Takes as long for every wrong key: time must not tell how much of one is right.
bool same_key(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i] ^ b[b.empty() ? 0 : i % b.size()]);
  return difference == 0 && !b.empty();
}

std::string_view host_name(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "[::1]" ||
         host == "::1";
}

uint64_t new_seed() {
  thread_local std::random_device device;
  return (uint64_t(device()) << 32) | device();
}

// One place among the requests in flight, given back with the last copy.
using Place = std::shared_ptr<void>;
Place take_place(const std::shared_ptr<std::atomic<int>>& in_flight, int limit) {
  if (in_flight->fetch_add(1) >= limit) {
    in_flight->fetch_sub(1);
    throw Failure(429, "rate_limit_error", fmt::format("{} requests are in flight already; try again shortly", limit),
                  "", "rate_limit_exceeded");
  }
  return Place(in_flight.get(), [in_flight](void*) { in_flight->fetch_sub(1); });
}

}  // namespace

std::vector<std::string> read_api_keys(const std::string& path) {
  std::vector<std::string> keys;
  std::string line;
  for (const char c : read_file(path) + "\n") {
    if (c != '\n') {
      line += c;
      continue;
    }
    line.erase(std::min(line.find('#'), line.size()));
    line.erase(0, std::min(line.find_first_not_of(" \t\r"), line.size()));
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) keys.push_back(line);
    line.clear();
  }
  if (keys.empty()) throw Error("no key in " + path, "write one into it, on a line of its own");
  return keys;
}

Server::Server(std::vector<ServedModel> models, ServerOptions options)
    : models_(std::move(models)),
      options_(std::move(options)),
      started_(int64_t(std::time(nullptr))),
      http_({.host = options_.host,
             .port = options_.port,
             .limits = options_.limits,
             .error = [](int status, const std::string& message) {
               return response(openai::from_status(status, message));
             }}) {
  SEDUM_CHECK(!models_.empty());
  http_.route("GET", "/", [](const http::Request&, const http::Exchange& exchange) {
    exchange.respond({.body = std::string(web::page()),
                      .content_type = "text/html; charset=utf-8",
                      .headers = {{"Content-Security-Policy", web::kContentSecurityPolicy},
                                  {"X-Content-Type-Options", "nosniff"},
                                  {"Cache-Control", "no-cache"}}});
  });
  http_.route("GET", "/health", [this](const http::Request&, const http::Exchange& exchange) {
    exchange.respond({.body = nlohmann::ordered_json{{"status", "ok"}, {"requests", in_flight_->load()}}.dump()});
  });
  route("POST", "/v1/chat/completions", &Server::chat);
  route("POST", "/v1/completions", &Server::completion);
  route("GET", "/v1/models", &Server::list_models);
  add_model_routes();
}

Server::~Server() { stop(0); }
void Server::start() { http_.start(); }
void Server::stop(double drain_seconds) { http_.stop(drain_seconds); }
bool Server::exposed() const { return options_.api_keys.empty() && !is_loopback(options_.host); }

void Server::route(const char* method, const std::string& path, Handle handle) {
  http_.route(method, path, [this, handle](const http::Request& request, const http::Exchange& exchange) {
    try {
      check_access(request);
      (this->*handle)(request, exchange);
    } catch (const Failure& failure) {
      exchange.respond(response(failure));
    } catch (const std::exception& e) {
      exchange.respond(response(Failure(500, "server_error", e.what())));
    }
  });
}

void Server::add_model_routes() {
  for (const ServedModel& model : models_) {
    http_.route(
        "GET", "/v1/models/" + model.name,
        [this, &model](const http::Request& request, const http::Exchange& exchange) {
          try {
            check_access(request);
            exchange.respond({.body = openai::model_json({model.name, started_, model.engine->context_length()})});
          } catch (const Failure& failure) {
            exchange.respond(response(failure));
          }
        });
  }
}

void Server::check_access(const http::Request& request) const {
  if (!options_.api_keys.empty()) {
    const std::string_view header = request.header("authorization");
    if (header.empty())
      throw Failure(401, "invalid_request_error", "an API key is needed: Authorization: Bearer KEY", "",
                    "missing_api_key");
    const std::string_view key = header.starts_with("Bearer ") ? header.substr(7) : "";
    const bool known = std::any_of(options_.api_keys.begin(), options_.api_keys.end(),
                                   [&](const auto& k) { return same_key(key, k); });
    if (!known) throw Failure(401, "invalid_request_error", "this API key is not known", "", "invalid_api_key");
    return;
  }
  const std::string_view host = request.header("host"), origin = request.header("origin");
  const bool foreign_name = is_loopback(options_.host) && !host.empty() && !is_loopback(host_name(host));
  const bool foreign_page =
      !origin.empty() && origin != "http://" + std::string(host) && origin != "https://" + std::string(host);
  if (foreign_name || foreign_page) {
    throw Failure(403, "invalid_request_error", "pages of other sites may not use this server unless it has an API key",
                  "", "forbidden_origin");
  }
}

const ServedModel& Server::find_model(const std::string& name) const {
  for (const ServedModel& model : models_)
    if (model.name == name) return model;
  std::vector<std::string> names;
  for (const ServedModel& model : models_) names.push_back(model.name);
  throw Failure(404, "invalid_request_error",
                "the model \"" + name + "\" is not served here; there is " + fmt::format("{}", fmt::join(names, ", ")),
                "model", "model_not_found");
}

void Server::list_models(const http::Request&, const http::Exchange& exchange) {
  std::vector<openai::ModelEntry> entries;
  for (const ServedModel& model : models_) entries.push_back({model.name, started_, model.engine->context_length()});
  exchange.respond({.body = openai::models_json(entries)});
}

void Server::chat(const http::Request& request, const http::Exchange& exchange) {
  const openai::ChatRequest chat = openai::parse_chat(request.body);
  const ServedModel& model = find_model(chat.model);
  std::vector<int32_t> prompt;
  try {
    prompt = model.encode_chat(chat.messages);
  } catch (const Error& e) {
    throw Failure::invalid("messages", e.what());
  }
  generate(model, chat, {std::move(prompt)}, {}, true, exchange);
}

void Server::completion(const http::Request& request, const http::Exchange& exchange) {
  const openai::CompletionRequest completion = openai::parse_completion(request.body);
  const ServedModel& model = find_model(completion.model);
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> prefixes;
  for (const openai::Prompt& prompt : completion.prompts) {
    const std::string* text = std::get_if<std::string>(&prompt);
    std::vector<int32_t> ids = text ? model.encode_text(*text) : std::get<std::vector<int32_t>>(prompt);
    for (const int32_t id : ids) {
      if (id < 0 || id >= model.vocabulary)
        throw Failure::invalid("prompt", fmt::format("the model has no token {}", id), "invalid_value");
    }
    if (completion.echo) prefixes.insert(prefixes.end(), size_t(completion.n), text ? *text : model.decode(ids));
    prompts.push_back(std::move(ids));
  }
  generate(model, completion, std::move(prompts), std::move(prefixes), false, exchange);
}

void Server::generate(const ServedModel& model, const openai::CommonRequest& common,
                      std::vector<std::vector<int32_t>> prompts, std::vector<std::string> prefixes, bool is_chat,
                      const http::Exchange& exchange) {
  const char* field = is_chat ? "messages" : "prompt";
  for (const auto& prompt : prompts) {
    if (prompt.empty()) throw Failure::invalid(field, std::string(field) + " must not be empty", "invalid_value");
    if (int64_t(prompt.size()) < model.engine->context_length()) continue;
    throw Failure::invalid(
        field,
        fmt::format("{} take {} tokens; the context of this model holds {}, and the answer needs room in it", field,
                    prompt.size(), model.engine->context_length()),
        "context_length_exceeded");
  }
  if (prompts.size() * size_t(common.n) > openai::kMaxPrompts) {
    throw Failure::invalid("n", fmt::format("a request may have at most {} answers", openai::kMaxPrompts),
                           "invalid_value");
  }
  const Place place = take_place(in_flight_, options_.max_requests);
  Answer::Options options{.choices = int(prompts.size()) * common.n,
                          .choices_per_prompt = common.n,
                          .stream = common.stream,
                          .prefixes = std::move(prefixes)};
  options.done = [place, log = options_.log, is_chat](const openai::Usage& usage, double seconds) {
    if (!log) return;
    log(fmt::format("{}: {} + {} tokens in {}", is_chat ? "chat" : "completion", usage.prompt_tokens,
                    usage.completion_tokens, format_duration(seconds)));
  };
  const auto kind = is_chat ? openai::Kind::kChat : openai::Kind::kCompletion;
  const auto answer =
      std::make_shared<Answer>(exchange, openai::make_head(kind, model.name, common.include_usage), std::move(options));

  const uint64_t seed = common.seed ? *common.seed : new_seed();
  std::vector<RequestId> ids;
  const auto cancel = [engine = model.engine](const std::vector<RequestId>& submitted) {
    for (const RequestId id : submitted) engine->cancel(id);
  };
  int index = 0;
  try {
    for (const auto& prompt : prompts) {
      for (int i = 0; i < common.n; ++i, ++index) {
        GenerationRequest generation{.prompt = prompt, .sampling = common.sampling};
        generation.sampling.seed = seed + uint64_t(i);
        ids.push_back(model.engine->submit(std::move(generation),
                                           [answer, index](const GenerationUpdate& u) { answer->update(index, u); }));
      }
    }
  } catch (const Error& e) {
    answer->fail(Failure::invalid("", e.what()));
    return cancel(ids);
  }
  exchange.on_close([cancel, ids] { cancel(ids); });
}

}  // namespace sedum::serve
