// Filters of sequences and mappings; filters_scalar.cc has those of single values.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"

namespace sedum::jinja {

namespace {

bool given(const Value& v) { return !v.is_undefined() && !v.is_none(); }

// `attribute` of map, sort, join, ...: "a.b.0" or a number.
Value pick(Interpreter& in, const Value& v, const Value& path, const Value& otherwise = Value()) {
  if (path.is_integral()) return in.item(v, path);
  Value current = v;
  const std::string text = in.text(path);
  for (const std::string& part : split_on(text, ".")) {
    const bool number = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    current = in.item(current, number ? Value(int64_t{std::atoll(part.c_str())}) : Value(part));
    if (current.is_undefined() && given(otherwise)) current = otherwise;
  }
  return current;
}

// What a value is sorted and compared by.
Value sort_key(Interpreter& in, const Value& v, const Value& path, bool case_sensitive) {
  const Value key = given(path) ? pick(in, v, path) : v;
  if (case_sensitive || !key.is_string()) return key;
  return in.string(unicode::to_lower(key.as_string()));
}

std::vector<Value> sorted(Interpreter& in, std::vector<Value> items, const Value& path, bool case_sensitive,
                          bool reverse) {
  std::vector<Value> keys, result;
  std::vector<std::string> paths;
  if (given(path) && path.is_string()) paths = split_on(path.as_string(), ",");
  for (const Value& v : items) {
    if (paths.size() < 2) {
      keys.push_back(sort_key(in, v, path, case_sensitive));
      continue;
    }
    std::vector<Value> parts;
    for (const std::string& p : paths) parts.push_back(sort_key(in, v, Value(p), case_sensitive));
    keys.push_back(in.list(std::move(parts)));
  }
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return reverse ? in.less(keys[b], keys[a]) : in.less(keys[a], keys[b]); });
  for (size_t i : order) result.push_back(items[i]);
  return result;
}

Value generator(Interpreter& in, std::vector<Value> items) { return in.list(std::move(items), Sequence::kGenerator); }
Value pair_of(Interpreter& in, const Value& a, const Value& b) { return in.list({a, b}, Sequence::kTuple); }

Value f_sum(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("sum", a, {"attribute", "start"});
  Value total = args[1].is_undefined() ? Value(int64_t{0}) : args[1];
  for (const Value& item : in.iterate(v))
    total = in.binary("+", total, given(args[0]) ? pick(in, item, args[0]) : item);
  return total;
}

Value extreme(Interpreter& in, const Value& v, const Arguments& a, bool largest) {
  const auto args = in.bind(largest ? "max" : "min", a, {"case_sensitive", "attribute"});
  Value best, best_key;
  bool first = true;
  for (const Value& item : in.iterate(v)) {
    const Value key = sort_key(in, item, args[1], args[0].truthy());
    if (first || (largest ? in.less(best_key, key) : in.less(key, best_key))) best = item, best_key = key;
    first = false;
  }
  return best;
}
Value f_max(Interpreter& in, const Value& v, const Arguments& a) { return extreme(in, v, a, true); }
Value f_min(Interpreter& in, const Value& v, const Arguments& a) { return extreme(in, v, a, false); }

Value f_default(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("default", a, {"default_value", "boolean"});
  if (!v.is_undefined() && (!args[1].truthy() || v.truthy())) return v;
  return a.positional.empty() && a.named.empty() ? Value("") : args[0];
}

Value f_length(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("length", a, {});
  return Value(int64_t(in.length(v)));
}

Value f_first(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("first", a, {});
  if (v.is(Type::kSequence) && v.as_sequence()->kind == Sequence::kGenerator) {
    Sequence& s = *v.as_sequence();
    return s.used < s.items.size() ? s.items[s.used++] : Value();
  }
  const std::vector<Value> items = in.iterate(v);
  return items.empty() ? Value() : items.front();
}

Value f_last(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("last", a, {});
  if (v.is(Type::kSequence)) in.length(v);  // not of a generator
  const std::vector<Value> items = in.iterate(v);
  return items.empty() ? Value() : items.back();
}

Value f_list(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("list", a, {});
  return in.list(in.iterate(v));
}

Value f_items(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("items", a, {});
  std::vector<Value> pairs;
  if (!v.is_undefined() && !v.is(Type::kDict)) in.fail("can only get item pairs from a mapping");
  if (v.is(Type::kDict))
    for (const auto& [key, value] : v.as_dict()->items) pairs.push_back(pair_of(in, key, value));
  return generator(in, std::move(pairs));
}

Value f_join(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("join", a, {"d", "attribute"});
  const std::string glue = in.text(args[0]);
  std::string out;
  bool first = true;
  for (const Value& item : in.iterate(v)) {
    if (!first) out += glue;
    first = false;
    out += in.text(given(args[1]) ? pick(in, item, args[1]) : item);
    in.charge(1 + glue.size() / 64);
    if (out.size() > in.limits().output_bytes) break;  // string() refuses
  }
  return in.string(std::move(out));
}

Value f_reverse(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("reverse", a, {});
  std::vector<Value> items = in.iterate(v);
  std::reverse(items.begin(), items.end());
  if (!v.is_string()) return generator(in, std::move(items));
  std::string text;
  for (const Value& c : items) text += c.as_string();
  return in.string(std::move(text));
}

Value f_sort(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("sort", a, {"reverse", "case_sensitive", "attribute"});
  return in.list(sorted(in, in.iterate(v), args[2], args[1].truthy(), args[0].truthy()));
}

Value f_dictsort(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("dictsort", a, {"case_sensitive", "by", "reverse"});
  const std::string by = given(args[1]) ? in.text(args[1]) : "key";
  if (by != "key" && by != "value") in.fail("dictsort: 'by' must be key or value");
  const Value pairs = f_items(in, v, {});
  return in.list(sorted(in, in.iterate(pairs), Value(int64_t{by == "value"}), args[0].truthy(), args[2].truthy()));
}

Value f_unique(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("unique", a, {"case_sensitive", "attribute"});
  std::vector<Value> kept, keys;
  for (const Value& item : in.iterate(v)) {
    const Value key = sort_key(in, item, args[1], args[0].truthy());
    in.charge(1 + keys.size() * weight_of(key) / 16);
    if (std::any_of(keys.begin(), keys.end(), [&](const Value& k) { return equal(k, key); })) continue;
    keys.push_back(key);
    kept.push_back(item);
  }
  return generator(in, std::move(kept));
}

Value f_map(Interpreter& in, const Value& v, const Arguments& a) {
  std::vector<Value> mapped;
  const std::vector<Value> items = in.iterate(v);
  if (a.positional.empty()) {
    const auto args = in.bind("map", a, {"attribute", "default"});
    if (!given(args[0])) in.fail("map requires a filter's name or an attribute");
    for (const Value& item : items) mapped.push_back(pick(in, item, args[0], args[1]));
  } else {
    const Arguments rest{{a.positional.begin() + 1, a.positional.end()}, a.named};
    for (const Value& item : items) mapped.push_back(in.filter(in.text(a.positional[0]), item, rest));
  }
  return generator(in, std::move(mapped));
}

// select, reject, selectattr, rejectattr: items whose test (or the attribute's) comes out as `wanted`.
Value chosen(Interpreter& in, const Value& v, const Arguments& a, bool by_attribute, bool wanted) {
  if (by_attribute && a.positional.empty()) in.fail("the name of an attribute is missing");
  const size_t skip = by_attribute ? 1 : 0;
  std::vector<Value> kept;
  for (const Value& item : in.iterate(v)) {
    const Value tested = by_attribute ? pick(in, item, a.positional[0]) : item;
    bool passes;
    if (a.positional.size() > skip) {
      const Arguments rest{{a.positional.begin() + long(skip) + 1, a.positional.end()}, a.named};
      passes = in.test(in.text(a.positional[skip]), tested, rest);
    } else {
      passes = tested.truthy();
    }
    if (passes == wanted) kept.push_back(item);
  }
  return generator(in, std::move(kept));
}
template <bool by_attribute, bool wanted>
Value f_chosen(Interpreter& in, const Value& v, const Arguments& a) {
  return chosen(in, v, a, by_attribute, wanted);
}

Value f_groupby(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("groupby", a, {"attribute", "default", "case_sensitive"});
  static const std::vector<std::string> kNames = {"grouper", "list"};
  std::vector<Value> groups, members;
  Value key, shown;
  const auto flush = [&] {
    if (members.empty()) return;
    Value group = pair_of(in, shown, in.list(std::move(members)));
    group.as_sequence()->names = &kNames;
    groups.push_back(std::move(group));
    members.clear();
  };
  for (const Value& item : sorted(in, in.iterate(v), args[0], args[2].truthy(), false)) {
    const Value next = sort_key(in, item, args[0], args[2].truthy());
    if (members.empty() || !equal(next, key)) flush(), key = next, shown = pick(in, item, args[0], args[1]);
    members.push_back(item);
  }
  flush();
  return in.list(std::move(groups));
}

Value f_batch(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("batch", a, {"linecount", "fill_with"});
  const size_t size = size_t(std::clamp<int64_t>(in.to_int(args[0], "linecount"), 1, 1 << 20));
  std::vector<Value> batches, batch;
  for (const Value& item : in.iterate(v)) {
    if (batch.size() == size) batches.push_back(in.list(std::exchange(batch, {})));
    batch.push_back(item);
  }
  if (!batch.empty() && given(args[1])) in.charge(size), batch.resize(size, args[1]);
  if (!batch.empty()) batches.push_back(in.list(std::move(batch)));
  return generator(in, std::move(batches));
}

Value f_slice(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("slice", a, {"slices", "fill_with"});
  const int64_t slices = std::clamp<int64_t>(in.to_int(args[0], "slices"), 1, 1 << 16);
  const std::vector<Value> items = in.iterate(v);
  const int64_t each = int64_t(items.size()) / slices, longer = int64_t(items.size()) % slices;
  std::vector<Value> result;
  for (int64_t i = 0, at = 0; i < slices; i++) {
    const int64_t n = each + (i < longer);
    std::vector<Value> part(items.begin() + at, items.begin() + at + n);
    if (given(args[1]) && i >= longer) part.push_back(args[1]);
    result.push_back(in.list(std::move(part)));
    at += n;
  }
  return generator(in, std::move(result));
}

Value f_attr(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("attr", a, {"name"});
  return v.is(Type::kDict) && !find_method(v, in.text(args[0])) ? Value() : in.attribute(v, in.text(args[0]));
}

const std::map<std::string, FilterFunction>& table() {
  static const std::map<std::string, FilterFunction> filters = {{"attr", f_attr},
                                                                {"batch", f_batch},
                                                                {"count", f_length},
                                                                {"d", f_default},
                                                                {"default", f_default},
                                                                {"dictsort", f_dictsort},
                                                                {"first", f_first},
                                                                {"groupby", f_groupby},
                                                                {"items", f_items},
                                                                {"join", f_join},
                                                                {"last", f_last},
                                                                {"length", f_length},
                                                                {"list", f_list},
                                                                {"map", f_map},
                                                                {"max", f_max},
                                                                {"min", f_min},
                                                                {"reject", f_chosen<false, false>},
                                                                {"rejectattr", f_chosen<true, false>},
                                                                {"reverse", f_reverse},
                                                                {"select", f_chosen<false, true>},
                                                                {"selectattr", f_chosen<true, true>},
                                                                {"slice", f_slice},
                                                                {"sort", f_sort},
                                                                {"sum", f_sum},
                                                                {"unique", f_unique}};
  return filters;
}

}  // namespace

FilterFunction find_filter(const std::string& name) {
  if (const FilterFunction scalar = find_scalar_filter(name)) return scalar;
  const auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

}  // namespace sedum::jinja
