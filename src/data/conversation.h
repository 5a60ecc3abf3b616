#pragma once
// One example of what a model shall learn: a conversation, or a plain text.
//
//   Conversation c = to_conversation(columns, {"mine.jsonl", 17});   // {"instruction": …, "input": …, "output": …}
//   c.messages[0].role == "user"; c.messages[1].role == "assistant";
//   to_alpaca(c); to_chat(c);                                        // back into columns
//
// Known forms, by their columns: `messages` (role/content), `conversations` (ShareGPT: from/value), `instruction`
// `input` `output` with optional `system` and `history` (Alpaca, read as LLaMA-Factory reads it), `text`. A column that
// holds null counts as absent; columns nobody knows are left alone.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum::data {

struct Message {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
  bool operator==(const Message&) const = default;
};

// Where something was read: line 17 of a file, or row 17 of a JSON array.
struct Origin {
  std::string source;
  int64_t line = 0;
  bool in_array = false;
  std::string to_string() const;  // "mine.jsonl:17", "mine.json, row 17"
};

struct Conversation {
  std::vector<Message> messages;
  std::string text;  // instead of messages: a plain text
  Origin origin;
  bool is_text() const { return messages.empty(); }
};

// What the columns are called in a file; the members have the names of LLaMA-Factory's dataset_info.json.
struct ColumnNames {
  std::string prompt = "instruction", query = "input", response = "output", system = "system", history = "history";
  std::string messages = "messages", conversations = "conversations", text = "text", tools = "tools";

  // {{"prompt", "question"}, …}; throws Error for a member that does not exist.
  static ColumnNames from_map(const std::map<std::string, std::string>& names);
};

// Throws Error, which names the origin, for a row without question or answer, of unknown form or with a value of the
// wrong type. `columns` is a JSON object.
Conversation to_conversation(const nlohmann::ordered_json& columns, const Origin& origin,
                             const ColumnNames& names = {});

// [{"role": …, "content": …}, …]: what a chat template takes.
nlohmann::ordered_json messages_json(const Conversation& conversation);

// The row in chat form ({"messages": …} or {"text": …}) and in Alpaca form: the last question and answer, those before
// as `history`. Throws Error when the conversation does not alternate between user and assistant, which the Alpaca form
// cannot say.
nlohmann::ordered_json to_chat(const Conversation& conversation);
nlohmann::ordered_json to_alpaca(const Conversation& conversation);

// Everything that was said, in order, a line break between two messages.
std::string joined_text(const Conversation& conversation);

}  // namespace sedum::data
