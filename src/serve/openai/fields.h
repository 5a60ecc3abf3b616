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

#include "base/json.h"

namespace sedum::openai {

using json = nlohmann::ordered_json;  // a schema's order is the order in which its fields are written

// Refuses what is nested deeper than 64 levels or has an object of more than 2,000 fields (each costs a look at all before it).
json parse_object(std::string_view body);
const char* type_name(const json& value);  // "a string", "an array" …
bool is_whole(const json& value);          // 3 and 3.0, as JSON schemas have it

struct Range {
  double min, max;
};

class Fields {
 public:
  // `path` precedes the names in messages: "stream_options.".
  explicit Fields(const json& object, std::string path = "") : object_(object), path_(std::move(path)) {}

  const json* find(const char* name);  // null if absent or null
  const json& required(const char* name);
  bool boolean(const char* name, bool otherwise);
  double number(const char* name, double otherwise, Range range);
  float share(const char* name);  // above 0, at most 1, which it is when absent
  int64_t integer(const char* name, int64_t otherwise, Range range);
  std::string text(const char* name);  // required
  std::string text_or(const char* name, const std::string& otherwise);
  std::string one_of(const char* name, std::initializer_list<const char*> values, const char* otherwise);
  const json* object(const char* name);  // null if absent or null
  const json* array(const char* name, size_t at_most);
  void unsupported(const char* name);                      // unless null, false, 0, "" or empty
  void ignored(std::initializer_list<const char*> names);  // any value
  void end() const;

  const std::string& path() const { return path_; }
  [[noreturn]] void fail(const std::string& name, const std::string& message) const;
  [[noreturn]] void wrong_type(const std::string& name, const char* expected, const json& got) const;

 private:
  const json& object_;
  const std::string path_;
  std::set<std::string> known_;
};

}  // namespace sedum::openai
