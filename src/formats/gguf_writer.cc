#include <algorithm>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gguf.h"

namespace sedum {
namespace {

constexpr uint64_t kAlignment = 32;  // the format's default: general.alignment need not be written
constexpr const char* kWhere = "GgufWriter";

uint64_t padding_after(uint64_t size) { return (kAlignment - size % kAlignment) % kAlignment; }

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void append_string(std::string& out, std::string_view text) {
  append(out, uint64_t{text.size()});
  out += text;
}

template <class T>
constexpr GgufType type_of() {
  if constexpr (std::is_same_v<T, bool>)
    return GgufType::kBool;
  else if constexpr (std::is_same_v<T, float>)
    return GgufType::kF32;
  else if constexpr (std::is_same_v<T, double>)
    return GgufType::kF64;
  else if constexpr (!std::is_arithmetic_v<T>)
    return GgufType::kString;
  else if constexpr (sizeof(T) == 1)
    return std::is_signed_v<T> ? GgufType::kI8 : GgufType::kU8;
  else if constexpr (sizeof(T) == 2)
    return std::is_signed_v<T> ? GgufType::kI16 : GgufType::kU16;
  else if constexpr (sizeof(T) == 4)
    return std::is_signed_v<T> ? GgufType::kI32 : GgufType::kU32;
  else
    return std::is_signed_v<T> ? GgufType::kI64 : GgufType::kU64;
}

template <class T>
void append_value(std::string& out, const T& value) {
  if constexpr (std::is_arithmetic_v<T>)
    append(out, value);
  else
    append_string(out, value);
}

template <class T>
struct Encoder {
  static constexpr GgufType kType = type_of<T>();
  static void encode(std::string& out, const T& value) { append_value(out, value); }
};
template <class E>
struct Encoder<std::vector<E>> {
  static constexpr GgufType kType = GgufType::kArray;
  static void encode(std::string& out, const std::vector<E>& values) {
    append(out, uint32_t(type_of<E>()));
    append(out, uint64_t{values.size()});
    for (const E& value : values) append_value(out, value);
  }
};

}  // namespace

GgufWriter::GgufWriter(const std::filesystem::path& path) : file_(path) {}

void GgufWriter::set_raw(std::string_view key, GgufType type, const std::string& payload) {
  std::string encoded;
  append(encoded, uint32_t(type));
  encoded += payload;
  const auto same =
      std::find_if(metadata_.begin(), metadata_.end(), [&](const auto& entry) { return entry.first == key; });
  if (same != metadata_.end())
    same->second = std::move(encoded);
  else
    metadata_.emplace_back(key, std::move(encoded));
}

template <class T>
void GgufWriter::set(std::string_view key, const T& value) {
  std::string payload;
  Encoder<T>::encode(payload, value);
  set_raw(key, Encoder<T>::kType, payload);
}

void GgufWriter::set(std::string_view key, const GgufValue& value) {
  // These describe the other file's layout.
  if (key == "general.alignment" || key.starts_with("split.")) return;
  std::string payload;
  if (value.type == GgufType::kString) append(payload, uint64_t{value.bytes.size()});
  if (value.type == GgufType::kArray) append(payload, uint32_t(value.element)), append(payload, value.count);
  set_raw(key, value.type, payload.append(value.bytes));
}

void GgufWriter::add(std::string name, DType dtype, std::vector<int64_t> shape, TensorProducer data) {
  if (!ggml_from_dtype(dtype))
    throw ApiError(kWhere, fmt::format("GGUF has no type for {} ({})", info(dtype).name, name));
  tensors_.push_back(pending_tensor(kWhere, std::move(name), dtype, std::move(shape), std::move(data), tensors_));
}

void GgufWriter::add(const StoredTensor& tensor) {
  add(tensor.name, tensor.dtype, tensor.shape, producer_of(tensor.data, tensor.bytes));
}

std::string GgufWriter::header() const {
  std::string out = "GGUF";
  append(out, uint32_t{3});
  append(out, uint64_t{tensors_.size()});
  append(out, uint64_t{metadata_.size()});
  for (const auto& [key, encoded] : metadata_) append_string(out, key), out += encoded;
  uint64_t offset = 0;
  for (const PendingTensor& tensor : tensors_) {
    append_string(out, tensor.name);
    append(out, uint32_t(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) append(out, uint64_t(*size));
    append(out, *ggml_from_dtype(tensor.dtype));
    append(out, offset);
    offset += tensor.bytes + padding_after(tensor.bytes);
  }
  return out.append(padding_after(out.size()), '\0');
}

void GgufWriter::finish() {
  file_.write(header());
  for (const PendingTensor& tensor : tensors_) {
    write_tensor(kWhere, file_, tensor);
    write_zeros(file_, padding_after(tensor.bytes));
  }
  file_.commit();
}

#define SEDUM_GGUF_SETTER(T) template void GgufWriter::set<T>(std::string_view, const T&);
#define SEDUM_GGUF_SETTERS(T) SEDUM_GGUF_SETTER(T) SEDUM_GGUF_SETTER(std::vector<T>)
SEDUM_GGUF_SETTER(bool)
SEDUM_GGUF_SETTERS(uint8_t)
SEDUM_GGUF_SETTERS(int8_t)
SEDUM_GGUF_SETTERS(uint16_t)
SEDUM_GGUF_SETTERS(int16_t)
SEDUM_GGUF_SETTERS(uint32_t)
SEDUM_GGUF_SETTERS(int32_t)
SEDUM_GGUF_SETTERS(uint64_t)
SEDUM_GGUF_SETTERS(int64_t)
SEDUM_GGUF_SETTERS(float)
SEDUM_GGUF_SETTERS(double)
SEDUM_GGUF_SETTERS(std::string_view)
SEDUM_GGUF_SETTER(std::vector<std::string>)
#undef SEDUM_GGUF_SETTERS
#undef SEDUM_GGUF_SETTER

}  // namespace sedum
