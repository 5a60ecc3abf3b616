#pragma once
// What people did on the page: their conversations, what they thought of answers, which of two they preferred.
//
//   History history(home / "serve.sqlite");
//   history.save("alice", id, "Watering", turns);
//   history.rate("alice", {.model = "m", .messages = messages, .answer = "…", .liked = false, .correction = "…"});
//   history.export_rows(kind, owner, [](const json& row) { … });     // rows that `sedum data` and `sedum train` read
//
// `owner` says whose something is; nobody sees what another owner has.

#include <functional>
#include <optional>
#include <string>

#include "base/json.h"
#include "serve/store/database.h"

namespace sedum::serve {

struct Rating {
  std::string model;
  nlohmann::ordered_json messages;  // before the answer
  std::string answer;
  bool liked = true;
  std::string correction = {};  // what the answer should have been; "": none given
};

struct Vote {
  nlohmann::ordered_json messages;
  std::string model_a, model_b, answer_a, answer_b;
  std::string winner;  // "a", "b" or "tie"
};

enum class Export {
  kExamples,     // {"messages": […]} of answers that were liked or corrected
  kPreferences,  // {"prompt": […], "chosen": […], "rejected": […]} of corrections and votes
  kAll           // every rating and vote as it was given
};

class History {
 public:
  explicit History(const std::filesystem::path& path);

  nlohmann::ordered_json list(const std::string& owner);  // [{"id", "title", "updated"}], newest first
  std::optional<nlohmann::ordered_json> load(const std::string& owner, const std::string& id);
  void save(const std::string& owner, const std::string& id, const std::string& title, const std::string& turns);
  bool erase(const std::string& owner, const std::string& id);

  int64_t rate(const std::string& owner, const Rating& rating);
  int64_t vote(const std::string& owner, const Vote& vote);
  nlohmann::ordered_json standings();  // [{"model", "wins", "losses", "ties"}], most wins first

  // owner "": everybody's. Returns the number of rows.
  int64_t export_rows(Export kind, const std::string& owner,
                      const std::function<void(const nlohmann::ordered_json&)>& each);

 private:
  Database database_;
};

}  // namespace sedum::serve
