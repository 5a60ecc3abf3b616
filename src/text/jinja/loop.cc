#include "text/jinja/loop.h"

#include <algorithm>

namespace sedum::jinja {

std::optional<Value> Loop::attribute(const std::string& name) const {
  const int64_t size = int64_t(items_.size());
  if (name == "index") return Value(index_ + 1);
  if (name == "index0") return Value(index_);
  if (name == "revindex") return Value(size - index_);
  if (name == "revindex0") return Value(size - index_ - 1);
  if (name == "first") return Value(index_ == 0);
  if (name == "last") return Value(index_ == size - 1);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(int64_t{loop_depth_ + 1});
  if (name == "depth0") return Value(int64_t{loop_depth_});
  const auto undefined = [](const char* reason) {
    return Value(Undefined{std::make_shared<const std::string>(reason)});
  };
  if (name == "previtem") return index_ > 0 ? items_[size_t(index_ - 1)] : undefined("there is no previous item");
  if (name == "nextitem") return index_ + 1 < size ? items_[size_t(index_ + 1)] : undefined("there is no next item");
  const auto method = [&](Function::Body body) {
    const Value self(std::const_pointer_cast<Object>(std::static_pointer_cast<const Object>(shared_from_this())));
    return Value(std::shared_ptr<Object>(std::make_shared<Function>(name, body, self)));
  };
  if (name == "cycle") return method(cycle);
  if (name == "changed") return method(changed);
  return std::nullopt;
}

Value Loop::cycle(Interpreter& in, const Value& self, const Arguments& arguments) {
  const auto& loop = static_cast<const Loop&>(*self.as_object());
  if (arguments.positional.empty()) in.fail("no items for cycling given");
  return arguments.positional[size_t(std::max<int64_t>(loop.index_, 0)) % arguments.positional.size()];
}

Value Loop::changed(Interpreter& in, const Value& self, const Arguments& arguments) {
  auto& loop = static_cast<Loop&>(*self.as_object());
  const auto& now = arguments.positional;
  const bool same = loop.last_ && std::equal(loop.last_->begin(), loop.last_->end(), now.begin(), now.end(), equal);
  for (const Value& v : now) loop.depth = std::max(loop.depth, 1 + depth_of(v));
  in.check_depth(loop.depth);
  loop.last_ = now;
  return Value(!same);
}

Value Loop::call(Interpreter& in, const Arguments& arguments) {
  if (!statement_) in.fail("the loop is not declared 'recursive'");
  const std::vector<Value> bound = in.bind("loop", arguments, {"iterable"});
  Output out;
  in.run_for(*statement_, bound[0], scope_, out, loop_depth_ + 1);
  return in.string(std::move(out.text));
}

std::optional<Value> Macro::attribute(const std::string& name) const {
  if (name == "name") return Value(statement_.text);
  return std::nullopt;
}

Value Macro::call(Interpreter& in, const Arguments& arguments) {
  auto scope = std::make_shared<Scope>();
  scope->parent = scope_;
  std::vector<bool> used(arguments.named.size());
  for (size_t i = 0; i < statement_.parameters.size(); i++) {
    const Parameter& p = statement_.parameters[i];
    const auto named =
        std::find_if(arguments.named.begin(), arguments.named.end(), [&](const auto& a) { return a.first == p.name; });
    if (named != arguments.named.end()) used[size_t(named - arguments.named.begin())] = true;
    if (i < arguments.positional.size()) {
      scope->set(p.name, arguments.positional[i]);
    } else if (named != arguments.named.end()) {
      scope->set(p.name, named->second);
    } else if (p.otherwise) {
      scope->set(p.name, in.evaluate(*p.otherwise, scope));
    } else {
      scope->set(p.name,
                 Value(Undefined{std::make_shared<const std::string>("parameter '" + p.name + "' was not provided")}));
    }
  }
  bind_rest(in, arguments, *scope, used);
  Output out;
  in.execute(statement_.body, scope, out);
  return in.string(std::move(out.text));
}

// What the parameters did not take: varargs, kwargs, caller.
void Macro::bind_rest(Interpreter& in, const Arguments& arguments, Scope& scope, std::vector<bool>& used) const {
  std::vector<Value> rest;
  for (size_t i = statement_.parameters.size(); i < arguments.positional.size(); i++)
    rest.push_back(arguments.positional[i]);
  scope.set("varargs", in.list(std::move(rest), Sequence::kTuple));
  std::vector<std::pair<Value, Value>> named;
  scope.set("caller", Value(Undefined{std::make_shared<const std::string>("no caller defined")}));
  for (size_t i = 0; i < arguments.named.size(); i++) {
    if (used[i]) continue;
    if (arguments.named[i].first == "caller") {
      scope.set("caller", arguments.named[i].second);
    } else {
      named.emplace_back(Value(arguments.named[i].first), arguments.named[i].second);
    }
  }
  scope.set("kwargs", in.dict(std::move(named)));
}

}  // namespace sedum::jinja
