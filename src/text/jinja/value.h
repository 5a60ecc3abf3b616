#pragma once
// Values of the template language: Python's, as far as templates can see them.
//
//   Value v = Value(int64_t{3});
//   v.truthy();  to_text(v);  to_repr(v);  equal(a, b);
//
// Strings and containers are shared and never changed; only a generator is used up by reading it, as in Python. Containers know
// how deep they are nested, so that nothing that recurses over them can run out of stack (Interpreter::list and ::dict refuse).

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sedum::jinja {

class Interpreter;
struct Sequence;
struct Dict;
struct Arguments;
class Object;

enum class Type { kUndefined, kNone, kBool, kInt, kFloat, kString, kSequence, kDict, kObject };

struct Undefined {
  std::shared_ptr<const std::string> reason;  // "'x' is undefined"
};
struct None {};

class Value {
 public:
  Value() = default;  // undefined
  explicit Value(Undefined undefined) : data_(std::move(undefined)) {}
  explicit Value(None) : data_(None{}) {}
  explicit Value(bool b) : data_(b) {}
  explicit Value(int64_t i) : data_(i) {}
  explicit Value(double d) : data_(d) {}
  explicit Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  explicit Value(const char* text) : Value(std::string(text)) {}
  explicit Value(std::shared_ptr<Sequence> sequence) : data_(std::move(sequence)) {}
  explicit Value(std::shared_ptr<Dict> dict) : data_(std::move(dict)) {}
  explicit Value(std::shared_ptr<Object> object) : data_(std::move(object)) {}

  Type type() const { return Type(data_.index()); }
  bool is(Type t) const { return type() == t; }
  bool is_undefined() const { return is(Type::kUndefined); }
  bool is_none() const { return is(Type::kNone); }
  bool is_string() const { return is(Type::kString); }
  bool is_integral() const { return is(Type::kInt) || is(Type::kBool); }  // a bool is an int
  bool is_number() const { return is_integral() || is(Type::kFloat); }

  // Each only for its own type.
  bool as_bool() const { return std::get<bool>(data_); }
  int64_t as_int() const { return is(Type::kBool) ? as_bool() : std::get<int64_t>(data_); }
  double as_double() const { return is(Type::kFloat) ? std::get<double>(data_) : double(as_int()); }
  const std::string& as_string() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const std::shared_ptr<Sequence>& as_sequence() const { return std::get<std::shared_ptr<Sequence>>(data_); }
  const std::shared_ptr<Dict>& as_dict() const { return std::get<std::shared_ptr<Dict>>(data_); }
  const std::shared_ptr<Object>& as_object() const { return std::get<std::shared_ptr<Object>>(data_); }
  const Undefined& as_undefined() const { return std::get<Undefined>(data_); }

  bool truthy() const;
  bool is_callable() const;

 private:
  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>, std::shared_ptr<Sequence>,
               std::shared_ptr<Dict>, std::shared_ptr<Object>>
      data_;
};

// What a container amounts to when everything that it holds is written out; kept small by Interpreter, since a list that holds
// another one twice, which holds another one twice, ... doubles with each line of a template.
struct Extent {
  int depth = 1;
  uint64_t weight = 1;  // values, and 64 bytes of strings each
  void add(const Value& v);
};

struct Sequence {
  enum Kind { kList, kTuple, kGenerator };
  std::vector<Value> items;
  Kind kind = kList;
  Extent extent;
  size_t used = 0;                                  // of a generator: items already taken
  const std::vector<std::string>* names = nullptr;  // of a named tuple
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in the order of insertion
  Extent extent;
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(Value key, Value value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Whatever is more than data: namespaces, loops, macros, functions.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  virtual std::optional<Value> attribute(const std::string&) const { return std::nullopt; }
  virtual bool is_callable() const { return false; }
  virtual Value call(Interpreter& in, const Arguments& arguments);
  int depth = 1;  // with what it holds
};

int depth_of(const Value& v);
uint64_t weight_of(const Value& v);

std::string type_name(const Value& v);  // Python's: "str", "NoneType", ...
bool equal(const Value& a, const Value& b);
std::string to_text(const Value& v);  // str(v)
std::string to_repr(const Value& v);  // repr(v)
std::string float_repr(double d);

struct JsonStyle {
  bool ensure_ascii = false, sort_keys = false;
  std::optional<std::string> indent;  // of one level
  std::optional<std::string> item_separator, key_separator;
};
// json.dumps. Throws std::string, the reason, for what JSON cannot say.
std::string to_json(const Value& v, const JsonStyle& style);

}  // namespace sedum::jinja
