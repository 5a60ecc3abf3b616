#include "serve/store/history.h"

#include <algorithm>
#include <ctime>
#include <map>

#include "base/json.h"

namespace sedum::serve {
using json = nlohmann::ordered_json;

namespace {

constexpr char kTables[] = R"(
CREATE TABLE IF NOT EXISTS conversations (
  owner TEXT NOT NULL, id TEXT NOT NULL, title TEXT NOT NULL, updated INTEGER NOT NULL, turns TEXT NOT NULL,
  PRIMARY KEY (owner, id));
CREATE TABLE IF NOT EXISTS ratings (
  id INTEGER PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT NULL, model TEXT NOT NULL, messages TEXT NOT NULL,
  answer TEXT NOT NULL, liked INTEGER NOT NULL, correction TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS votes (
  id INTEGER PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT NULL, messages TEXT NOT NULL, model_a TEXT NOT NULL,
  model_b TEXT NOT NULL, answer_a TEXT NOT NULL, answer_b TEXT NOT NULL, winner TEXT NOT NULL);
)";

std::string text_of(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }
json assistant(const std::string& content) { return {{"role", "assistant"}, {"content", content}}; }
json preference(const json& messages, const std::string& chosen, const std::string& rejected) {
  return {{"prompt", messages},
          {"chosen", json::array({assistant(chosen)})},
          {"rejected", json::array({assistant(rejected)})}};
}

std::optional<json> rating_row(Export kind, const Rating& r, int64_t created) {
  if (kind == Export::kAll)
    return json{{"kind", "rating"},
                {"created", created},
                {"model", r.model},
                {"messages", r.messages},
                {"answer", r.answer},
                {"liked", r.liked},
                {"correction", r.correction.empty() ? json() : json(r.correction)}};
  if (kind == Export::kPreferences) {
    if (r.correction.empty() || r.correction == r.answer) return {};
    return preference(r.messages, r.correction, r.answer);
  }
  if (!r.liked && r.correction.empty()) return {};
  json messages = r.messages;
  messages.push_back(assistant(r.correction.empty() ? r.answer : r.correction));
  return json{{"messages", std::move(messages)}};
}

std::optional<json> vote_row(Export kind, const Vote& v, int64_t created) {
  if (kind == Export::kAll)
    return json{{"kind", "vote"},       {"created", created},     {"messages", v.messages}, {"model_a", v.model_a},
                {"model_b", v.model_b}, {"answer_a", v.answer_a}, {"answer_b", v.answer_b}, {"winner", v.winner}};
  if (kind != Export::kPreferences || v.winner == "tie" || v.answer_a == v.answer_b) return {};
  const bool a = v.winner == "a";
  return preference(v.messages, a ? v.answer_a : v.answer_b, a ? v.answer_b : v.answer_a);
}

}  // namespace

History::History(const std::filesystem::path& path) : database_(path) { database_.run(kTables); }

json History::list(const std::string& owner) {
  json all = json::array();
  database_.query("SELECT id, title, updated FROM conversations WHERE owner = ? ORDER BY updated DESC, id LIMIT 1000",
                  {owner}, [&](const Row& row) {
                    all.push_back({{"id", row.text(0)}, {"title", row.text(1)}, {"updated", row.integer(2)}});
                  });
  return all;
}

std::optional<json> History::load(const std::string& owner, const std::string& id) {
  std::optional<json> found;
  database_.query("SELECT title, updated, turns FROM conversations WHERE owner = ? AND id = ?", {owner, id},
                  [&](const Row& row) {
                    found = json{{"id", id},
                                 {"title", row.text(0)},
                                 {"updated", row.integer(1)},
                                 {"turns", try_parse_json<json>(row.text(2))}};
                  });
  return found;
}

void History::save(const std::string& owner, const std::string& id, const std::string& title,
                   const std::string& turns) {
  database_.query(
      "INSERT INTO conversations (owner, id, title, updated, turns) VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner, id) DO "
      "UPDATE SET "
      "title = excluded.title, updated = excluded.updated, turns = excluded.turns",
      {owner, id, title, int64_t(std::time(nullptr)), turns});
}

bool History::erase(const std::string& owner, const std::string& id) {
  return database_.query("DELETE FROM conversations WHERE owner = ? AND id = ?", {owner, id}) > 0;
}

int64_t History::rate(const std::string& owner, const Rating& r) {
  database_.query(
      "INSERT INTO ratings (owner, created, model, messages, answer, liked, correction) VALUES (?, ?, ?, ?, ?, ?, ?)",
      {owner, int64_t(std::time(nullptr)), r.model, text_of(r.messages), r.answer, int64_t(r.liked), r.correction});
  return database_.last_id();
}

int64_t History::vote(const std::string& owner, const Vote& v) {
  database_.query(
      "INSERT INTO votes (owner, created, messages, model_a, model_b, answer_a, answer_b, winner) VALUES (?, ?, ?, ?, "
      "?, ?, ?, ?)",
      {owner, int64_t(std::time(nullptr)), text_of(v.messages), v.model_a, v.model_b, v.answer_a, v.answer_b,
       v.winner});
  return database_.last_id();
}

json History::standings() {
  struct Count {
    int64_t wins = 0, losses = 0, ties = 0;
  };
  std::map<std::string, Count> models;
  database_.query("SELECT model_a, model_b, winner FROM votes WHERE model_a <> model_b", {}, [&](const Row& row) {
    Count &a = models[row.text(0)], &b = models[row.text(1)];
    const std::string winner = row.text(2);
    if (winner == "tie")
      ++a.ties, ++b.ties;
    else
      ++(winner == "a" ? a : b).wins, ++(winner == "a" ? b : a).losses;
  });
  std::vector<std::pair<std::string, Count>> sorted(models.begin(), models.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& x, const auto& y) { return x.second.wins > y.second.wins; });
  json all = json::array();
  for (const auto& [model, count] : sorted)
    all.push_back({{"model", model}, {"wins", count.wins}, {"losses", count.losses}, {"ties", count.ties}});
  return all;
}

int64_t History::export_rows(Export kind, const std::string& owner, const std::function<void(const json&)>& each) {
  int64_t count = 0;
  const auto give = [&](const std::optional<json>& row) {
    if (row) each(*row), ++count;
  };
  const std::string of = " WHERE (? = '' OR owner = ?) ORDER BY id";
  database_.query("SELECT created, model, messages, answer, liked, correction FROM ratings" + of, {owner, owner},
                  [&](const Row& row) {
                    const Rating r{.model = row.text(1),
                                   .messages = try_parse_json<json>(row.text(2)),
                                   .answer = row.text(3),
                                   .liked = row.integer(4) != 0,
                                   .correction = row.text(5)};
                    give(rating_row(kind, r, row.integer(0)));
                  });
  database_.query("SELECT created, messages, model_a, model_b, answer_a, answer_b, winner FROM votes" + of,
                  {owner, owner}, [&](const Row& row) {
                    const Vote v{.messages = try_parse_json<json>(row.text(1)),
                                 .model_a = row.text(2),
                                 .model_b = row.text(3),
                                 .answer_a = row.text(4),
                                 .answer_b = row.text(5),
                                 .winner = row.text(6)};
                    give(vote_row(kind, v, row.integer(0)));
                  });
  return count;
}

}  // namespace sedum::serve
