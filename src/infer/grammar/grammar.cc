#include "infer/grammar/grammar.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "infer/grammar/json_schema.h"
#include "infer/grammar/regex.h"

namespace sedum::grammar {
namespace {

constexpr size_t kMaskBytes = size_t{64} << 20;  // kept at most

Piece compile_piece(Network& net, const GrammarSpec& spec) {
  switch (spec.kind) {
    case GrammarSpec::Kind::kRegex:
      return compile_regex(net, spec.text, {});
    case GrammarSpec::Kind::kChoices: {
      if (spec.choices.empty()) throw Error("there are no choices", "give at least one");
      std::vector<Piece> pieces;
      for (const std::string& choice : spec.choices) pieces.push_back(net.text(choice));
      return net.any_of(pieces);
    }
    case GrammarSpec::Kind::kJson:
      return compile_json_schema(net, nlohmann::ordered_json::object());
    case GrammarSpec::Kind::kJsonSchema: {
      const auto schema = try_parse_json<nlohmann::ordered_json>(spec.text);
      if (schema.is_discarded()) throw Error("the schema is no JSON", "give a JSON schema");
      return compile_json_schema(net, schema);
    }
    case GrammarSpec::Kind::kNone:
      break;
  }
  throw ApiError("grammar", "there is none");
}

}  // namespace

std::shared_ptr<Grammar> Grammar::compile(const GrammarSpec& spec, std::shared_ptr<const TokenTable> table) try {
  Network net;
  const int rule = net.add_rule();
  net.define(rule, compile_piece(net, spec));
  net.finish(rule);
  std::shared_ptr<Grammar> grammar(new Grammar(Automaton(std::move(net), rule), std::move(table)));
  const auto first = grammar->allowed(grammar->start());
  if (std::all_of(first.begin(), first.end(), [](uint64_t word) { return word == 0; }))
    throw Error("no token of the vocabulary can begin a text of the grammar", "choose another grammar");
  return grammar;
} catch (const Error& e) {
  throw GrammarError(e);
}

int Grammar::next(int state, int32_t id) {
  const std::string_view bytes = table_->bytes(id);
  if (bytes.empty()) return can_end(state) ? state : Automaton::kDead;
  for (const char c : bytes)
    if ((state = automaton_.next(state, uint8_t(c))) < 0) return Automaton::kDead;
  return state;
}

std::span<const uint64_t> Grammar::allowed(int state) {
  const auto known = masks_.find(state);
  if (known != masks_.end()) return known->second;
  if (masks_.size() * size_t(table_->vocab_size()) / 8 > kMaskBytes) masks_.clear();
  return masks_.emplace(state, mask(state)).first->second;
}

std::vector<uint64_t> Grammar::mask(int state) {
  std::vector<uint64_t> bits(size_t(table_->vocab_size() + 63) / 64);
  const auto set = [&](int32_t id) { bits[size_t(id) / 64] |= uint64_t{1} << (id % 64); };
  if (automaton_.can_end(state))
    for (const int32_t id : table_->ends()) set(id);
  if (!automaton_.can_go_on(state)) return bits;
  std::vector<int> states{state};  // after each byte of the entry at hand
  int32_t refused = INT32_MAX;     // bytes of the previous entry with which no text begins
  for (const TokenTable::Entry& entry : table_->sorted()) {
    if (entry.shared >= refused) continue;
    refused = INT32_MAX;
    states.resize(size_t(entry.shared) + 1);
    for (size_t i = size_t(entry.shared); i < entry.bytes.size(); ++i) {
      const int next = automaton_.next(states.back(), uint8_t(entry.bytes[i]));
      if (next < 0) {
        refused = int32_t(i) + 1;
        break;
      }
      states.push_back(next);
    }
    if (refused == INT32_MAX) set(entry.id);
  }
  return bits;
}

}  // namespace sedum::grammar
