#include "data/preference.h"

#include "base/error.h"
#include "base/json.h"
#include "data/rows.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void fail(const Origin& origin, const std::string& problem, const std::string& mend) {
  throw Error(origin.to_string() + ": " + problem, mend);
}

const Json* find(const Json& columns, const char* name) {
  const auto found = columns.find(name);
  return found == columns.end() || found->is_null() ? nullptr : &*found;
}

// A text as one message of that role; a message or a list of messages as they are.
Json as_messages(const Json& value, const char* role) {
  if (value.is_string()) return Json::array({{{"role", role}, {"content", value}}});
  if (value.is_object()) return Json::array({value});
  return value;
}

Json joined(Json first, const Json& rest) {
  if (first.is_array() && rest.is_array())
    for (const Json& message : rest) first.push_back(message);
  return first;
}

// The row with `answer` as its last word, in a form that to_conversation knows.
Json with_answer(const Json& columns, const Json& answer, const Origin& origin) {
  for (const char* list : {"messages", "conversations"})
    if (const Json* before = find(columns, list)) {
      Json last = answer;
      if (answer.is_string())
        last = std::string(list) == "messages" ? Json{{"role", "assistant"}, {"content", answer}}
                                               : Json{{"from", "gpt"}, {"value", answer}};
      Json row{{list, joined(*before, last.is_array() ? last : Json::array({last}))}};
      if (const Json* system = find(columns, "system")) row["system"] = *system;
      return row;
    }
  if (const Json* prompt = find(columns, "prompt"))
    return {{"messages", joined(as_messages(*prompt, "user"), as_messages(answer, "assistant"))}};
  if (columns.contains("instruction") || columns.contains("input")) {
    if (!answer.is_string()) fail(origin, "the answer beside instruction is no text", "write a text, or use messages");
    Json row = columns;
    row.erase("chosen"), row.erase("rejected");
    row["output"] = answer;
    return row;
  }
  if (answer.is_array()) return {{"messages", answer}};
  fail(origin, "the row has no question", "add prompt, instruction or messages");
}

Conversation judged(const Json& columns, const Json& answer, const Origin& origin) {
  Conversation c = to_conversation(with_answer(columns, answer, origin), origin);
  if (c.messages.size() < 2 || c.messages.back().role != "assistant")
    fail(origin, "the row does not end with an answer to a question", "let the assistant speak last");
  return c;
}

template <class T, class F>
std::vector<T> read_rows(const std::filesystem::path& path, F&& convert) {
  RowReader reader(path);
  std::vector<T> all;
  while (const auto row = reader.next()) all.push_back(convert(*row->columns, row->origin));
  if (all.empty()) throw Error(path.string() + ": the file has no rows", "add some, one JSON object a line");
  return all;
}

}  // namespace

Preference to_preference(const Json& columns, const Origin& origin) {
  const Json *chosen = find(columns, "chosen"), *rejected = find(columns, "rejected");
  if (!chosen || !rejected)
    fail(origin, std::string("the row has no column \"") + (chosen ? "rejected" : "chosen") + "\"",
         "write {\"prompt\": …, \"chosen\": …, \"rejected\": …}");
  Preference p{judged(columns, *chosen, origin), judged(columns, *rejected, origin)};
  if (p.chosen.messages == p.rejected.messages)
    fail(origin, "chosen and rejected are the same", "remove the row: it prefers nothing");
  return p;
}

Judgement to_judgement(const Json& columns, const Origin& origin) {
  const Json* label = find(columns, "label");
  if (!label) label = find(columns, "kto_tag");
  if (!label || !label->is_boolean())
    fail(origin, "the row has no column \"label\" with true or false",
         "write {\"prompt\": …, \"completion\": …, \"label\": true}");
  if (const Json* completion = find(columns, "completion"))
    return {judged(columns, *completion, origin), label->get<bool>()};
  Conversation c = to_conversation(columns, origin);
  if (c.messages.size() < 2 || c.messages.back().role != "assistant")
    fail(origin, "the row does not end with an answer to a question", "let the assistant speak last");
  return {std::move(c), label->get<bool>()};
}

std::vector<Preference> read_preferences(const std::filesystem::path& path) {
  return read_rows<Preference>(path, to_preference);
}
std::vector<Judgement> read_judgements(const std::filesystem::path& path) {
  return read_rows<Judgement>(path, to_judgement);
}

}  // namespace sedum::data
