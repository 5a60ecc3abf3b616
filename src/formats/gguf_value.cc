#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gguf_cursor.h"

namespace sedum {
namespace {

// Real files nest no arrays; the format allows it.
constexpr int kDeepestArray = 8;

int size_of(GgufType type) {
  constexpr int kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kSizes[int(type)];
}

template <class T>
T scalar(const GgufValue& value) {
  T result;
  std::memcpy(&result, value.bytes.data(), sizeof(T));
  return result;
}

template <class T>
struct is_vector : std::false_type {};
template <class E>
struct is_vector<std::vector<E>> : std::true_type {};

template <class T>
constexpr const char* kind_of() {
  if constexpr (std::is_same_v<T, bool>)
    return "a bool";
  else if constexpr (std::is_integral_v<T>)
    return "an integer";
  else if constexpr (std::is_floating_point_v<T>)
    return "a number";
  else if constexpr (is_vector<T>::value)
    return "an array";
  else
    return "a string";
}

template <class T>
[[noreturn]] void wrong_type(const GgufValue& value) {
  throw Error(fmt::format("is of type {}, not {}", name(value.type), kind_of<T>()));
}

template <class T, class Stored>
T integer(const GgufValue& value) {
  const Stored stored = scalar<Stored>(value);
  if constexpr (!std::is_same_v<T, Stored>)
    if (!std::in_range<T>(stored)) throw Error(fmt::format("is {}, which is out of range here", stored));
  return T(stored);
}

template <class T, class Stored>
T number(const GgufValue& value) {
  if constexpr (std::is_integral_v<T>)
    return integer<T, Stored>(value);
  else
    return T(scalar<Stored>(value));
}

template <class T>
T convert_number(const GgufValue& value) {
  switch (value.type) {
    case GgufType::kU8:
      return number<T, uint8_t>(value);
    case GgufType::kI8:
      return number<T, int8_t>(value);
    case GgufType::kU16:
      return number<T, uint16_t>(value);
    case GgufType::kI16:
      return number<T, int16_t>(value);
    case GgufType::kU32:
      return number<T, uint32_t>(value);
    case GgufType::kI32:
      return number<T, int32_t>(value);
    case GgufType::kU64:
      return number<T, uint64_t>(value);
    case GgufType::kI64:
      return number<T, int64_t>(value);
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (value.type == GgufType::kF32) return T(scalar<float>(value));
    if (value.type == GgufType::kF64) return T(scalar<double>(value));
  }
  wrong_type<T>(value);
}

template <class T>
T convert(const GgufValue& value) {
  if constexpr (is_vector<T>::value) {
    if (value.type != GgufType::kArray) wrong_type<T>(value);
    T result;
    result.reserve(value.count);  // the cursor that made this value has seen so many
    GgufCursor cursor(value.bytes, "metadata");
    for (uint64_t i = 0; i < value.count; ++i)
      result.push_back(convert<typename T::value_type>(cursor.value(value.element, "array")));
    return result;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (value.type != GgufType::kBool) wrong_type<T>(value);
    if (scalar<uint8_t>(value) > 1) throw Error("is a bool of neither 0 nor 1");
    return scalar<uint8_t>(value) == 1;
  } else if constexpr (std::is_arithmetic_v<T>) {
    return convert_number<T>(value);
  } else {
    if (value.type != GgufType::kString) wrong_type<T>(value);
    return T(value.bytes);
  }
}

}  // namespace

const char* name(GgufType type) {
  constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "string", "array", "u64", "i64", "f64"};
  return int(type) < 13 ? kNames[int(type)] : "unknown";
}

void GgufCursor::truncated(uint64_t count, std::string_view what) const {
  throw Error(fmt::format("{}: truncated: {} at byte {} needs {} bytes, the file has {}", label_, what, position_,
                          count, bytes_.size()),
              "fetch the file again");
}

GgufType GgufCursor::type(std::string_view what) {
  const auto id = read<uint32_t>(what);
  if (id > uint32_t(GgufType::kF64))
    throw Error(fmt::format("{}: {}: unknown value type {} before byte {}", label_, what, id, position_));
  return GgufType(id);
}

GgufValue GgufCursor::value(GgufType type, std::string_view what, int depth) {
  if (type == GgufType::kString) return {type, type, 1, string(what)};
  if (type != GgufType::kArray) return {type, type, 1, take(uint64_t(size_of(type)), what)};
  if (depth >= kDeepestArray)
    throw Error(fmt::format("{}: {}: arrays nested deeper than {}", label_, what, kDeepestArray));
  const GgufType element = this->type(what);
  const auto count = read<uint64_t>(what);
  const uint64_t begin = position_;
  if (const auto size = uint64_t(size_of(element)); size > 0) {
    if (count > (bytes_.size() - position_) / size) truncated(count, what);
    position_ += count * size;
  } else {
    for (uint64_t i = 0; i < count; ++i) value(element, what, depth + 1);
  }
  return {type, element, count, bytes_.substr(begin, position_ - begin)};
}

std::vector<GgufValue> GgufValue::elements() const {
  if (type != GgufType::kArray) wrong_type<std::vector<GgufValue>>(*this);
  GgufCursor cursor(bytes, "metadata");
  std::vector<GgufValue> result;
  for (uint64_t i = 0; i < count; ++i) result.push_back(cursor.value(element, "array"));
  return result;
}

template <class T>
T GgufValue::as() const {
  return convert<T>(*this);
}

template <class T>
T GgufFile::get(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) {
    std::vector<std::string_view> keys;
    for (const auto& entry : metadata_) keys.push_back(entry.first);
    const std::string nearest = nearest_name(key, keys);
    throw Error(fmt::format("{}: metadata key {} is missing", label_, key),
                nearest.empty() ? "" : "the nearest key is " + printable(nearest));
  }
  try {
    return convert<T>(found->second);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: metadata key {} {}", label_, key, e.problem()));
  }
}

#define SEDUM_GGUF_GETTERS(T)          \
  template T GgufValue::as<T>() const; \
  template T GgufFile::get<T>(std::string_view) const;
SEDUM_GGUF_GETTERS(bool)
SEDUM_GGUF_GETTERS(int32_t)
SEDUM_GGUF_GETTERS(uint32_t)
SEDUM_GGUF_GETTERS(int64_t)
SEDUM_GGUF_GETTERS(uint64_t)
SEDUM_GGUF_GETTERS(float)
SEDUM_GGUF_GETTERS(double)
SEDUM_GGUF_GETTERS(std::string)
SEDUM_GGUF_GETTERS(std::string_view)
SEDUM_GGUF_GETTERS(std::vector<int32_t>)
SEDUM_GGUF_GETTERS(std::vector<uint32_t>)
SEDUM_GGUF_GETTERS(std::vector<int64_t>)
SEDUM_GGUF_GETTERS(std::vector<uint64_t>)
SEDUM_GGUF_GETTERS(std::vector<float>)
SEDUM_GGUF_GETTERS(std::vector<double>)
SEDUM_GGUF_GETTERS(std::vector<std::string>)
SEDUM_GGUF_GETTERS(std::vector<std::string_view>)
#undef SEDUM_GGUF_GETTERS

}  // namespace sedum
