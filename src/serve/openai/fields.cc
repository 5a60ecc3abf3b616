#include "serve/openai/fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "serve/openai/failure.h"

namespace sedum::openai {
namespace {
constexpr int kMaxDepth = 64;
constexpr size_t kMaxFields = 2000;
}  // namespace

json parse_object(std::string_view body) {
  // No field is deeper than messages[i].content[j].text; what copies, compares or frees a value may recurse.
  std::vector<size_t> fields(size_t(kMaxDepth) + 2);  // of the object that is open at each depth
  const auto not_too_large = [&](int depth, json::parse_event_t event, json&) {
    if (depth > kMaxDepth)
      throw Failure::invalid("", fmt::format("the body is nested deeper than {} levels", kMaxDepth), "invalid_json");
    if (event == json::parse_event_t::object_start) fields[size_t(depth) + 1] = 0;
    if (event == json::parse_event_t::key && ++fields[size_t(depth)] > kMaxFields)
      throw Failure::invalid("", fmt::format("an object has more than {} fields", kMaxFields), "invalid_json");
    return true;
  };
  json value;
  try {
    value = json::parse(body, not_too_large);
  } catch (const json::parse_error& e) {
    throw Failure::invalid("", fmt::format("the body is not valid JSON: error at byte {}", e.byte), "invalid_json");
  } catch (const json::out_of_range&) {
    throw Failure::invalid("", "the body holds a number that is too large", "invalid_json");
  }
  if (!value.is_object())
    throw Failure::invalid("", fmt::format("the body must be a JSON object, it is {}", type_name(value)));
  return value;
}

const char* type_name(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::boolean:
      return "a boolean";
    case json::value_t::string:
      return "a string";
    case json::value_t::array:
      return "an array";
    case json::value_t::object:
      return "an object";
    case json::value_t::number_float:
      return "a decimal number";
    default:
      return "an integer";
  }
}

void Fields::fail(const std::string& name, const std::string& message) const {
  throw Failure::invalid(path_ + name, path_ + name + " " + message, "invalid_value");
}

void Fields::wrong_type(const std::string& name, const char* expected, const json& got) const {
  throw Failure::invalid(path_ + name, fmt::format("{}{} must be {}, it is {}", path_, name, expected, type_name(got)),
                         "invalid_type");
}

const json* Fields::find(const char* name) {
  known_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const json& Fields::required(const char* name) {
  const json* value = find(name);
  if (!value) throw Failure::invalid(path_ + name, path_ + name + " is required", "missing_required_parameter");
  return *value;
}

bool Fields::boolean(const char* name, bool otherwise) {
  const json* value = find(name);
  if (value && !value->is_boolean()) wrong_type(name, "a boolean", *value);
  return value ? value->get<bool>() : otherwise;
}

double Fields::number(const char* name, double otherwise, Range range) {
  const json* value = find(name);
  if (!value) return otherwise;
  if (!value->is_number()) wrong_type(name, "a number", *value);
  const double number = value->get<double>();
  if (!(number >= range.min && number <= range.max)) {
    fail(name, fmt::format("must be between {} and {}, it is {}", range.min, range.max, number));
  }
  return number;
}

float Fields::share(const char* name) {
  const double share = number(name, 1, {0, 1});
  if (share == 0) fail(name, "must be above 0");
  return std::max(float(share), std::numeric_limits<float>::min());  // the least above 0 is no 0
}

bool is_whole(const json& value) {
  return value.is_number_integer() ||
         (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
}

namespace {

// Exactly: doubles would not tell neighbours beyond 2^53 apart.
bool within(const json& value, Range range) {
  if (value.is_number_float()) return value.get<double>() >= range.min && value.get<double>() <= range.max;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max())) return false;
  return value.get<int64_t>() >= int64_t(range.min) && value.get<int64_t>() <= int64_t(range.max);
}

}  // namespace

int64_t Fields::integer(const char* name, int64_t otherwise, Range range) {
  const json* value = find(name);
  if (!value) return otherwise;
  if (!is_whole(*value)) wrong_type(name, "an integer", *value);
  if (!within(*value, range)) {
    fail(name, fmt::format("must be between {:.0f} and {:.0f}, it is {}", range.min, range.max, value->dump()));
  }
  return value->is_number_float() ? int64_t(value->get<double>()) : value->get<int64_t>();
}

std::string Fields::text(const char* name) {
  const json& value = required(name);
  if (!value.is_string()) wrong_type(name, "a string", value);
  return value.get<std::string>();
}

std::string Fields::text_or(const char* name, const std::string& otherwise) {
  return find(name) ? text(name) : otherwise;
}

std::string Fields::one_of(const char* name, std::initializer_list<const char*> values, const char* otherwise) {
  const std::string value = text_or(name, otherwise);
  if (std::find(values.begin(), values.end(), value) == values.end())
    fail(name, fmt::format("must be one of {}, it is \"{}\"", fmt::join(values, ", "), value));
  return value;
}

const json* Fields::object(const char* name) {
  const json* value = find(name);
  if (value && !value->is_object()) wrong_type(name, "an object", *value);
  return value;
}

const json* Fields::array(const char* name, size_t at_most) {
  const json* value = find(name);
  if (value && !value->is_array()) wrong_type(name, "an array", *value);
  if (value && value->size() > at_most) fail(name, fmt::format("must hold at most {} items", at_most));
  return value;
}

void Fields::unsupported(const char* name) {
  const json* value = find(name);
  if (!value || (value->is_boolean() && !value->get<bool>()) || (value->is_number() && value->get<double>() == 0))
    return;
  if ((value->is_structured() || value->is_string()) && (value->empty() || *value == "")) return;
  throw Failure::invalid(path_ + name, path_ + name + " is not supported by this server", "unsupported_parameter");
}

void Fields::ignored(std::initializer_list<const char*> names) {
  for (const char* name : names) known_.insert(name);
}

void Fields::end() const {
  for (const auto& [name, value] : object_.items()) {
    if (known_.count(name)) continue;
    const std::string near = nearest_name(name, known_);
    throw Failure::invalid(
        path_ + name, "unknown field " + path_ + name + (near.empty() ? "" : "; did you mean " + path_ + near + "?"),
        "unknown_parameter");
  }
}

}  // namespace sedum::openai
