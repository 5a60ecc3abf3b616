#include "infer/grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "infer/grammar/json_formats.h"
#include "infer/grammar/json_merge.h"
#include "infer/grammar/regex.h"

namespace sedum::grammar {
namespace {

using Json = nlohmann::ordered_json;
constexpr int64_t kMostCount = 100000;         // of characters, items, properties
constexpr double kGreatest = 999999999999999;  // 15 digits: doubles and their texts agree

class Compiler {
 public:
  Compiler(Network& net, const Json& root) : net_(net), root_(root) {
    space_ = rule(net_.optional(
        net_.any_of({net_.text(" "), net_.sequence({net_.text("\n"), net_.repeat(net_.text(" "), 0, 16)})})));
    const Piece unit = net_.any_of(
        {net_.sequence({hex("0-9a-cefA-CEF"), hex_digits(3)}), net_.sequence({hex("dD"), hex("0-7"), hex_digits(2)})});
    char_ = rule(
        net_.any_of({json_code_points(net_, 0, 0x10FFFF), net_.text("\\/"), net_.sequence({net_.text("\\u"), unit})}));
    string_ = rule(quoted(net_.star(net_.call(char_))));
  }

  Piece value(const Json& schema, const std::string& place) {
    if (++depth_ > 100) fail(place, "schemas nest more than 100 deep");
    const Piece piece = compile(schema, place);
    --depth_;
    return piece;
  }

 private:
  [[noreturn]] static void fail(const std::string& place, const std::string& problem) {
    throw Error("the schema at " + (place.empty() ? "/" : place) + ": " + problem,
                "leave it out or write it another way");
  }
  int rule(Piece piece) {
    const int r = net_.add_rule();
    net_.define(r, piece);
    return r;
  }
  Piece hex(const char* set) { return compile_regex(net_, "[" + std::string(set) + "]", {}); }
  Piece hex_digits(int n) { return net_.repeat(hex("0-9a-fA-F"), n, n); }
  Piece space() { return net_.call(space_); }
  Piece quoted(Piece inside) { return net_.sequence({net_.text("\""), inside, net_.text("\"")}); }

  Piece compile(const Json& schema, const std::string& place) {
    if (schema.is_boolean()) {
      if (!schema.get<bool>()) return net_.any_of({});
      return any_value();
    }
    if (!schema.is_object()) fail(place, "is neither an object nor true or false");
    for (const auto& [key, unused] : schema.items())
      if (!is_known_keyword(key)) fail(place, "\"" + key + "\" cannot be kept to");
    if (schema.contains("$ref")) return reference(schema, place);
    if (schema.contains("allOf")) return value(merge_all_of(schema, place), place + "/allOf");
    for (const char* key : {"anyOf", "oneOf"})
      if (schema.contains(key)) return alternatives(schema, key, place);
    if (schema.contains("const")) return literals(Json::array({schema["const"]}), schema, place);
    if (schema.contains("enum")) {
      if (!schema["enum"].is_array() || schema["enum"].empty()) fail(place, "enum is no list of values");
      return literals(schema["enum"], schema, place);
    }
    const std::vector<std::string> types = types_of(schema, place);
    if (types.empty()) return any_value();
    std::vector<Piece> pieces;
    for (const std::string& type : types) pieces.push_back(of_type(type, schema, place));
    return net_.any_of(pieces);
  }

  Piece of_type(const std::string& type, const Json& schema, const std::string& place) {
    if (type == "null") return net_.text("null");
    if (type == "boolean") return net_.any_of({net_.text("true"), net_.text("false")});
    if (type == "string") return string(schema, place);
    if (type == "integer" || type == "number") return number(schema, type == "integer", place);
    if (type == "array") return array(schema, place);
    if (type == "object") return object(schema, place);
    fail(place, "the type \"" + type + "\" is not known");
  }

  // Any JSON, nested through calls.
  Piece any_value() {
    if (any_ < 0) {
      any_ = net_.add_rule();
      const Json empty = Json::object();
      std::vector<Piece> pieces{net_.text("null"),
                                net_.text("true"),
                                net_.text("false"),
                                net_.call(string_),
                                number(empty, false, ""),
                                list(net_.call(any_), 0, -1),
                                map(net_.call(string_), net_.call(any_), 0, -1)};
      net_.define(any_, net_.any_of(pieces));
    }
    return net_.call(any_);
  }

  Piece reference(const Json& schema, const std::string& place) {
    if (!schema["$ref"].is_string()) fail(place, "$ref is no text");
    const std::string name = schema["$ref"];
    if (name.empty() || name[0] != '#') fail(place, "$ref \"" + name + "\" leads out of the schema");
    const Json* target = nullptr;
    try {
      target = &root_.at(Json::json_pointer(name.substr(1)));
    } catch (const nlohmann::json::exception&) {
      fail(place, "$ref \"" + name + "\" leads nowhere");
    }
    const Json rest = without_annotations(schema, {"$ref"});
    if (!rest.empty()) return value(merge(without_annotations(*target, {}), rest, place), place);
    const auto [at, is_new] = references_.try_emplace(name, 0);
    if (is_new) {
      const int r = at->second = net_.add_rule();
      net_.define(r, value(*target, name));
    }
    return net_.call(references_.at(name));
  }

  Piece alternatives(const Json& schema, const std::string& key, const std::string& place) {
    const Json& branches = schema[key];
    if (!branches.is_array() || branches.empty()) fail(place, key + " is no list of schemas");
    if (key == "oneOf")
      for (size_t i = 0; i < branches.size(); ++i)
        for (size_t j = 0; j < i; ++j)
          if (!exclude_each_other(resolved(branches[i]), resolved(branches[j])))
            fail(place, "oneOf has branches that may both hold; anyOf can be kept to");
    const Json rest = without_annotations(schema, {key});
    std::vector<Piece> pieces;
    for (size_t i = 0; i < branches.size(); ++i) {
      const std::string at = place + "/" + key + "/" + std::to_string(i);
      pieces.push_back(rest.empty() ? value(branches[i], at) : value(merge(resolved(branches[i]), rest, at), at));
    }
    return net_.any_of(pieces);
  }

  // What a lone $ref refers to.
  Json resolved(const Json& schema) const {
    Json at = schema;
    for (int i = 0; i < 20 && at.is_object() && at.contains("$ref") && at["$ref"].is_string(); ++i) {
      const std::string name = at["$ref"];
      try {
        if (name.empty() || name[0] != '#') break;
        at = root_.at(Json::json_pointer(name.substr(1)));
      } catch (const nlohmann::json::exception&) {
        break;
      }
    }
    return at;
  }

  Json merge_all_of(const Json& schema, const std::string& place) {
    if (!schema["allOf"].is_array() || schema["allOf"].empty()) fail(place, "allOf is no list of schemas");
    Json whole = without_annotations(schema, {"allOf"});
    for (const Json& part : schema["allOf"]) whole = merge(whole, without_annotations(resolved(part), {}), place);
    return whole;
  }

  Piece literals(const Json& values, const Json& schema, const std::string& place) {
    const Json rest = without_annotations(schema, {"const", "enum", "type"});
    if (!rest.empty()) fail(place, "\"" + rest.begin().key() + "\" beside a list of values");
    const Json* allowed = schema.contains("const") && schema.contains("enum") ? &schema["enum"] : nullptr;
    const std::vector<std::string> types =
        schema.contains("type") ? types_of(schema, place) : std::vector<std::string>();
    std::vector<Piece> pieces;
    for (const Json& each : values) {
      if (allowed && std::find(allowed->begin(), allowed->end(), each) == allowed->end()) continue;
      if (!types.empty() && std::none_of(types.begin(), types.end(), [&](const auto& t) { return has_type(each, t); }))
        continue;
      try {
        pieces.push_back(net_.text(each.dump()));
      } catch (const nlohmann::json::exception&) {
        fail(place, "a value is no UTF-8");
      }
    }
    return net_.any_of(pieces);
  }

  Piece string(const Json& schema, const std::string& place) {
    const int64_t least = count(schema, "minLength", 0, place), most = count(schema, "maxLength", -1, place);
    const bool lengths = schema.contains("minLength") || schema.contains("maxLength");
    std::string pattern;
    bool search = false;
    if (schema.contains("pattern")) {
      if (!schema["pattern"].is_string()) fail(place, "pattern is no text");
      pattern = schema["pattern"], search = true;
    } else if (schema.contains("format") && schema["format"].is_string()) {
      pattern = format_pattern(schema["format"]);
    }
    if (!search && pattern.empty()) {
      if (!lengths) return net_.call(string_);
      return quoted(net_.repeat(net_.call(char_), least, most));
    }
    if (lengths) fail(place, "minLength and maxLength beside a pattern or a format");
    return quoted(compile_regex(net_, pattern, {.code_points = json_code_points, .search = search}));
  }

  struct Bounds {
    double low, high;
    bool above_low, below_high;
    bool any;
  };
  Bounds bounds(const Json& schema, const std::string& place) const {
    Bounds b{-kGreatest, kGreatest, false, false, false};
    const auto take = [&](const char* key, bool lower, bool strict) {
      if (!schema.contains(key)) return;
      if (!schema[key].is_number()) fail(place, std::string(key) + " is no number");
      const double v = schema[key].get<double>();
      b.any = true;
      double& limit = lower ? b.low : b.high;
      bool& strictly = lower ? b.above_low : b.below_high;
      if (lower ? v > limit : v < limit)
        limit = v, strictly = strict;
      else if (v == limit)
        strictly |= strict;
    };
    take("minimum", true, false), take("exclusiveMinimum", true, true);
    take("maximum", false, false), take("exclusiveMaximum", false, true);
    return b;
  }

  // All texts with so many decimals within the bounds.
  Piece with_decimals(const Bounds& b, int decimals) {
    const double one = std::pow(10.0, decimals), most = std::floor(kGreatest / one);
    const double first = std::ceil(std::max(b.low, -most) * one), last = std::floor(std::min(b.high, most) * one);
    if (first > last + 2) return net_.any_of({});
    int64_t low = int64_t(first) - 1, high = int64_t(last) + 1;  // products round: the quotients decide
    const auto at = [&](int64_t n) { return double(n) / one; };
    while (low <= high && (at(low) < b.low || (b.above_low && at(low) <= b.low))) ++low;
    while (low <= high && (at(high) > b.high || (b.below_high && at(high) >= b.high))) --high;
    return decimal_range(net_, low, high, decimals);
  }

  Piece number(const Json& schema, bool integer, const std::string& place) {
    int most_decimals = integer ? 0 : 15;
    if (schema.contains("multipleOf")) {
      const double step = schema["multipleOf"].is_number() ? schema["multipleOf"].get<double>() : 0;
      int decimals = 0;
      for (double power = 1; decimals < 6 && power != step; ++decimals) power = std::pow(10.0, -(decimals + 1));
      if (step != std::pow(10.0, -decimals)) fail(place, "multipleOf other than 1, 0.1, 0.01 …");
      most_decimals = std::min(most_decimals, decimals);
    }
    const Bounds b = bounds(schema, place);
    if (!b.any && most_decimals == 15) {
      return net_.sequence({net_.optional(net_.text("-")),
                            compile_regex(net_, "(0|[1-9][0-9]{0,14})(\\.[0-9]{1,15})?([eE][-+]?[0-9]{1,2})?", {})});
    }
    std::vector<Piece> pieces;
    for (int d = 0; d <= std::min(most_decimals, 6); ++d) pieces.push_back(with_decimals(b, d));
    return net_.any_of(pieces);
  }

  // item (, item)*: from `least` to `most`; the comma is the items' own.
  Piece list(Piece item, int64_t least, int64_t most) {
    if (most == 0) return net_.sequence({net_.text("["), space(), net_.text("]")});
    const int each = rule(net_.sequence({item, space()}));
    const Piece more = net_.repeat(net_.sequence({net_.text(","), space(), net_.call(each)}),
                                   std::max<int64_t>(0, least - 1), most < 0 ? -1 : most - 1);
    const Piece all = net_.sequence({net_.call(each), more});
    return net_.sequence({net_.text("["), space(), least > 0 ? all : net_.optional(all), net_.text("]")});
  }

  Piece array(const Json& schema, const std::string& place) {
    const int64_t least = count(schema, "minItems", 0, place), most = count(schema, "maxItems", -1, place);
    if (schema.contains("uniqueItems") && schema["uniqueItems"] != Json(false) && most != 1)
      fail(place, "uniqueItems cannot be kept to");
    const bool closed = schema.contains("items") && schema["items"] == Json(false);
    const auto items = [&] {
      return schema.contains("items") ? value(schema["items"], place + "/items") : any_value();
    };
    if (!schema.contains("prefixItems")) return closed ? list({}, 0, 0) : list(items(), least, most);
    const Json& first = schema["prefixItems"];
    if (!first.is_array()) fail(place, "prefixItems is no list of schemas");
    const int64_t fixed = int64_t(first.size());
    if (most >= 0 && fixed > most) fail(place, "prefixItems beyond maxItems");
    if (closed && least > fixed) fail(place, "minItems beyond prefixItems");
    std::vector<Piece> pieces{net_.text("["), space()};
    for (int64_t i = 0; i < fixed; ++i) {
      if (i > 0) pieces.push_back(net_.sequence({net_.text(","), space()}));
      pieces.push_back(value(first[size_t(i)], place + "/prefixItems/" + std::to_string(i)));
      pieces.push_back(space());
    }
    // Further ones only where they are asked for.
    if (!closed && (schema.contains("items") || least > fixed) && fixed > 0) {
      const Piece more = net_.sequence({net_.text(","), space(), net_.call(rule(net_.sequence({items(), space()})))});
      pieces.push_back(net_.repeat(more, std::max<int64_t>(0, least - fixed), most < 0 ? -1 : most - fixed));
    }
    pieces.push_back(net_.text("]"));
    return net_.sequence(pieces);
  }

  Piece member(Piece key, Piece of) { return net_.sequence({key, space(), net_.text(":"), space(), of, space()}); }

  // An object of any names.
  Piece map(Piece key, Piece of, int64_t least, int64_t most) {
    if (most == 0) return net_.sequence({net_.text("{"), space(), net_.text("}")});
    const int each = rule(member(key, of));
    const Piece more = net_.repeat(net_.sequence({net_.text(","), space(), net_.call(each)}),
                                   std::max<int64_t>(0, least - 1), most < 0 ? -1 : most - 1);
    const Piece all = net_.sequence({net_.call(each), more});
    return net_.sequence({net_.text("{"), space(), least > 0 ? all : net_.optional(all), net_.text("}")});
  }

  struct Property {
    int rule;
    bool required;
  };
  std::vector<Property> properties(const Json& schema, const std::string& place) {
    std::vector<std::string> required;
    if (schema.contains("required")) {
      if (!schema["required"].is_array()) fail(place, "required is no list of names");
      for (const Json& name : schema["required"]) {
        if (!name.is_string()) fail(place, "required is no list of names");
        required.push_back(name);
      }
    }
    Json all = schema.contains("properties") ? schema["properties"] : Json::object();
    if (!all.is_object()) fail(place, "properties is no object");
    const Json others = schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
    for (const std::string& name : required)
      if (!all.contains(name)) {
        if (others == Json(false)) fail(place, "\"" + name + "\" is required and not allowed");
        all[name] = others;
      }
    std::vector<Property> result;
    for (const auto& [name, of] : all.items()) {
      const bool must = std::find(required.begin(), required.end(), name) != required.end();
      if (!must && of == Json(false)) continue;
      std::string key;
      try {
        key = Json(name).dump();
      } catch (const nlohmann::json::exception&) {
        fail(place, "a property's name is no UTF-8");
      }
      result.push_back({rule(member(net_.text(key), value(of, place + "/properties/" + name))), must});
    }
    return result;
  }

  Piece object(const Json& schema, const std::string& place) {
    const int64_t least = count(schema, "minProperties", 0, place), most = count(schema, "maxProperties", -1, place);
    const std::vector<Property> all = properties(schema, place);
    const bool closed = schema.contains("additionalProperties") && schema["additionalProperties"] == Json(false);
    if (all.empty()) {
      if (closed || schema.contains("properties")) return least > 0 ? net_.any_of({}) : map({}, {}, 0, 0);
      Piece key = net_.call(string_);
      if (schema.contains("propertyNames")) {
        const Json& names = schema["propertyNames"];
        if (!names.is_object()) fail(place, "propertyNames is no schema of texts");
        key = value(merge(names, Json{{"type", "string"}}, place), place + "/propertyNames");
      }
      // A name may come twice, which counts once: a least number beyond one cannot be promised.
      if (least > 1) fail(place, "minProperties above 1 of an object whose properties have no names");
      const Json of = schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
      return map(key, value(of, place + "/additionalProperties"), least, most);
    }
    if (schema.contains("propertyNames")) fail(place, "propertyNames beside properties");
    const int64_t required = std::count_if(all.begin(), all.end(), [](const Property& p) { return p.required; });
    if (least > required || (most >= 0 && most < int64_t(all.size())))
      fail(place, "minProperties or maxProperties beside properties");
    // The first that is written may be any up to the first required one; the others follow in order, each with its comma.
    std::vector<Piece> pieces;
    for (size_t first = 0; first < all.size(); ++first) {
      std::vector<Piece> parts{net_.call(all[first].rule)};
      for (size_t i = first + 1; i < all.size(); ++i) {
        const Piece part = net_.sequence({net_.text(","), space(), net_.call(all[i].rule)});
        parts.push_back(all[i].required ? part : net_.optional(part));
      }
      pieces.push_back(net_.sequence(parts));
      if (all[first].required) break;
    }
    if (required == 0) pieces.push_back(net_.empty());
    return net_.sequence({net_.text("{"), space(), net_.any_of(pieces), net_.text("}")});
  }

  static int64_t count(const Json& schema, const char* key, int64_t otherwise, const std::string& place) {
    if (!schema.contains(key)) return otherwise;
    const Json& v = schema[key];
    if (!v.is_number() || v.get<double>() < 0 || v.get<double>() > double(kMostCount) ||
        v.get<double>() != std::floor(v.get<double>()))
      fail(place, std::string(key) + " is no whole number up to 100,000");
    return int64_t(v.get<double>());
  }

  static std::vector<std::string> types_of(const Json& schema, const std::string& place) {
    if (!schema.contains("type")) return implied_types(schema);
    const Json& type = schema["type"];
    std::vector<std::string> types;
    for (const Json& each : type.is_array() ? type : Json::array({type})) {
      if (!each.is_string()) fail(place, "type is no name");
      types.push_back(each);
    }
    if (types.empty()) fail(place, "type is an empty list");
    return types;
  }

  Network& net_;
  const Json& root_;
  int space_ = -1, char_ = -1, string_ = -1, any_ = -1, depth_ = 0;
  std::map<std::string, int> references_;
};

}  // namespace

Piece compile_json_schema(Network& net, const Json& schema) { return Compiler(net, schema).value(schema, ""); }

}  // namespace sedum::grammar
