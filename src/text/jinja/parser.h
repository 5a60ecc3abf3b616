#pragma once
// Tokens to a tree, by Jinja's grammar.

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace sedum::jinja {

struct Template {
  Body body;
  bool has_generation = false;  // {% generation %} occurs
};

// Throws Error that names the line. Nesting deeper than `max_depth` is refused.
Template parse(std::string_view source, int max_depth);

}  // namespace sedum::jinja
