#pragma once
// Rows that judge answers: a better and a worse one of the same question, or single answers that are wanted or not.
//
//   Preference p = to_preference(columns, {"pairs.jsonl", 3});   // {"prompt": …, "chosen": …, "rejected": …}
//   p.chosen.messages.back().content;
//
// Known forms: `prompt` (text or messages) with `chosen` and `rejected` (texts or messages), or the two as whole conversations (TRL); Alpaca
// rows with `chosen` and `rejected` in place of `output`; `messages` or `conversations` with a last message each (LLaMA-Factory). Single
// answers: `completion` or the forms of conversation.h, with `label` or `kto_tag` (true or false).

#include <filesystem>
#include <vector>

#include "data/conversation.h"

namespace sedum::data {

struct Preference {
  Conversation chosen, rejected;  // the same question, each ends with its answer
};
struct Judgement {
  Conversation conversation;
  bool desirable = true;
};

// Throw Error, which names the origin, as to_conversation does.
Preference to_preference(const nlohmann::ordered_json& columns, const Origin& origin);
Judgement to_judgement(const nlohmann::ordered_json& columns, const Origin& origin);
// All rows of a file; Error when there is none.
std::vector<Preference> read_preferences(const std::filesystem::path& path);
std::vector<Judgement> read_judgements(const std::filesystem::path& path);

}  // namespace sedum::data
