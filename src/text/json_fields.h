#pragma once
// Reading fields of tokenizer.json's parts, with errors that name them.

#include <string>

#include "base/error.h"
#include "base/json.h"

namespace sedum::fields {

using Json = nlohmann::json;

inline const Json& at(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}
inline bool flag(const Json& object, const char* key, bool otherwise = false) {
  const Json& value = at(object, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}
inline std::string text(const Json& object, const char* key, const std::string& otherwise = "") {
  const Json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : otherwise;
}
inline int64_t number(const Json& object, const char* key, int64_t otherwise = 0) {
  const Json& value = at(object, key);
  return value.is_number_integer() ? value.get<int64_t>() : otherwise;
}
[[noreturn]] inline void not_supported(const std::string& name, const std::string& what, const Json& value) {
  std::string shown = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (shown.size() > 120) shown.resize(120);
  throw Error(name + ": " + what + " is not supported here: " + shown);
}

}  // namespace sedum::fields
