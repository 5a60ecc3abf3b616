#include "formats/tensor_source.h"

#include <algorithm>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace sedum {
namespace fs = std::filesystem;

const StoredTensor& TensorSource::get(std::string_view name) const {
  if (const StoredTensor* tensor = find(name)) return *tensor;
  const std::string nearest = nearest_name(name, names());
  throw Error(where() + " has no tensor " + printable(name), nearest.empty()
                                                                 ? "check that the file is of this kind of model"
                                                                 : "the nearest name is " + printable(nearest));
}

std::unique_ptr<TensorSource> open_tensors(const fs::path& path) {
  std::error_code ignored;
  if (path.extension() == ".gguf") return std::make_unique<GgufFile>(path);
  // A GGUF file under another name: caches name files by their hash.
  if (fs::is_regular_file(path, ignored) && MappedFile(path).text().starts_with("GGUF"))
    return std::make_unique<GgufFile>(path);
  return std::make_unique<SafetensorsFile>(path);
}

TensorProducer producer_of(const void* data, size_t bytes) {
  return [data, bytes](const ByteSink& sink) { sink(data, bytes); };
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

std::string printable(std::string_view name) {
  constexpr size_t kLongest = 100;
  std::string text(name.substr(0, kLongest));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }, '?');
  return name.size() > kLongest ? text + "..." : text;
}

std::optional<uint64_t> stored_bytes(DType dtype, const std::vector<int64_t>& shape) {
  const DTypeInfo& type = info(dtype);
  if ((shape.empty() ? 1 : shape.back()) % type.block != 0) return std::nullopt;
  // A zero counts as one at first: (2^62, 2^62, 0) is empty, and still nobody may multiply its sizes.
  int64_t values = 1, bytes = 0;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(values, std::max<int64_t>(size, 1), &values)) return std::nullopt;
    empty |= size == 0;
  }
  if (empty) return 0;
  if (__builtin_mul_overflow(values / type.block, int64_t{type.block_bytes}, &bytes)) return std::nullopt;
  return uint64_t(bytes);
}

}  // namespace sedum
