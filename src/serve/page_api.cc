// What the page asks for beside the API: conversations, ratings, votes, live figures.
#include <ctime>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "serve/openai/fields.h"
#include "serve/server.h"

namespace sedum::serve {
using openai::Failure;
using openai::Fields;
using json = nlohmann::ordered_json;

namespace {

constexpr size_t kMaxTurns = 2000;
constexpr size_t kMaxTitleBytes = 400;

void check_id(const std::string& id) {
  const bool plain = !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return c < 128 && (std::isalnum(c) || c == '-' || c == '_');
  });
  if (!plain) throw Failure(404, "invalid_request_error", "there is no such conversation", "", "not_found");
}

// [{"role", "content"}, …], not empty.
json parse_messages(Fields& fields) {
  fields.required("messages");
  const json& given = *fields.array("messages", kMaxTurns);
  if (given.empty()) fields.fail("messages", "must not be empty");
  json messages = json::array();
  for (size_t i = 0; i < given.size(); ++i) {
    const std::string path = fmt::format("messages[{}].", i);
    if (!given[i].is_object()) fields.wrong_type(fmt::format("messages[{}]", i), "an object", given[i]);
    Fields message(given[i], path);
    const std::string role = message.one_of("role", {"system", "user", "assistant"}, "");
    messages.push_back({{"role", role}, {"content", message.text("content")}});
    message.end();
  }
  return messages;
}

}  // namespace

// A key's conversations are its own. Without keys this machine's people share one history; where others can reach the server, each
// browser has its own, by a random name that it keeps.
std::string Server::owner(const Call& call) const {
  if (access_->has_keys()) return "key:" + call.caller->id;
  if (is_loopback(options_.host)) return "local";
  const std::string browser(call.request.header("x-sedum-browser"));
  if (browser.size() < 16 || browser.size() > 64)
    throw Failure(400, "invalid_request_error",
                  "the header X-Sedum-Browser is needed: 16 to 64 characters of this browser's own");
  return "browser:" + browser;
}

History& Server::history() const {
  if (options_.history) return *options_.history;
  throw Failure(404, "invalid_request_error", "this server keeps no history", "", "not_found");
}

void Server::list_conversations(const Call& call) {
  call.exchange.respond({.body = dump({{"object", "list"}, {"data", history().list(owner(call))}})});
}

void Server::load_conversation(const Call& call) {
  check_id(call.request.rest);
  const auto found = history().load(owner(call), call.request.rest);
  if (!found) throw Failure(404, "invalid_request_error", "there is no such conversation", "", "not_found");
  call.exchange.respond({.body = dump(*found)});
}

void Server::save_conversation(const Call& call) {
  check_id(call.request.rest);
  const json body = openai::parse_object(call.request.body);
  Fields fields(body);
  const std::string title = fields.text("title");
  if (title.size() > kMaxTitleBytes)
    fields.fail("title", fmt::format("must not be longer than {} bytes", kMaxTitleBytes));
  fields.required("turns");
  const json& turns = *fields.array("turns", kMaxTurns);
  for (size_t i = 0; i < turns.size(); ++i)
    if (!turns[i].is_object()) fields.wrong_type(fmt::format("turns[{}]", i), "an object", turns[i]);
  fields.end();
  history().save(owner(call), call.request.rest, title, dump(turns));
  call.exchange.respond({.body = dump({{"id", call.request.rest}})});
}

void Server::erase_conversation(const Call& call) {
  check_id(call.request.rest);
  const bool erased = history().erase(owner(call), call.request.rest);
  if (!erased) throw Failure(404, "invalid_request_error", "there is no such conversation", "", "not_found");
  call.exchange.respond({.body = dump({{"id", call.request.rest}, {"deleted", true}})});
}

void Server::rate(const Call& call) {
  const json body = openai::parse_object(call.request.body);
  Fields fields(body);
  Rating rating{.model = fields.text("model"), .messages = parse_messages(fields), .answer = fields.text("answer")};
  rating.liked = fields.one_of("rating", {"up", "down"}, "") == "up";
  rating.correction = fields.text_or("correction", "");
  fields.end();
  call.exchange.respond({.body = dump({{"id", history().rate(owner(call), rating)}})});
}

void Server::vote(const Call& call) {
  const json body = openai::parse_object(call.request.body);
  Fields fields(body);
  Vote vote{.messages = parse_messages(fields),
            .model_a = fields.text("model_a"),
            .model_b = fields.text("model_b"),
            .answer_a = fields.text("answer_a"),
            .answer_b = fields.text("answer_b"),
            .winner = fields.one_of("winner", {"a", "b", "tie"}, "")};
  fields.end();
  call.exchange.respond(
      {.body = dump({{"id", history().vote(owner(call), vote)}, {"standings", history().standings()}})});
}

void Server::standings(const Call& call) {
  call.exchange.respond({.body = dump({{"object", "list"}, {"data", history().standings()}})});
}

// JSON lines: ?kind=examples (the default), preferences or all; what this owner gave.
void Server::export_feedback(const Call& call) {
  const std::string& query = call.request.query;
  Export kind = Export::kExamples;
  if (query == "kind=preferences")
    kind = Export::kPreferences;
  else if (query == "kind=all")
    kind = Export::kAll;
  else if (!query.empty() && query != "kind=examples")
    throw Failure::invalid("kind", "kind must be one of examples, preferences, all", "invalid_value");
  std::string lines;
  history().export_rows(kind, owner(call), [&](const json& row) { lines += dump(row) + "\n"; });
  call.exchange.respond({.body = std::move(lines), .content_type = "application/jsonl; charset=utf-8"});
}

void Server::stats(const Call& call) {
  json engines = json::array();
  const GenerationEngine* last = nullptr;
  for (const ServedModel& model : ready_ ? models_ : std::vector<ServedModel>{}) {
    if (std::exchange(last, model.engine) == model.engine) continue;  // adapters share their engine
    const EngineStatistics s = model.engine->statistics();
    const auto mean = [](const Histogram& h) { return h.count > 0 ? h.sum / double(h.count) : 0; };
    engines.push_back({{"model", model.name},
                       {"running", s.running},
                       {"waiting", s.waiting},
                       {"pages", s.pages},
                       {"pages_used", s.pages_used},
                       {"pages_cached", s.pages_cached},
                       {"prompt_tokens", s.prompt_tokens},
                       {"cached_tokens", s.cached_tokens},
                       {"generated_tokens", s.generated_tokens},
                       {"first_token_seconds", mean(s.first_token_seconds)},
                       {"between_tokens_seconds", mean(s.between_tokens_seconds)}});
  }
  call.exchange.respond({.body = dump({{"time", std::time(nullptr)},
                                       {"uptime_seconds", std::time(nullptr) - started_},
                                       {"requests_in_flight", access_->in_flight()},
                                       {"history", options_.history != nullptr},
                                       {"documents", options_.documents != nullptr},
                                       {"engines", std::move(engines)}})});
}

}  // namespace sedum::serve
