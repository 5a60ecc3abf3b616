#include "infer/grammar/grammar.h"

#include <cmath>
#include <functional>
#include <regex>

#include <gmock/gmock.h>

#include "base/json.h"
#include "base/random.h"
#include "infer/grammar/json_schema.h"
#include "infer/grammar/regex.h"
#include "model/model_testing.h"

namespace sedum::grammar {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using testing::problem_of;

Automaton automaton_of(const std::function<Piece(Network&)>& make) {
  Network net;
  const int rule = net.add_rule();
  net.define(rule, make(net));
  net.finish(rule);
  return Automaton(std::move(net), rule);
}
bool accepts(Automaton& a, std::string_view text) {
  int state = a.start();
  for (const char c : text)
    if ((state = a.next(state, uint8_t(c))) < 0) return false;
  return a.can_end(state);
}
bool matches(const std::string& pattern, const std::string& text, bool search = false) {
  Automaton a = automaton_of([&](Network& net) { return compile_regex(net, pattern, {.search = search}); });
  return accepts(a, text);
}

// std::regex (ECMAScript) is the oracle, on all texts of up to four of six letters.
TEST(Regex, IsThatOfEcmaScript) {
  const std::string letters = "ab1-c_";
  std::vector<std::string> texts{""};
  for (size_t i = 0; i < texts.size() && texts[i].size() < 4; ++i)
    for (const char c : letters) texts.push_back(texts[i] + c);
  for (const std::string pattern : {"a*b",  "(a|b)+", "a{2}",   "a{1,3}b?",    "a{2,}",        "[a-c]{2}",      "[^a]b",
                                    "\\d+", "\\w\\W", ".1.",    "(ab|a)(b|1)", "a|b1|",        "(?:a|1)*-",     "[-a]+",
                                    "[a-]", "a??b",   "(a*)*1", "x{0}a",       "\\x61\\u0062", "(a|ab)(c|bcd)*"}) {
    Automaton a = automaton_of([&](Network& net) { return compile_regex(net, pattern, {}); });
    Automaton s = automaton_of([&](Network& net) { return compile_regex(net, pattern, {.search = true}); });
    const std::regex oracle(pattern);
    for (const std::string& text : texts) {
      ASSERT_EQ(accepts(a, text), std::regex_match(text, oracle)) << pattern << " on " << text;
      ASSERT_EQ(accepts(s, text), std::regex_search(text, oracle)) << pattern << " in " << text;
    }
  }
}

TEST(Regex, LettersAreCodePoints) {
  EXPECT_TRUE(matches("[多肉]{2}", "多肉"));
  EXPECT_FALSE(matches("[多肉]{2}", "多"));
  EXPECT_TRUE(matches(".", "\U0001F335"));
  EXPECT_TRUE(matches("[^a]", "é"));
  EXPECT_FALSE(matches(".", "\xC3"));
  EXPECT_TRUE(matches("[\\u0100-\\uFFFF]", "\uD7FF"));
  EXPECT_TRUE(matches("[\\u0100-\\uFFFF]", "Ā"));
  EXPECT_FALSE(matches("[\\u0100-\\uFFFF]", "ÿ"));
  EXPECT_TRUE(matches("^b", "bc", true));
  EXPECT_FALSE(matches("^b", "abc", true));
  EXPECT_TRUE(matches("b$|^c", "ab", true));
}

TEST(Regex, WhatCannotBeKeptToIsRefused) {
  for (const std::string pattern :
       {"(?=a)b", "(?<!a)b", "(a)\\1", "\\bword", "a(", "a)", "[a", "a{3,2}", "*a", "a\\", "[b-a]", "a^b", "(?i)a"})
    EXPECT_THAT(problem_of([&] { matches(pattern, ""); }), HasSubstr("regular expression")) << pattern;
  EXPECT_THAT(problem_of([&] { matches("((a{1000}){1000}){1000}", ""); }), HasSubstr("too large"));
  EXPECT_THAT(problem_of([&] { matches("[]", ""); }), HasSubstr("no text at all"));
  EXPECT_THAT(problem_of([&] { matches(std::string(1000, '(') + std::string(1000, ')'), ""); }), HasSubstr("deep"));
}

TEST(DecimalRange, HoldsExactlyTheNumbersBetween) {
  for (const auto& [low, high] :
       {std::pair<int64_t, int64_t>{0, 0}, {0, 9}, {7, 123}, {-15, 4}, {-230, -17}, {99, 101}, {-1, 1}, {1000, 1999}}) {
    Automaton a = automaton_of([&](Network& net) { return decimal_range(net, low, high, 0); });
    Automaton d = automaton_of([&](Network& net) { return decimal_range(net, low, high, 1); });
    for (int64_t n = -2500; n <= 2500; ++n) {
      ASSERT_EQ(accepts(a, std::to_string(n)), low <= n && n <= high) << n;
      const std::string decimal =
          std::string(n < 0 ? "-" : "") + std::to_string(std::abs(n) / 10) + "." + std::to_string(std::abs(n) % 10);
      ASSERT_EQ(accepts(d, decimal), low <= n && n <= high) << decimal;
    }
    EXPECT_FALSE(accepts(a, "007"));
    EXPECT_FALSE(accepts(a, ""));
  }
}

// A validator of its own, as the specification reads.
bool valid(const Json& schema, const Json& v, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>();
  const auto is = [&](const std::string& type) {
    return type == "null"      ? v.is_null()
           : type == "boolean" ? v.is_boolean()
           : type == "string"  ? v.is_string()
           : type == "array"   ? v.is_array()
           : type == "object"  ? v.is_object()
           : type == "number"  ? v.is_number()
                               : v.is_number() && v.get<double>() == std::floor(v.get<double>());
  };
  const auto number = [&](const char* key) { return schema[key].get<double>(); };
  if (schema.contains("$ref")) {
    const std::string ref = schema["$ref"];
    if (!valid(root.at(Json::json_pointer(ref.substr(1))), v, root)) return false;
  }
  if (schema.contains("type")) {
    bool any = false;
    for (const Json& t : schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]})) any |= is(t);
    if (!any) return false;
  }
  if (schema.contains("const") && v != schema["const"]) return false;
  if (schema.contains("enum") && std::find(schema["enum"].begin(), schema["enum"].end(), v) == schema["enum"].end())
    return false;
  const auto count = [&](const char* key) {
    return std::count_if(schema[key].begin(), schema[key].end(), [&](const Json& s) { return valid(s, v, root); });
  };
  if (schema.contains("anyOf") && count("anyOf") == 0) return false;
  if (schema.contains("oneOf") && count("oneOf") != 1) return false;
  if (schema.contains("allOf") && count("allOf") != long(schema["allOf"].size())) return false;
  if (v.is_number()) {
    const double x = v.get<double>();
    if (schema.contains("minimum") && x < number("minimum")) return false;
    if (schema.contains("maximum") && x > number("maximum")) return false;
    if (schema.contains("exclusiveMinimum") && x <= number("exclusiveMinimum")) return false;
    if (schema.contains("exclusiveMaximum") && x >= number("exclusiveMaximum")) return false;
    if (schema.contains("multipleOf") && std::abs(std::remainder(x, number("multipleOf"))) > 1e-9) return false;
  }
  if (v.is_string()) {
    const std::string text = v;
    const auto length = std::count_if(text.begin(), text.end(), [](char c) { return (uint8_t(c) & 0xC0) != 0x80; });
    if (schema.contains("minLength") && double(length) < number("minLength")) return false;
    if (schema.contains("maxLength") && double(length) > number("maxLength")) return false;
    if (schema.contains("pattern") && !std::regex_search(text, std::regex(schema["pattern"].get<std::string>())))
      return false;
    const std::string format = schema.value("format", "");
    if (format == "date" && !std::regex_match(text, std::regex("\\d{4}-\\d\\d-\\d\\d"))) return false;
    if (format == "uuid" && !std::regex_match(text, std::regex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")))
      return false;
  }
  if (v.is_array()) {
    const size_t fixed = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    for (size_t i = 0; i < v.size(); ++i) {
      if (i < fixed && !valid(schema["prefixItems"][i], v[i], root)) return false;
      if (i >= fixed && schema.contains("items") && !valid(schema["items"], v[i], root)) return false;
    }
    if (schema.contains("minItems") && double(v.size()) < number("minItems")) return false;
    if (schema.contains("maxItems") && double(v.size()) > number("maxItems")) return false;
  }
  if (v.is_object()) {
    for (const Json& name : schema.value("required", Json::array()))
      if (!v.contains(name.get<std::string>())) return false;
    for (const auto& [name, of] : v.items()) {
      const bool known = schema.contains("properties") && schema["properties"].contains(name);
      if (known && !valid(schema["properties"][name], of, root)) return false;
      if (!known && schema.contains("additionalProperties") && !valid(schema["additionalProperties"], of, root))
        return false;
      if (schema.contains("propertyNames") && !valid(schema["propertyNames"], Json(name), root)) return false;
    }
    if (schema.contains("maxProperties") && double(v.size()) > number("maxProperties")) return false;
    if (schema.contains("minProperties") && double(v.size()) < number("minProperties")) return false;
  }
  return true;
}

class Schemas : public ::testing::Test {
 protected:
  Runtime runtime_{1};
  RuntimeModel model_{runtime_, testing::tiny_model(), {.compute = Compute::kF32}};
  std::shared_ptr<const Tokenizer> tokenizer_ = model_.checkpoint().tokenizer();
  std::shared_ptr<const TokenTable> table_ = std::make_shared<TokenTable>(*tokenizer_, 320);

  // A walk over allowed tokens, every one as likely; after a while the shortest way out is favoured. nullopt: it took too long.
  std::optional<std::string> walk(Grammar& grammar, uint64_t seed) {
    const Random random(seed, Purpose::kTest);
    int state = grammar.start();
    std::vector<int32_t> ids;
    for (uint64_t step = 0; step < 1500; ++step) {
      if (grammar.must_end(state) || (grammar.can_end(state) && random.uniform(3 * step) < 0.5f))
        return tokenizer_->decode(ids);
      std::vector<int32_t> choices, closing;
      const auto mask = grammar.allowed(state);
      for (int32_t id = 0; id < 320; ++id)
        if ((mask[size_t(id) / 64] >> (id % 64) & 1) && !tokenizer_->ends_generation(id)) {
          choices.push_back(id);
          const std::string_view bytes = table_->bytes(id);
          if (bytes == "\"" || bytes == "}" || bytes == "]" || bytes == "0") closing.push_back(id);
        }
      if (choices.empty()) return tokenizer_->decode(ids);
      const float eager = step < 200 ? 0.1f : 0.9f;
      const auto& from = !closing.empty() && random.uniform(3 * step + 1) < eager ? closing : choices;
      ids.push_back(from[random.below(from.size(), 3 * step + 2)]);
      state = grammar.next(state, ids.back());
      if (state < 0) ADD_FAILURE() << "an allowed token led nowhere";
      if (state < 0) return std::nullopt;
    }
    return std::nullopt;
  }
};

const char* const kSuite[] = {
    R"({})",
    R"({"type": "object"})",
    R"({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4})",
    R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["name", "age"], "additionalProperties": false})",
    R"({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "number"}, "c": {"enum": ["x", 3, null, {"k": [1, 2]}]}}, "required": ["b"]})",
    R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}}})",
    R"({"type": "string", "minLength": 3, "maxLength": 7})",
    R"({"type": "string", "pattern": "^[A-Z][a-z]*( [0-9]{2,3})?$"})",
    R"x({"type": "string", "pattern": "^(a\"b|\\\\n)+$"})x",
    R"({"type": "string", "format": "date"})",
    R"({"type": "array", "items": {"type": "string", "format": "uuid"}, "maxItems": 1})",
    R"({"type": "number", "minimum": -2.5, "exclusiveMaximum": 7.25})",
    R"({"type": "number", "exclusiveMinimum": 0.2, "maximum": 0.5})",
    R"({"type": "integer", "exclusiveMinimum": -4, "exclusiveMaximum": 3})",
    R"({"type": "number", "multipleOf": 0.01, "minimum": 0})",
    R"({"type": ["integer", "null", "string"], "maxLength": 2})",
    R"({"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"deep": {"$ref": "#"}}, "required": ["deep"]}]})",
    R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}, "required": ["kind", "r"]}, {"type": "object", "properties": {"kind": {"const": "square"}, "a": {"type": "number"}}, "required": ["kind", "a"]}]})",
    R"({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"type": "boolean"}, "a": {"minimum": 5}}, "required": ["b"]}]})",
    R"({"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["value", "next"], "additionalProperties": false}}, "$ref": "#/$defs/node"})",
    R"({"$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 3}}, "$ref": "#/$defs/tree"})",
    R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string", "maxLength": 4}], "items": {"type": "boolean"}, "minItems": 3})",
    R"({"type": "array", "prefixItems": [{"const": 1}, {"const": "two"}], "items": false})",
    R"({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3})",
    R"({"type": "object", "propertyNames": {"pattern": "^[a-c]{1,3}$"}, "additionalProperties": {"type": "boolean"}, "minProperties": 1})",
    R"({"const": {"text": "多肉 \"植物\"\n", "n": -0.5, "list": [true, null]}})",
    R"({"title": "Reply", "description": "annotated", "type": "object", "properties": {"多肉": {"type": "string", "maxLength": 3, "default": ""}}, "required": ["多肉"]})",
    R"({"type": "object", "required": ["free"], "properties": {}})",
};

TEST_F(Schemas, NothingThatBreaksTheSchemaIsEverWritten) {
  for (const char* const text : kSuite) {
    const Json schema = parse_json<Json>(text);
    const auto grammar = Grammar::compile({.kind = GrammarSpec::Kind::kJsonSchema, .text = text}, table_);
    int finished = 0;
    for (uint64_t seed = 0; seed < 25; ++seed) {
      const auto answer = walk(*grammar, seed);
      if (!answer) continue;
      ++finished;
      const Json value = try_parse_json<Json>(*answer);
      ASSERT_FALSE(value.is_discarded()) << text << " gave " << *answer;
      ASSERT_TRUE(valid(schema, value, schema)) << text << " gave " << *answer;
    }
    EXPECT_GE(finished, 15) << text;
  }
}

TEST_F(Schemas, TextsThatPeopleWriteAreAllowed) {
  const auto grammar = Grammar::compile(
      {.kind = GrammarSpec::Kind::kJsonSchema,
       .text =
           R"({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}}, "b": {"type": "string"}}, "required": ["b"]})"},
      table_);
  const auto good = [&](const std::string& text) {
    int state = grammar->start();
    for (const int32_t id : tokenizer_->encode(text)) {
      const auto mask = grammar->allowed(state);
      if ((mask[size_t(id) / 64] >> (id % 64) & 1) == 0) return false;
      state = grammar->next(state, id);
    }
    return grammar->can_end(state);
  };
  EXPECT_TRUE(good(R"({"a": [1, -2.5e3, 0.1], "b": "多肉 \u00e9\n"})"));
  EXPECT_TRUE(good("{\n  \"b\": \"\"\n}"));
  EXPECT_TRUE(good(R"({"b":"x"})"));
  EXPECT_FALSE(good(R"({"a": [1]})"));
  EXPECT_FALSE(good(R"({"b": "x", "a": []})"));  // another order
  EXPECT_FALSE(good(R"({"b": "x"} )"));
  EXPECT_FALSE(good(R"({"b": x})"));
}

TEST_F(Schemas, WhatCannotBeKeptToIsRefusedWithItsPlace) {
  const auto problem = [&](const std::string& text) {
    return problem_of([&] { Grammar::compile({.kind = GrammarSpec::Kind::kJsonSchema, .text = text}, table_); });
  };
  EXPECT_THAT(problem("{"), HasSubstr("no JSON"));
  EXPECT_THAT(problem("[]"), HasSubstr("neither"));
  EXPECT_THAT(problem(R"({"properties": {"a": {"not": {}}}})"), HasSubstr("/properties/a"));
  EXPECT_THAT(problem(R"({"type": "array", "uniqueItems": true})"), HasSubstr("uniqueItems"));
  EXPECT_THAT(problem(R"({"type": "integer", "multipleOf": 7})"), HasSubstr("multipleOf"));
  EXPECT_THAT(problem(R"({"$ref": "#/nowhere"})"), HasSubstr("nowhere"));
  EXPECT_THAT(problem(R"({"$ref": "https://example.com/s"})"), HasSubstr("leads out"));
  EXPECT_THAT(problem(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})"), HasSubstr("oneOf"));
  EXPECT_THAT(problem(R"({"type": "integer", "minimum": 5, "maximum": 3})"), HasSubstr("no text"));
  EXPECT_THAT(problem(R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})"),
              HasSubstr("no text"));
  EXPECT_THAT(problem(R"({"$ref": "#"})"), HasSubstr("no text"));
  EXPECT_THAT(problem(R"({"type": "object", "required": ["a"], "additionalProperties": false})"),
              HasSubstr("not allowed"));
  EXPECT_THAT(problem(R"({"type": "string", "minLength": 1e9})"), HasSubstr("minLength"));
  EXPECT_THAT(problem(R"({"type": "strnig"})"), HasSubstr("strnig"));
  EXPECT_THAT(problem(R"x({"type": "string", "pattern": "(?=x)"})x"), HasSubstr("regular expression"));
  EXPECT_THAT(problem(R"({"type": 5})"), HasSubstr("type"));
  EXPECT_THAT(problem(R"({"required": [1]})"), HasSubstr("required"));
  EXPECT_THAT(problem(R"({"enum": []})"), HasSubstr("enum"));
  std::string nested = "{}";
  for (int i = 0; i < 300; ++i) nested = R"({"type": "array", "items": )" + nested + "}";
  EXPECT_THAT(problem(nested), HasSubstr("deep"));
}

}  // namespace
}  // namespace sedum::grammar
