#include "formats/gguf.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/gguf_cursor.h"

namespace sedum {
namespace {

using Metadata = std::map<std::string, GgufValue, std::less<>>;

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMostDimensions = 8;  // ggml stops at 4
constexpr const char* kFetch = "fetch the file again";

[[noreturn]] void refuse(const std::string& label, const std::string& problem, const char* mend = kFetch) {
  throw Error(label + ": " + problem, mend);
}

struct Counts {
  uint64_t tensors, metadata;
};

Counts read_head(GgufCursor& cursor, const std::string& label, uint32_t& version) {
  if (cursor.take(4, "the magic number") != "GGUF")
    refuse(label, "not a GGUF file", "give a file that begins with GGUF");
  version = cursor.read<uint32_t>("the version");
  if (version == 2 || version == 3) {
    const auto tensors = cursor.read<uint64_t>("the number of tensors");
    return {tensors, cursor.read<uint64_t>("the number of metadata keys")};
  }
  if (version != 0 && version << 16 == 0)
    refuse(label, "a big-endian GGUF file", "convert it with gguf-py's gguf_convert_endian");
  refuse(label, fmt::format("GGUF version {}, Sedum reads 2 and 3", version), "convert the model anew");
}

Metadata read_metadata(GgufCursor& cursor, const std::string& label, uint64_t count) {
  Metadata metadata;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = cursor.string("a metadata key");
    const std::string what = "metadata key " + printable(key);
    const GgufType type = cursor.type(what);
    if (!metadata.emplace(key, cursor.value(type, what)).second) refuse(label, what + " stands twice");
  }
  return metadata;
}

GgufTensorInfo read_tensor_info(GgufCursor& cursor, const std::string& label) {
  GgufTensorInfo tensor;
  tensor.name = cursor.string("a tensor's name");
  const std::string what = "tensor " + printable(tensor.name);
  const auto dimensions = cursor.read<uint32_t>(what);
  if (dimensions > kMostDimensions) refuse(label, fmt::format("{} has {} dimensions", what, dimensions));
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto size = cursor.read<uint64_t>(what);
    if (size > uint64_t(INT64_MAX)) refuse(label, fmt::format("{} has a dimension of {}", what, size));
    tensor.shape.insert(tensor.shape.begin(), int64_t(size));
  }
  tensor.type_id = cursor.read<uint32_t>(what);
  tensor.offset = cursor.read<uint64_t>(what);
  return tensor;
}

uint64_t alignment_of(const Metadata& metadata, const std::string& label) {
  const auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return kDefaultAlignment;
  uint64_t alignment = 0;
  try {
    alignment = found->second.as<uint32_t>();
  } catch (const Error& e) {
    refuse(label, "general.alignment " + e.problem());
  }
  // 8: the specification's least, and what keeps every scalar type aligned in a mapping.
  if (alignment < 8 || (alignment & (alignment - 1)) != 0)
    refuse(label, fmt::format("general.alignment is {}, not a power of two of at least 8", alignment));
  return alignment;
}

// nullopt: a type whose size is not known.
std::optional<uint64_t> size_in_file(const GgufTensorInfo& tensor, const std::string& label) {
  const GgmlType* type = find_ggml_type(tensor.type_id);
  const auto values = stored_bytes(DType::kU8, tensor.shape);
  uint64_t bytes = 0;
  const bool fits =
      values && (!type || !__builtin_mul_overflow(*values / type->block, uint64_t(type->block_bytes), &bytes));
  if (!fits)
    refuse(label, fmt::format("tensor {}: shape {} overflows", printable(tensor.name), shape_text(tensor.shape)));
  if (!type) return std::nullopt;
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % type->block != 0)
    refuse(label, fmt::format("tensor {}: rows of {} values are no whole blocks of {} ({})", printable(tensor.name),
                              row, type->block, type->name));
  return bytes;
}

struct Extent {
  uint64_t begin, end;
  size_t index;
};

void check_overlaps(std::vector<Extent> extents, const std::vector<GgufTensorInfo>& infos, const std::string& label) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < extents.size(); ++i)
    if (extents[i].begin < extents[i - 1].end)
      refuse(label, fmt::format("tensors {} and {} overlap at byte {}", printable(infos[extents[i - 1].index].name),
                                printable(infos[extents[i].index].name), extents[i].begin));
}

struct Place {
  int number, count;  // one-based
  std::string stem;
};

// "x-00002-of-00003.gguf"
std::optional<Place> split_place(const std::string& file_name) {
  constexpr size_t kTail = sizeof("-00001-of-00003.gguf") - 1;
  if (file_name.size() < kTail) return std::nullopt;
  Place place;
  place.stem = file_name.substr(0, file_name.size() - kTail);
  char rest = 0;
  const std::string tail = file_name.substr(place.stem.size());
  if (std::sscanf(tail.c_str(), "-%5d-of-%5d.ggu%c", &place.number, &place.count, &rest) != 3 || rest != 'f')
    return std::nullopt;
  if (place.number < 1 || place.number > place.count) return std::nullopt;
  return place;
}

// What a part says of its place: its number from 0; 0 of 1 when it is whole.
void check_split_keys(const Metadata& metadata, const std::string& label, int number, int count) {
  const auto value = [&](const char* key, int64_t fallback) {
    const auto found = metadata.find(key);
    try {
      return found == metadata.end() ? fallback : found->second.as<int64_t>();
    } catch (const Error& e) {
      refuse(label, std::string(key) + " " + e.problem());
    }
  };
  const int64_t said_count = value("split.count", 1), said_number = value("split.no", 0);
  if (count == 1 && said_count > 1)
    throw Error(fmt::format("{} is one of {} parts, and its name does not say which", label, said_count),
                "name the parts NAME-00001-of-0000N.gguf and put them in one folder");
  if (count > 1 && (said_count != count || said_number != number))
    refuse(label, fmt::format("says that it is part {} of {}", said_number + 1, said_count),
           "check the names of the parts");
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path)
    : parts_(std::make_shared<std::vector<MappedFile>>()), label_(path.string()) {
  const auto place = split_place(path.filename().string());
  const int count = place ? place->count : 1;
  for (int i = 0; i < count; ++i) {
    const auto part =
        place ? path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", place->stem, i + 1, count) : path;
    parts_->emplace_back(part);
    add_part(parts_->back().bytes(), part.string(), i, count);
  }
  if (count == 1 || !has("split.tensors.count")) return;
  if (const auto expected = get<int64_t>("split.tensors.count"); expected != int64_t(infos_.size()))
    refuse(label_, fmt::format("the parts hold {} tensors, the first says {}", infos_.size(), expected));
}

GgufFile::GgufFile(std::span<const std::byte> bytes, std::string label) : label_(std::move(label)) {
  add_part(bytes, label_, 0, 1);
}

void GgufFile::add_part(std::span<const std::byte> bytes, const std::string& label, int number, int count) {
  GgufCursor cursor({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, label);
  uint32_t version = 0;
  const Counts counts = read_head(cursor, label, version);
  Metadata metadata = read_metadata(cursor, label, counts.metadata);
  check_split_keys(metadata, label, number, count);
  const size_t first = infos_.size();
  for (uint64_t i = 0; i < counts.tensors; ++i) {
    infos_.push_back(read_tensor_info(cursor, label));
    if (!by_name_.emplace(infos_.back().name, infos_.size() - 1).second)
      refuse(label, "tensor " + printable(infos_.back().name) + " stands twice");
  }
  const uint64_t alignment = alignment_of(metadata, label);
  const uint64_t data = (cursor.position() + alignment - 1) / alignment * alignment;
  place_tensors(bytes, label, first, data, alignment);
  if (number > 0) return;
  version_ = version;
  metadata_ = std::move(metadata);
}

void GgufFile::place_tensors(std::span<const std::byte> bytes, const std::string& label, size_t first, uint64_t data,
                             uint64_t alignment) {
  std::vector<Extent> extents;
  for (size_t i = first; i < infos_.size(); ++i) {
    GgufTensorInfo& tensor = infos_[i];
    const auto size = size_in_file(tensor, label);
    const std::string what = "tensor " + printable(tensor.name);
    if (tensor.offset % alignment != 0)
      refuse(label, fmt::format("{}: offset {} is no multiple of {}", what, tensor.offset, alignment));
    uint64_t end = 0;
    if (__builtin_add_overflow(tensor.offset, data, &tensor.offset) ||
        __builtin_add_overflow(tensor.offset, size.value_or(0), &end))
      refuse(label, fmt::format("{}: offset {} overflows", what, tensor.offset));
    const bool somewhere = size.value_or(1) > 0;
    if (somewhere && end > bytes.size())
      refuse(label, fmt::format("truncated: {} ends at byte {}, the file has {}", what, end, bytes.size()));
    if (size && somewhere) extents.push_back({tensor.offset, end, i});
    names_.emplace_back(tensor.name);
    const auto dtype = dtype_from_ggml(tensor.type_id);
    tensors_.push_back({std::string(tensor.name), dtype.value_or(DType::kU8), tensor.shape,
                        somewhere ? bytes.data() + tensor.offset : bytes.data(), dtype ? *size : 0});
  }
  check_overlaps(std::move(extents), infos_, label);
}

void GgufFile::forget_pages() const {
  for (const MappedFile& part : *parts_) part.forget_pages();
}

const StoredTensor* GgufFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  const uint32_t type_id = infos_[found->second].type_id;
  if (!dtype_from_ggml(type_id))
    throw Error(fmt::format("{}: tensor {} is of type {}, which Sedum cannot read", label_, printable(name),
                            ggml_type_name(type_id)),
                "take the model in another quantisation: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, F16, BF16");
  return &tensors_[found->second];
}

}  // namespace sedum
