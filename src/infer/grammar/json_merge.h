#pragma once
// Schemas taken apart and put together, before they are compiled.

#include <initializer_list>
#include <string>
#include <vector>

#include "base/json.h"

namespace sedum::grammar {

bool is_known_keyword(const std::string& key);  // kept to, or an annotation
// The keywords that constrain, without `also`.
nlohmann::ordered_json without_annotations(const nlohmann::ordered_json& schema,
                                           std::initializer_list<std::string> also);
// What satisfies both. Error where the two cannot be put into one schema.
nlohmann::ordered_json merge(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b,
                             const std::string& place);
bool has_type(const nlohmann::ordered_json& value, const std::string& type);
std::vector<std::string> implied_types(const nlohmann::ordered_json& schema);  // by its keywords, where it names none
// Surely nothing satisfies both: by their types, or by a property that both require with other constants.
bool exclude_each_other(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

}  // namespace sedum::grammar
