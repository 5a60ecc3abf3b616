#pragma once
// GGUF: the model files of llama.cpp, versions 2 and 3, little endian, whole or split.
//
//   GgufFile file("model.gguf");                                 // or any part of model-00001-of-00003.gguf
//   auto layers = file.get<int64_t>("llama.block_count");        // Error when missing, of another type or out of range
//   auto theta = file.get_or<float>("llama.rope.freq_base", 10000);
//   auto tokens = file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens");
//   const StoredTensor* t = file.find("output.weight");
//
//   GgufWriter out("out.gguf");
//   out.set("general.architecture", "llama");
//   out.set("llama.block_count", uint32_t{30});                  // the C++ type is the type in the file
//   out.add("output.weight", DType::kQ8_0, {vocab, hidden}, [&](const ByteSink& sink) { ... });
//   out.finish();
//
// Specification: ggml's docs/gguf.md. A file is believed only after its counts, lengths, offsets, alignment and overlaps were
// checked against its size; reading copies no array and no tensor.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "formats/ggml_types.h"
#include "formats/pending_tensor.h"
#include "formats/tensor_source.h"

namespace sedum {

enum class GgufType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };
const char* name(GgufType type);

// A metadata value: a view into the file. `as<T>` converts between number types where the value survives, and throws Error
// ("... is a string, not an integer") elsewhere. T: bool, int32_t, uint32_t, int64_t, uint64_t, float, double, std::string,
// std::string_view and vectors of them (not of bool).
struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType element = GgufType::kU8;  // of an array
  uint64_t count = 1;                // elements of an array
  std::string_view bytes;  // the scalar, the string's content, or the array's elements as they stand in the file

  template <class T>
  T as() const;
  std::vector<GgufValue> elements() const;  // of an array, which may hold arrays
};

// What the file says of a tensor; type_id may be one that Sedum cannot read.
struct GgufTensorInfo {
  std::string_view name;
  std::vector<int64_t> shape;  // row major: ggml's ne reversed
  uint32_t type_id = 0;        // ggml_type
  uint64_t offset = 0;         // from the start of the part that holds it
};

class GgufFile : public TensorSource {
 public:
  explicit GgufFile(const std::filesystem::path& path);
  // One file that is already in memory; `bytes`, 8-byte aligned, must outlive this.
  GgufFile(std::span<const std::byte> bytes, std::string label);

  const std::vector<std::string>& names() const override { return names_; }
  const StoredTensor* find(std::string_view name) const override;
  std::shared_ptr<const void> owner() const override { return parts_; }
  std::string where() const override { return label_; }
  void forget_pages() const override;

  uint32_t version() const { return version_; }
  const std::vector<GgufTensorInfo>& tensors() const { return infos_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }  // of the first part

  bool has(std::string_view key) const { return metadata_.find(key) != metadata_.end(); }
  using TensorSource::get;  // a tensor by name
  template <class T>
  T get(std::string_view key) const;
  template <class T>
  T get_or(std::string_view key, T fallback) const {
    return has(key) ? get<T>(key) : fallback;
  }

 private:
  void add_part(std::span<const std::byte> bytes, const std::string& label, int number, int count);
  void place_tensors(std::span<const std::byte> bytes, const std::string& label, size_t first, uint64_t data,
                     uint64_t alignment);
  std::shared_ptr<std::vector<MappedFile>> parts_;
  std::string label_;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<std::string> names_;
  std::vector<GgufTensorInfo> infos_;
  std::vector<StoredTensor> tensors_;  // beside infos_; find() hides those of a type unknown here
  std::map<std::string, size_t, std::less<>> by_name_;
};

// Metadata and the list of tensors first, then finish() asks each producer for its bytes: memory stays at one piece.
class GgufWriter {
 public:
  explicit GgufWriter(const std::filesystem::path& path);

  // T: the fixed-width integers, float, double, bool, std::string_view, and vectors of numbers and strings.
  template <class T>
  void set(std::string_view key, const T& value);
  void set(std::string_view key, const char* value) { set(key, std::string_view(value)); }
  void set(std::string_view key, const std::string& value) { set(key, std::string_view(value)); }
  void set(std::string_view key, const GgufValue& value);  // as another file has it

  void add(std::string name, DType dtype, std::vector<int64_t> shape, TensorProducer data);
  void add(const StoredTensor& tensor);  // its data must live until finish()
  void finish();

 private:
  void set_raw(std::string_view key, GgufType type, const std::string& payload);
  std::string header() const;
  AtomicFile file_;
  std::vector<std::pair<std::string, std::string>> metadata_;  // key → type and payload, encoded
  std::vector<PendingTensor> tensors_;
};

}  // namespace sedum
