#include "data/conversation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/unicode.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos; }

// A name from a file, fit for a message.
std::string shortened(const std::string& name) {
  return unicode::replace_invalid(std::string_view(name).substr(0, 40));
}

std::string quoted(const std::string& name) { return '"' + shortened(name) + '"'; }

// The value of a column, or null when it is absent or holds null.
const Json* find(const Json& object, const std::string& name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// Reads one row; holds what every message about it needs.
class RowConverter {
 public:
  RowConverter(const Json& columns, const Origin& origin, const ColumnNames& names)
      : columns_(columns), origin_(origin), names_(names) {}

  Conversation convert() {
    result_.origin = origin_;
    if (const Json* tools = find(columns_, names_.tools);
        tools && !tools->empty() && !(tools->is_string() && *tools == ""))
      fail("the row brings tools along (" + quoted(names_.tools) + "), which cannot be trained on",
           "remove the column, or the row");
    if (const Json* list = find(columns_, names_.messages))
      read_messages(*list, names_.messages);
    else if (const Json* turns = find(columns_, names_.conversations))
      read_messages(*turns, names_.conversations);
    else if (columns_.contains(names_.prompt) || columns_.contains(names_.response) || columns_.contains(names_.query))
      read_alpaca();
    else if (columns_.contains(names_.text))
      read_text();
    else
      fail_unknown_form();
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(const std::string& problem, const std::string& mend) const {
    throw Error(origin_.to_string() + ": " + problem, mend);
  }

  [[noreturn]] void fail_unknown_form() const {
    const std::array<std::string, 6> known = {names_.prompt,   names_.query,         names_.response,
                                              names_.messages, names_.conversations, names_.text};
    std::string found, mend;
    for (const auto& [name, value] : columns_.items()) {
      if (found.size() > 100) break;
      found += (found.empty() ? "" : ", ") + shortened(name);
      if (const std::string near = nearest_name(name, known); mend.empty() && !near.empty())
        mend = "rename " + quoted(name) + " to " + quoted(near);
    }
    if (mend.empty())
      mend = "use " + names_.prompt + "/" + names_.query + "/" + names_.response + ", " + names_.messages + ", " +
             names_.conversations + " or " + names_.text;
    fail(found.empty() ? "the row has no columns" : "the row has no column that is known here (it has: " + found + ")",
         mend);
  }

  // A column that should hold text; absent reads as empty.
  std::string text_column(const std::string& name) const {
    const Json* value = find(columns_, name);
    if (!value) return "";
    if (!value->is_string())
      fail("column " + quoted(name) + " holds " + a(value->type_name()) + " instead of text", "put it in quotes");
    return value->get<std::string>();
  }

  static std::string a(const std::string& type) { return (type == "array" || type == "object" ? "an " : "a ") + type; }

  // "is missing" or "is empty", and for what is missing the column that may have been meant.
  void require(const std::string& value, const char* what, const std::string& column) const {
    if (!is_blank(value)) return;
    std::string mend = "fill " + quoted(column) + ", or remove the row";
    const bool missing = !columns_.contains(column);
    if (missing) {
      const std::array<std::string, 1> wanted = {column};
      for (const auto& [name, ignored] : columns_.items())
        if (!nearest_name(name, wanted).empty()) mend = "rename " + quoted(name) + " to " + quoted(column);
    }
    fail(std::string("the row has no ") + what + " (" + column + (missing ? " is missing)" : " is empty)"), mend);
  }

  void add(std::string role, std::string content) { result_.messages.push_back({std::move(role), std::move(content)}); }

  void read_alpaca() {
    if (std::string system = text_column(names_.system); !is_blank(system)) add("system", std::move(system));
    if (const Json* history = find(columns_, names_.history)) read_history(*history);
    const std::string prompt = text_column(names_.prompt), query = text_column(names_.query);
    std::string answer = text_column(names_.response);
    if (is_blank(query)) require(prompt, "question", names_.prompt);
    require(answer, "answer", names_.response);
    add("user", is_blank(query) ? prompt : is_blank(prompt) ? query : prompt + "\n" + query);
    add("assistant", std::move(answer));
  }

  void read_history(const Json& history) {
    const std::string shape = "column " + quoted(names_.history) + " must be a list of [question, answer]";
    if (!history.is_array()) fail(shape, "remove the column, or write [[\"question\", \"answer\"], …]");
    for (const Json& turn : history) {
      if (!turn.is_array() || turn.size() != 2 || !turn[0].is_string() || !turn[1].is_string())
        fail(shape, "remove the column, or write [[\"question\", \"answer\"], …]");
      if (is_blank(turn[0].get_ref<const std::string&>()) || is_blank(turn[1].get_ref<const std::string&>()))
        fail("column " + quoted(names_.history) + " has an empty question or answer", "fill it, or remove the turn");
      add("user", turn[0]);
      add("assistant", turn[1]);
    }
  }

  void read_text() {
    result_.text = text_column(names_.text);
    require(result_.text, "text", names_.text);
  }

  void read_messages(const Json& list, const std::string& column) {
    if (!list.is_array())
      fail("column " + quoted(column) + " must be a list of messages", "write [{\"role\": …, \"content\": …}, …]");
    // Beside messages, LLaMA-Factory keeps the system prompt in a column of its own.
    if (std::string system = text_column(names_.system); !is_blank(system)) add("system", std::move(system));
    size_t number = 0;
    for (const Json& message : list) read_message(message, ++number);
    check_order();
  }

  void read_message(const Json& message, size_t number) {
    const std::string which = "message " + std::to_string(number);
    if (!message.is_object())
      fail(which + " is " + a(message.type_name()) + ", not an object", "write {\"role\": …, \"content\": …}");
    const bool share_gpt = message.contains("from") || message.contains("value");
    const char *role_key = share_gpt ? "from" : "role", *content_key = share_gpt ? "value" : "content";
    const Json* role = find(message, role_key);
    if (!role || !role->is_string())
      fail(which + " has no " + quoted(role_key), "say who speaks: \"user\" or \"assistant\"");
    if (const Json* calls = find(message, "tool_calls"); (calls && !calls->empty()) || *role == "function_call")
      fail(which + " calls a tool, which cannot be trained on", "remove the row");
    std::string name = role_name(role->get<std::string>(), which),
                content = message_content(message, content_key, which);
    if (name == "system" && !result_.messages.empty())
      fail(which + " is a system message, but not the first", "put one system message before all others");
    if (name == "assistant" && is_blank(content))
      fail("the row has no answer (" + which + " is empty)", "fill " + quoted(content_key) + ", or remove the row");
    if (name == "user" && is_blank(content))
      fail("the row has no question (" + which + " is empty)", "fill " + quoted(content_key) + ", or remove the row");
    if (name == "system" && is_blank(content)) return;
    add(std::move(name), std::move(content));
  }

  std::string role_name(const std::string& role, const std::string& which) const {
    static const std::map<std::string, std::string> names = {
        {"system", "system"}, {"user", "user"},         {"human", "user"},      {"assistant", "assistant"},
        {"gpt", "assistant"}, {"model", "assistant"},   {"tool", "tool"},       {"observation", "tool"},
        {"bot", "assistant"}, {"chatgpt", "assistant"}, {"developer", "system"}};
    if (const auto found = names.find(role); found != names.end()) return found->second;
    std::vector<std::string> known;
    for (const auto& [name, ignored] : names) known.push_back(name);
    const std::string near = nearest_name(role, known);
    fail(which + " has the role " + quoted(role) + ", which is not known",
         near.empty() ? "use system, user, assistant or tool" : "did you mean " + quoted(near) + "?");
  }

  // A text, or OpenAI's list of parts as far as they are texts.
  std::string message_content(const Json& message, const char* key, const std::string& which) const {
    const Json* content = find(message, key);
    if (!content) return "";
    if (content->is_string()) return content->get<std::string>();
    if (!content->is_array())
      fail(which + ": " + quoted(key) + " holds " + a(content->type_name()) + " instead of text", "put it in quotes");
    std::string text;
    for (const Json& part : *content) {
      const bool is_part =
          part.is_object() && part.value("type", Json()) == "text" && part.contains("text") && part["text"].is_string();
      if (!is_part) fail(which + " has a part that is no text", "remove images and other parts, or the row");
      text += part["text"].get_ref<const std::string&>();
    }
    return text;
  }

  void check_order() const {
    const auto& messages = result_.messages;
    if (messages.empty()) fail("the row has no messages", "add a user's and an assistant's message, or remove the row");
    const bool asked = std::any_of(messages.begin(), messages.end(), [](const Message& m) { return m.role == "user"; });
    if (!asked) fail("the row has no question (no message is the user's)", "add a user's message, or remove the row");
    if (messages.back().role != "assistant")
      fail("the row has no answer (the last message is of the role " + quoted(messages.back().role) + ")",
           "add an assistant's message, or remove the row");
  }

  const Json& columns_;
  const Origin& origin_;
  const ColumnNames& names_;
  Conversation result_;
};

}  // namespace

std::string Origin::to_string() const { return source + (in_array ? ", row " : ":") + std::to_string(line); }

ColumnNames ColumnNames::from_map(const std::map<std::string, std::string>& given) {
  ColumnNames names;
  const std::map<std::string, std::string*> members = {
      {"prompt", &names.prompt}, {"query", &names.query},     {"response", &names.response},
      {"system", &names.system}, {"history", &names.history}, {"messages", &names.messages},
      {"text", &names.text},     {"tools", &names.tools},     {"conversations", &names.conversations}};
  std::vector<std::string> known;
  for (const auto& [name, member] : members) known.push_back(name);
  for (const auto& [name, column] : given) {
    const auto member = members.find(name);
    if (member == members.end()) {
      const std::string near = nearest_name(name, known);
      throw Error("columns: " + quoted(name) + " is not known",
                  near.empty()
                      ? "known are prompt, query, response, system, history, messages, conversations, text, tools"
                      : "did you mean " + quoted(near) + "?");
    }
    *member->second = column;
  }
  return names;
}

Conversation to_conversation(const Json& columns, const Origin& origin, const ColumnNames& names) {
  if (!columns.is_object())
    throw ApiError("to_conversation", std::string("the row is no object but ") + columns.type_name());
  return RowConverter(columns, origin, names).convert();
}

Json messages_json(const Conversation& conversation) {
  Json list = Json::array();
  for (const Message& message : conversation.messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  return list;
}

Json to_chat(const Conversation& conversation) {
  Json row = Json::object();
  if (conversation.is_text())
    row["text"] = conversation.text;
  else
    row["messages"] = messages_json(conversation);
  return row;
}

Json to_alpaca(const Conversation& conversation) {
  const auto& messages = conversation.messages;
  const bool has_system = !messages.empty() && messages[0].role == "system";
  const size_t first = has_system ? 1 : 0, count = messages.size() - first;
  bool alternates = count >= 2 && count % 2 == 0;
  for (size_t i = 0; i < count; ++i)
    alternates = alternates && messages[first + i].role == (i % 2 ? "assistant" : "user");
  if (!alternates)
    throw Error(conversation.origin.to_string() +
                    ": the Alpaca form holds questions and answers in turn, which this row is not",
                "keep it in chat form");
  Json row = {
      {"instruction", messages[messages.size() - 2].content}, {"input", ""}, {"output", messages.back().content}};
  if (has_system) row["system"] = messages[0].content;
  for (size_t i = first; i + 2 < messages.size(); i += 2)
    row["history"].push_back(Json::array({messages[i].content, messages[i + 1].content}));
  return row;
}

std::string joined_text(const Conversation& conversation) {
  std::string all = conversation.text;
  for (const Message& message : conversation.messages) {
    if (!all.empty()) all += '\n';
    all += message.content;
  }
  return all;
}

}  // namespace sedum::data
