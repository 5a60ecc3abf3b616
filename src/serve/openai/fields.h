#pragma once
// Reading a JSON object by a schema: each field is asked for with its type and range, and whatever has not been asked for at the end is
// unknown.
//
//   Fields fields(parse_object(body));
//   float t = float(fields.number("temperature", 1, {.min = 0, .max = 2}));
//   fields.unsupported("logit_bias");     // null or empty only
//   fields.ignored({"user"});
//   fields.end();                         // throws Failure for what is left, naming the nearest known field

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace sedum::openai {

nlohmann::json parse_object(std::string_view body);
const char* type_name(const nlohmann::json& value);  // "a string", "an array" …

struct Range {
  double min, max;
};

class Fields {
 public:
  // `path` precedes the names in messages: "stream_options.".
  explicit Fields(const nlohmann::json& object, std::string path = "") : object_(object), path_(std::move(path)) {}

  const nlohmann::json* find(const char* name);  // null if absent or null
  const nlohmann::json& required(const char* name);
  bool boolean(const char* name, bool otherwise);
  double number(const char* name, double otherwise, Range range);
  int64_t integer(const char* name, int64_t otherwise, Range range);
  std::string text(const char* name);  // required
  void unsupported(const char* name);  // unless null, false, 0, "" or empty
  void ignored(std::initializer_list<const char*> names);
  void end() const;

  [[noreturn]] void fail(const std::string& name, const std::string& message) const;
  [[noreturn]] void wrong_type(const std::string& name, const char* expected, const nlohmann::json& got) const;

 private:
  const nlohmann::json& object_;
  const std::string path_;
  std::set<std::string> known_;
};

}  // namespace sedum::openai
