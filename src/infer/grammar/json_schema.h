#pragma once
// JSON schemas (draft 2020-12, and what OpenAI's and pydantic's tools write) as networks.
//
//   Piece piece = compile_json_schema(net, schema);      // {}: any JSON
//
// What the network writes satisfies the schema; not all that satisfies it is written: properties come in the order of the schema, further ones
// only where none are named, numbers have at most 15 digits, whitespace is at most one space or one line break with its indentation.
// A keyword that cannot be kept to (not, if, patternProperties, uniqueItems, multipleOf …) is refused with its place.

#include <nlohmann/json_fwd.hpp>

#include "infer/grammar/network.h"

namespace sedum::grammar {

Piece compile_json_schema(Network& net, const nlohmann::ordered_json& schema);

// A decimal number's text between bounds. decimals: digits after the point, 0 for none; the bounds are in units of the last digit.
Piece decimal_range(Network& net, int64_t low, int64_t high, int decimals);
// The code points of [low, high] as they stand in a JSON string.
Piece json_code_points(Network& net, uint32_t low, uint32_t high);

}  // namespace sedum::grammar
