#pragma once
// Answers that keep to a grammar: a JSON schema, a regular expression, choices, or any JSON.
//
//   auto grammar = Grammar::compile(spec, table);            // GrammarError when it cannot be compiled
//   int state = grammar->start();
//   grammar->allowed(state)                                   // a bit for each token that may come next
//   state = grammar->next(state, id);
//
// A token is allowed when some text of the grammar begins with what was made and the token's bytes: borders of tokens, and of UTF-8 letters
// cut by them, need not meet those of the grammar (Willard, Louf: "Efficient Guided Generation for Large Language Models", 2023). End tokens
// are allowed where the text may end. Masks are made when a state is first asked for, and kept. Used by one thread once it is compiled.

#include <memory>
#include <span>
#include <unordered_map>

#include "infer/engine.h"
#include "infer/grammar/automaton.h"
#include "infer/grammar/token_table.h"

namespace sedum::grammar {

class Grammar {
 public:
  static std::shared_ptr<Grammar> compile(const GrammarSpec& spec, std::shared_ptr<const TokenTable> table);

  int start() const { return automaton_.start(); }
  int next(int state, int32_t id);  // −1: not allowed; an end token leaves the state as it is
  std::span<const uint64_t> allowed(int state);
  bool can_end(int state) const { return automaton_.can_end(state); }
  bool must_end(int state) const { return can_end(state) && !automaton_.can_go_on(state); }

 private:
  Grammar(Automaton automaton, std::shared_ptr<const TokenTable> table)
      : automaton_(std::move(automaton)), table_(std::move(table)) {}
  std::vector<uint64_t> mask(int state);
  Automaton automaton_;
  std::shared_ptr<const TokenTable> table_;
  std::unordered_map<int, std::vector<uint64_t>> masks_;
};

}  // namespace sedum::grammar
