#include "text/post_processor.h"

#include <algorithm>

#include "text/json_fields.h"

namespace sedum {

namespace {

using fields::Json;

int32_t find_token(const TokenizerSpec& spec, const std::string& text) {
  for (const AddedToken& token : spec.added)
    if (token.text == text) return token.id;
  const auto found = std::find(spec.tokens.begin(), spec.tokens.end(), text);
  return found == spec.tokens.end() ? -1 : int32_t(found - spec.tokens.begin());
}

// Cuts to `size` from the end, or from the beginning.
void cut(std::vector<int32_t>& ids, size_t size, bool left) {
  if (ids.size() <= size) return;
  if (left)
    ids.erase(ids.begin(), ids.end() - ptrdiff_t(size));
  else
    ids.resize(size);
}

// One token at a time from the longer one, from the first when they are equally long.
void cut_longest(std::vector<int32_t>& first, std::vector<int32_t>& second, size_t size, bool left) {
  size_t a = first.size(), b = second.size();
  // In one step what a loop would do: the longer is cut to the shorter, then both in turn.
  const bool swapped = a > b;
  if (swapped) std::swap(a, b);
  b = a > size ? a : std::max(a, size - a);
  if (a + b > size) a = size / 2, b = a + size % 2;
  if (swapped) std::swap(a, b);
  cut(first, a, left), cut(second, b, left);
}

}  // namespace

PostProcessor::PostProcessor(const TokenizerSpec& spec) {
  const auto frame = [&](std::vector<Item> inside) {
    if (spec.add_bos && spec.bos >= 0) inside.insert(inside.begin(), {kToken, spec.bos, 0});
    if (spec.add_eos && spec.eos >= 0) inside.push_back({kToken, spec.eos, 0});
    return inside;
  };
  single_ = frame({{kFirst, -1, 0}});
  pair_ = frame({{kFirst, -1, 0}, {kSecond, -1, 0}});
}

PostProcessor::PostProcessor(const Json& components, const TokenizerSpec& spec, const std::string& name)
    : PostProcessor(spec) {
  read(fields::at(components, "post_processor"), spec, name);
  read_limits(components);
}

void PostProcessor::read(const Json& processor, const TokenizerSpec& spec, const std::string& name) {
  const std::string type = fields::text(processor, "type");
  if (processor.is_null() || type == "ByteLevel") return;
  if (type == "Sequence") {
    for (const Json& part : fields::at(processor, "processors")) read(part, spec, name);
  } else if (type == "TemplateProcessing") {
    const Json& tokens = fields::at(processor, "special_tokens");
    single_ = items(fields::at(processor, "single"), tokens, name);
    pair_ = items(fields::at(processor, "pair"), tokens, name);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto special = [&](const char* key) {
      const Json& token = fields::at(processor, key);
      if (!token.is_array() || token.size() != 2 || !token[0].is_string())
        fields::not_supported(name, "the post-processor", processor);
      const int32_t id = find_token(spec, token[0].get<std::string>());
      if (id < 0)
        fields::not_supported(name, "the post-processor (a token that the vocabulary does not have)", processor);
      return id;
    };
    const int32_t cls = special("cls"), sep = special("sep"), second = type == "BertProcessing" ? 1 : 0;
    single_ = {{kToken, cls, 0}, {kFirst, -1, 0}, {kToken, sep, 0}};
    pair_ = single_;
    if (second == 0) pair_.push_back({kToken, sep, 0});
    pair_.push_back({kSecond, -1, second}), pair_.push_back({kToken, sep, second});
  } else {
    fields::not_supported(name, "the post-processor", processor);
  }
}

std::vector<PostProcessor::Item> PostProcessor::items(const Json& list, const Json& tokens,
                                                      const std::string& name) const {
  std::vector<Item> out;
  if (!list.is_array()) return out;
  for (const Json& item : list) {
    if (const Json& sequence = fields::at(item, "Sequence"); sequence.is_object()) {
      out.push_back(
          {fields::text(sequence, "id") == "B" ? kSecond : kFirst, -1, int32_t(fields::number(sequence, "type_id"))});
      continue;
    }
    const Json& token = fields::at(item, "SpecialToken");
    const Json& ids = fields::at(fields::at(tokens, fields::text(token, "id").c_str()), "ids");
    if (!token.is_object() || !ids.is_array()) fields::not_supported(name, "this TemplateProcessing", list);
    for (const Json& id : ids) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
        fields::not_supported(name, "this TemplateProcessing", list);
      out.push_back({kToken, id.get<int32_t>(), int32_t(fields::number(token, "type_id"))});
    }
  }
  return out;
}

void PostProcessor::read_limits(const Json& components) {
  const Json &truncation = fields::at(components, "truncation"), &padding = fields::at(components, "padding");
  if (truncation.is_object()) {
    truncation_.max_length = size_t(std::max<int64_t>(fields::number(truncation, "max_length"), 0));
    truncation_.left = fields::text(truncation, "direction") == "Left";
    const std::string strategy = fields::text(truncation, "strategy", "LongestFirst");
    truncation_.strategy = strategy == "OnlyFirst"    ? Truncation::kOnlyFirst
                           : strategy == "OnlySecond" ? Truncation::kOnlySecond
                                                      : Truncation::kLongestFirst;
  }
  if (padding.is_object()) {
    const Json& strategy = fields::at(padding, "strategy");
    constexpr int64_t kLongest = 1 << 24;
    padding_.length = size_t(std::clamp<int64_t>(fields::number(strategy, "Fixed"), 0, kLongest));
    padding_.multiple_of = size_t(std::clamp<int64_t>(fields::number(padding, "pad_to_multiple_of"), 0, kLongest));
    padding_.left = fields::text(padding, "direction") == "Left";
    padding_.id = int32_t(fields::number(padding, "pad_id"));
    padding_.type_id = int32_t(fields::number(padding, "pad_type_id"));
  }
}

void PostProcessor::before(std::vector<int32_t>& ids) const {
  for (const Item& item : single_) {
    if (item.kind == kFirst) return;
    ids.push_back(item.id);
  }
}

void PostProcessor::behind(std::vector<int32_t>& ids) const {
  bool behind = false;
  for (const Item& item : single_) {
    if (behind && item.kind == kToken) ids.push_back(item.id);
    behind |= item.kind == kFirst;
  }
}

size_t PostProcessor::added(const std::vector<Item>& items) {
  return size_t(std::count_if(items.begin(), items.end(), [](const Item& item) { return item.kind == kToken; }));
}

void PostProcessor::put(const Item& item, std::span<const int32_t> ids, Encoding& out) const {
  const std::span<const int32_t> put = item.kind == kToken ? std::span(&item.id, 1) : ids;
  out.ids.insert(out.ids.end(), put.begin(), put.end());
  out.type_ids.insert(out.type_ids.end(), put.size(), item.type);
  out.attention_mask.insert(out.attention_mask.end(), put.size(), 1);
}

Encoding PostProcessor::single(std::vector<int32_t> ids, const Truncation& truncation) const {
  const size_t frame = added(single_);
  if (truncation.max_length > 0)
    cut(ids, truncation.max_length - std::min(truncation.max_length, frame), truncation.left);
  Encoding out;
  for (const Item& item : single_) put(item, ids, out);
  return out;
}

Encoding PostProcessor::pair(std::vector<int32_t> first, std::vector<int32_t> second,
                             const Truncation& truncation) const {
  if (truncation.max_length > 0) {
    const size_t room = truncation.max_length - std::min(truncation.max_length, added(pair_));
    const size_t total = first.size() + second.size();
    if (total > room && truncation.strategy == Truncation::kLongestFirst)
      cut_longest(first, second, room, truncation.left);
    if (total > room && truncation.strategy == Truncation::kOnlyFirst)
      cut(first, room - std::min(room, second.size()), truncation.left);
    if (total > room && truncation.strategy == Truncation::kOnlySecond)
      cut(second, room - std::min(room, first.size()), truncation.left);
  }
  Encoding out;
  for (const Item& item : pair_) put(item, item.kind == kSecond ? second : first, out);
  return out;
}

void pad_encodings(std::span<Encoding> batch, const Padding& padding) {
  size_t length = padding.length;
  if (length == 0)
    for (const Encoding& e : batch) length = std::max(length, e.ids.size());
  if (padding.multiple_of > 0) length = (length + padding.multiple_of - 1) / padding.multiple_of * padding.multiple_of;
  for (Encoding& e : batch) {
    if (e.ids.size() >= length) continue;
    const size_t missing = length - e.ids.size();
    const auto fill = [&](std::vector<int32_t>& values, int32_t value) {
      values.insert(padding.left ? values.begin() : values.end(), missing, value);
    };
    fill(e.ids, padding.id), fill(e.type_ids, padding.type_id), fill(e.attention_mask, 0);
  }
}

}  // namespace sedum
