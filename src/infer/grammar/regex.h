#pragma once
// Regular expressions as ECMA-262 and Python share them, compiled to a piece of a network.
//
//   Piece piece = compile_regex(net, "[A-Z]{2}-\\d+", {});
//
// Literals, classes, . \d \w \s and their opposites, groups, | * + ? {m,n} (lazy ones mean the same), \xHH, \uHHHH, ^ and $ at the ends. What
// no finite automaton does (look-around, back references, \b) is refused with its place. Letters are code points; . is any but a line end.

#include <functional>
#include <string_view>

#include "infer/grammar/network.h"

namespace sedum::grammar {

struct RegexOptions {
  // How a code point of [low, high] is written; null: as UTF-8. JSON's strings have escapes.
  std::function<Piece(Network&, uint32_t low, uint32_t high)> code_points = nullptr;
  bool search =
      false;  // may match a part of the text, as JSON schema's `pattern`: without ^ (or $) anything may stand before (after)
};

Piece compile_regex(Network& net, std::string_view pattern, const RegexOptions& options);

}  // namespace sedum::grammar
