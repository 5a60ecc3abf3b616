// The functions that every template can call.

#include "text/jinja/interpreter.h"

namespace sedum::jinja {

namespace {

Value g_raise(Interpreter& in, const Value&, const Arguments& a) {
  const auto args = in.bind("raise_exception", a, {"message"});
  in.fail(in.text(args[0]));
}

Value g_strftime_now(Interpreter& in, const Value&, const Arguments& a) {
  const auto args = in.bind("strftime_now", a, {"format"});
  const std::string format = in.text(args[0]);
  const std::time_t now = in.now();
  std::tm local{};
  localtime_r(&now, &local);
  if (format.size() > 1000) in.fail("strftime_now: the format is too long");
  std::string out(16 * format.size() + 256, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
  return in.string(std::move(out));
}

Value g_range(Interpreter& in, const Value&, const Arguments& a) {
  const auto& p = a.positional;
  if (p.empty() || p.size() > 3 || !a.named.empty()) in.fail("range expects one to three arguments");
  const int64_t begin = p.size() > 1 ? in.to_int(p[0], "a range's start") : 0,
                end = in.to_int(p[p.size() > 1], "a range's end");
  const int64_t step = p.size() > 2 ? in.to_int(p[2], "a range's step") : 1;
  constexpr size_t kLongest = 100'000;  // Jinja's sandbox
  if (step == 0) in.fail("range's step must not be zero");
  std::vector<Value> items;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (items.size() == kLongest) in.fail("a range of more than " + std::to_string(kLongest) + " items");
    items.push_back(Value(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return in.list(std::move(items));
}

// The arguments of dict() and namespace(): a mapping or pairs, then names.
std::vector<std::pair<Value, Value>> entries(Interpreter& in, const Arguments& a) {
  Dict d;
  if (a.positional.size() > 1) in.fail("expected at most one positional argument");
  if (!a.positional.empty() && a.positional[0].is(Type::kDict)) {
    d.items = a.positional[0].as_dict()->items;
  } else if (!a.positional.empty()) {
    for (const Value& pair : in.iterate(a.positional[0])) {
      const std::vector<Value> both = in.iterate(pair);
      if (both.size() != 2) in.fail("expected pairs of a key and a value");
      in.charge(1 + d.items.size() / 16);
      d.set(both[0], both[1]);
    }
  }
  for (const auto& [name, value] : a.named) d.set(Value(name), value);
  return std::move(d.items);
}

Value g_dict(Interpreter& in, const Value&, const Arguments& a) { return in.dict(entries(in, a)); }

Value g_namespace(Interpreter& in, const Value&, const Arguments& a) {
  Value v = in.make_namespace();
  for (const auto& [key, value] : entries(in, a)) {
    if (!key.is_string() || key.as_string().starts_with('_')) in.fail("a namespace takes no attribute " + to_repr(key));
    static_cast<Namespace&>(*v.as_object()).set(key.as_string(), value);
  }
  return v;
}

// cycler("odd", "even").next()
class Cycler : public Object, public std::enable_shared_from_this<Cycler> {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {
    for (const Value& v : items_) depth = std::max(depth, 1 + depth_of(v));
  }
  std::string type_name() const override { return "Cycler"; }
  std::optional<Value> attribute(const std::string& name) const override {
    if (name == "current") return items_[at_];
    if (name != "next" && name != "reset") return std::nullopt;
    const Value self(std::const_pointer_cast<Object>(std::static_pointer_cast<const Object>(shared_from_this())));
    return Value(std::shared_ptr<Object>(std::make_shared<Function>(name, name == "next" ? next : reset, self)));
  }

 private:
  static Value next(Interpreter&, const Value& self, const Arguments&) {
    auto& c = static_cast<Cycler&>(*self.as_object());
    Value v = c.items_[c.at_];
    c.at_ = (c.at_ + 1) % c.items_.size();
    return v;
  }
  static Value reset(Interpreter&, const Value& self, const Arguments&) {
    static_cast<Cycler&>(*self.as_object()).at_ = 0;
    return Value(None{});
  }
  std::vector<Value> items_;
  size_t at_ = 0;
};

Value g_cycler(Interpreter& in, const Value&, const Arguments& a) {
  if (a.positional.empty()) in.fail("no items for cycling given");
  auto cycler = std::make_shared<Cycler>(a.positional);
  in.check_depth(cycler->depth);
  return Value(std::shared_ptr<Object>(std::move(cycler)));
}

// joiner(", "): nothing when called first, the separator from then on.
class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}
  std::string type_name() const override { return "Joiner"; }
  bool is_callable() const override { return true; }
  Value call(Interpreter&, const Arguments&) override { return std::exchange(used_, true) ? separator_ : Value(""); }

 private:
  Value separator_;
  bool used_ = false;
};

Value g_joiner(Interpreter& in, const Value&, const Arguments& a) {
  const auto args = in.bind("joiner", a, {"sep"});
  return Value(
      std::shared_ptr<Object>(std::make_shared<Joiner>(in.string(args[0].is_undefined() ? ", " : in.text(args[0])))));
}

}  // namespace

void define_globals(Interpreter& in) {
  const std::pair<const char*, Function::Body> functions[] = {
      {"raise_exception", g_raise}, {"strftime_now", g_strftime_now},
      {"range", g_range},           {"dict", g_dict},
      {"namespace", g_namespace},   {"cycler", g_cycler},
      {"joiner", g_joiner}};
  for (const auto& [name, body] : functions) in.define(name, in.function(name, body));
}

}  // namespace sedum::jinja
