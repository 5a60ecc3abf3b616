#pragma once
// JSON documents: nlohmann's, whose parser and members are compiled once, in json.cc. Where each file instantiates them for itself, it
// takes seconds longer to build.

#include <string_view>

#include <nlohmann/json.hpp>

extern template class nlohmann::basic_json<>;
extern template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace sedum {

// The document. Throws nlohmann::json::parse_error where the text is none. Json: nlohmann::json, or ordered_json, which keeps the order of keys.
template <class Json = nlohmann::json>
Json parse_json(std::string_view text);

// The same, but a value that is_discarded() where the text is no document.
template <class Json = nlohmann::json>
Json try_parse_json(std::string_view text);

}  // namespace sedum
