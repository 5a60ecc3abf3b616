#include "infer/grammar/json_merge.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"

namespace sedum::grammar {
namespace {

using Json = nlohmann::ordered_json;

const std::set<std::string> kAnnotations{
    "title",           "description",      "default",       "examples",    "example",  "$schema",   "$id",
    "$comment",        "$anchor",          "$defs",         "definitions", "readOnly", "writeOnly", "deprecated",
    "contentEncoding", "contentMediaType", "discriminator", "strict"};
const std::set<std::string> kConstraints{"$ref",
                                         "type",
                                         "enum",
                                         "const",
                                         "anyOf",
                                         "oneOf",
                                         "allOf",
                                         "properties",
                                         "required",
                                         "additionalProperties",
                                         "propertyNames",
                                         "minProperties",
                                         "maxProperties",
                                         "items",
                                         "prefixItems",
                                         "minItems",
                                         "maxItems",
                                         "uniqueItems",
                                         "minLength",
                                         "maxLength",
                                         "pattern",
                                         "format",
                                         "minimum",
                                         "maximum",
                                         "exclusiveMinimum",
                                         "exclusiveMaximum",
                                         "multipleOf"};

Json as_list(const Json& v) { return v.is_array() ? v : Json::array({v}); }

Json merge_types(const Json& a, const Json& b) {
  Json both = Json::array();
  for (const Json& x : as_list(a))
    for (const Json& y : as_list(b)) {
      Json common;
      if (x == y) common = x;
      if ((x == "integer" && y == "number") || (x == "number" && y == "integer")) common = "integer";
      if (!common.is_null() && std::find(both.begin(), both.end(), common) == both.end()) both.push_back(common);
    }
  return both.size() == 1 ? both[0] : both;
}

Json constants_of(const Json& schema) {
  if (!schema.is_object()) return {};
  if (schema.contains("const")) return Json::array({schema["const"]});
  if (schema.contains("enum") && schema["enum"].is_array()) return schema["enum"];
  return {};
}

}  // namespace

bool is_known_keyword(const std::string& key) {
  return kAnnotations.count(key) > 0 || kConstraints.count(key) > 0 || key.starts_with("x-");
}

Json without_annotations(const Json& schema, std::initializer_list<std::string> also) {
  if (!schema.is_object()) return schema;
  Json result = Json::object();
  for (const auto& [key, value] : schema.items())
    if (kAnnotations.count(key) == 0 && !key.starts_with("x-") &&
        std::find(also.begin(), also.end(), key) == also.end())
      result[key] = value;
  return result;
}

Json merge(const Json& a, const Json& b, const std::string& place) {
  if (a == Json(false) || b == Json(false)) return false;
  if (a == Json(true)) return b;
  if (b == Json(true)) return a;
  if (!a.is_object() || !b.is_object()) throw Error("the schema at " + place + ": a part is no schema", "mend it");
  Json whole = a;
  for (const auto& [key, value] : b.items()) {
    if (!whole.contains(key) || whole[key] == value) {
      whole[key] = value;
    } else if (key == "type") {
      whole[key] = merge_types(whole[key], value);
      if (whole[key].is_array() && whole[key].empty()) return false;
    } else if (key == "properties" && value.is_object() && whole[key].is_object()) {
      for (const auto& [name, of] : value.items())
        whole[key][name] = whole[key].contains(name) ? merge(whole[key][name], of, place + "/" + name) : of;
    } else if (key == "required" && value.is_array() && whole[key].is_array()) {
      for (const Json& name : value)
        if (std::find(whole[key].begin(), whole[key].end(), name) == whole[key].end()) whole[key].push_back(name);
    } else if ((key.starts_with("min") || key == "exclusiveMinimum") && value.is_number() && whole[key].is_number()) {
      if (value.get<double>() > whole[key].get<double>()) whole[key] = value;
    } else if ((key.starts_with("max") || key == "exclusiveMaximum") && value.is_number() && whole[key].is_number()) {
      if (value.get<double>() < whole[key].get<double>()) whole[key] = value;
    } else if (key == "additionalProperties" || key == "items") {
      whole[key] = merge(whole[key], value, place + "/" + key);
    } else if (kAnnotations.count(key) == 0) {
      throw Error("the schema at " + (place.empty() ? "/" : place) + ": two different \"" + key + "\" for one value",
                  "write it as one schema");
    }
  }
  return whole;
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  return type == "integer" && value.is_number() && value.get<double>() == std::floor(value.get<double>());
}

std::vector<std::string> implied_types(const Json& schema) {
  const auto has = [&](std::initializer_list<const char*> keys) {
    return std::any_of(keys.begin(), keys.end(), [&](const char* key) { return schema.contains(key); });
  };
  if (has({"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}))
    return {"object"};
  if (has({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})) return {"array"};
  if (has({"pattern", "format", "minLength", "maxLength"})) return {"string"};
  if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})) return {"number"};
  return {};
}

bool exclude_each_other(const Json& a, const Json& b) {
  if (!a.is_object() || !b.is_object()) return false;
  const Json x = constants_of(a), y = constants_of(b);
  if (x.is_array() && y.is_array())
    return std::none_of(x.begin(), x.end(), [&](const Json& v) { return std::find(y.begin(), y.end(), v) != y.end(); });
  if (a.contains("type") && b.contains("type")) {
    const Json both = merge_types(a["type"], b["type"]);
    if (both.is_array() && both.empty()) return true;
  }
  const auto required = [](const Json& s, const std::string& name) {
    return s.contains("required") && s["required"].is_array() &&
           std::find(s["required"].begin(), s["required"].end(), Json(name)) != s["required"].end();
  };
  if (!a.contains("properties") || !b.contains("properties") || !a["properties"].is_object() ||
      !b["properties"].is_object())
    return false;
  for (const auto& [name, of] : a["properties"].items()) {
    if (!b["properties"].contains(name) || !required(a, name) || !required(b, name)) continue;
    const Json &other = b["properties"][name], left = constants_of(of), right = constants_of(other);
    if (left.is_array() && right.is_array() && exclude_each_other(of, other)) return true;
  }
  return false;
}

}  // namespace sedum::grammar
