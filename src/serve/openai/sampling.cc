// The fields that steer generation.
#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "serve/openai/failure.h"
#include "serve/openai/fields.h"
#include "serve/openai/request.h"
#include "text/unicode.h"

namespace sedum::openai {
namespace {

constexpr double kMaxInt = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopCharacters = 1000;
constexpr size_t kMaxBiases = 1024;
constexpr size_t kMaxChoices = 1000;
constexpr size_t kMaxPatternCharacters = 10'000;

std::vector<std::pair<int32_t, float>> parse_logit_bias(Fields& fields) {
  std::vector<std::pair<int32_t, float>> biases;
  const json* object = fields.object("logit_bias");
  if (!object) return biases;
  if (object->size() > kMaxBiases) fields.fail("logit_bias", fmt::format("must hold at most {} tokens", kMaxBiases));
  Fields inner(*object, "logit_bias.");
  for (const auto& [key, value] : object->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || key != std::to_string(id))  // no 007
      fields.fail("logit_bias", "must map token ids to numbers; \"" + key + "\" is no token id");
    inner.required(key.c_str());  // null is no number here
    biases.emplace_back(id, float(inner.number(key.c_str(), 0, {-100, 100})));
  }
  return biases;
}

// As vLLM names them; one of them at most, and none beside a response_format.
void parse_guided(Fields& fields, CommonRequest& request) {
  GrammarSpec& grammar = request.grammar;
  const auto take = [&](const char* field, GrammarSpec spec) {
    if (!request.grammar_field.empty()) fields.fail("guided_json", "cannot stand beside another guided_ field");
    grammar = std::move(spec), request.grammar_field = field;
  };
  if (const json* schema = fields.object("guided_json"))
    take("guided_json", {.kind = GrammarSpec::Kind::kJsonSchema, .text = schema->dump()});
  if (fields.find("guided_regex")) {
    take("guided_regex", {.kind = GrammarSpec::Kind::kRegex, .text = fields.text("guided_regex")});
    if (unicode::count_characters(grammar.text) > kMaxPatternCharacters)
      fields.fail("guided_regex", fmt::format("must not be longer than {} characters", kMaxPatternCharacters));
  }
  if (const json* choices = fields.array("guided_choice", kMaxChoices)) {
    take("guided_choice", {.kind = GrammarSpec::Kind::kChoices});
    for (const json& choice : *choices) {
      if (!choice.is_string()) fields.wrong_type("guided_choice", "an array of strings", choice);
      grammar.choices.push_back(choice.get<std::string>());
      if (grammar.choices.back().empty()) fields.fail("guided_choice", "must not hold an empty string");
    }
    if (grammar.choices.empty()) fields.fail("guided_choice", "must not be empty");
  }
}

// 0 switches off what the least above 0 does not.
float as_float(double value) { return value > 0 ? std::max(float(value), std::numeric_limits<float>::min()) : 0; }

void parse_beams(Fields& fields, SamplingParams& sampling) {
  sampling.num_beams = int(fields.integer("num_beams", 1, {1, 16}));
  sampling.num_beam_groups = int(fields.integer("num_beam_groups", 1, {1, 16}));
  sampling.length_penalty = float(fields.number("length_penalty", 1, {-10, 10}));
  sampling.diversity_penalty = as_float(fields.number("diversity_penalty", 0, {0, 100}));
  sampling.penalty_alpha = as_float(fields.number("penalty_alpha", 0, {0, 1}));
  if (const json* early = fields.find("early_stopping")) {
    if (*early == "never")
      sampling.early_stopping = EarlyStopping::kNever;
    else if (early->is_boolean())
      sampling.early_stopping = early->get<bool>() ? EarlyStopping::kTrue : EarlyStopping::kFalse;
    else
      fields.wrong_type("early_stopping", "a boolean or \"never\"", *early);
  }
}

GrammarSpec parse_format(const json& format, const std::string& path, bool inner) {
  Fields fields(format, path);
  const std::string type = fields.one_of("type", {"text", "json_object", "json_schema"}, "");
  GrammarSpec grammar;
  if (type == "json_object") grammar.kind = GrammarSpec::Kind::kJson;
  if (type == "json_schema") {
    const json* holder = inner ? fields.object("json_schema") : &format;
    if (!holder) fields.required("json_schema");
    Fields schema(*holder, inner ? path + "json_schema." : path);
    check_tool_name(schema, "name", schema.text("name"));
    schema.text_or("description", "");
    schema.boolean("strict", false);
    if (!inner) schema.ignored({"type"});
    grammar.kind = GrammarSpec::Kind::kJsonSchema;
    if (const json* found = schema.object("schema"))
      grammar.text = found->dump();
    else
      grammar.kind = GrammarSpec::Kind::kJson;
    schema.end();
    if (!inner) return grammar;
  }
  fields.end();
  return grammar;
}

}  // namespace

std::vector<std::string> parse_stop(Fields& fields, const char* name) {
  const json* value = fields.find(name);
  if (!value) return {};
  if (!value->is_string() && !value->is_array()) fields.wrong_type(name, "a string or an array of strings", *value);
  std::vector<std::string> stops;
  for (const json& item : value->is_array() ? *value : json::array({*value})) {
    if (!item.is_string()) fields.wrong_type(name, "a string or an array of strings", item);
    if (item == "") fields.fail(name, "must not hold an empty string");
    stops.push_back(item.get<std::string>());
    if (unicode::count_characters(stops.back()) > kMaxStopCharacters)
      fields.fail(name, fmt::format("must not hold strings over {} characters", kMaxStopCharacters));
    if (stops.size() > kMaxStops) fields.fail(name, fmt::format("must hold at most {} strings", kMaxStops));
  }
  return stops;
}

void parse_sampling(Fields& fields, CommonRequest& request) {
  request.model = fields.text("model");
  SamplingParams& sampling = request.sampling;
  sampling.temperature = float(fields.number("temperature", 1, {0, 2}));
  sampling.top_p = fields.share("top_p");
  sampling.top_k =
      int(std::max<int64_t>(0, fields.integer("top_k", 0, {-1, kMaxInt})));  // some clients say "off" by −1
  sampling.min_p = float(fields.number("min_p", 0, {0, 1}));
  sampling.typical_p = fields.share("typical_p");
  sampling.repetition_penalty = float(fields.number("repetition_penalty", 1, {0.01, 10}));
  sampling.frequency_penalty = float(fields.number("frequency_penalty", 0, {-2, 2}));
  sampling.presence_penalty = float(fields.number("presence_penalty", 0, {-2, 2}));
  sampling.logit_bias = parse_logit_bias(fields);
  sampling.ignore_end = fields.boolean("ignore_eos", false);
  sampling.stop = parse_stop(fields, "stop");
  if (fields.find("seed")) request.seed = uint64_t(fields.integer("seed", 0, {1024 - 0x1p63, 0x1p63 - 1024}));
  sampling.n = int(fields.integer("n", 1, {1, kMaxAnswers}));
  parse_beams(fields, sampling);
  parse_guided(fields, request);
  request.stream = fields.boolean("stream", false);
  if (const json* options = fields.object("stream_options")) {
    if (!request.stream) fields.fail("stream_options", "is only allowed when stream is true");
    Fields inner(*options, "stream_options.");
    request.include_usage = inner.boolean("include_usage", false);
    inner.boolean("include_obfuscation", false);
    inner.end();
  }
  fields.ignored(
      {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"});
}

void add_format(Fields& fields, const char* name, bool inner, CommonRequest& request) {
  const json* format = fields.object(name);
  if (!format) return;
  GrammarSpec found = parse_format(*format, fields.path() + name + ".", inner);
  if (found.kind == GrammarSpec::Kind::kNone) return;
  if (!request.grammar_field.empty()) fields.fail(name, "cannot stand beside a guided_ field");
  request.grammar = std::move(found);
  request.grammar_field = fields.path() + name + (inner ? ".json_schema.schema" : ".schema");
}

}  // namespace sedum::openai
