#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

constexpr const char* kWhere = "SafetensorsWriter";
using Json = nlohmann::ordered_json;

std::string dump(const Json& json, const fs::path& path, int indent = -1) {
  try {
    return json.dump(indent);
  } catch (const Json::exception&) {
    throw Error("cannot write " + path.string() + ": a tensor's name or a metadata text is not UTF-8",
                "safetensors allows UTF-8 only: rename the tensor");
  }
}

void write_shard(const fs::path& path, std::span<const PendingTensor> tensors,
                 const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const PendingTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", *safetensors_from_dtype(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = dump(header, path);
  text.append((8 - text.size() % 8) % 8, ' ');  // the data begins at a multiple of 8
  if (text.size() > kLongestSafetensorsHeader)
    throw Error("cannot write " + path.string() + ": a header of more than 100 MB");
  const uint64_t length = text.size();
  AtomicFile file(path);
  file.write(&length, sizeof(length));
  file.write(text);
  for (const PendingTensor& tensor : tensors) write_tensor(kWhere, file, tensor);
  file.commit();
}

// "a.b" of a.b.weight, a.b.weight.absmax, a.b.qzeros, a.b.SCB.
std::string_view layer_of(std::string_view name) {
  const size_t weight = name.find(".weight.");
  return name.substr(0, weight != name.npos ? weight : name.rfind('.'));
}

// Each shard as large as fits; a layer beyond the limit gets one of its own.
std::vector<std::span<PendingTensor>> cut(std::vector<PendingTensor>& tensors, uint64_t limit) {
  std::vector<std::span<PendingTensor>> shards;
  size_t begin = 0;
  uint64_t bytes = 0;
  for (size_t i = 0, next = 0; i < tensors.size(); i = next) {
    uint64_t layer = 0;
    for (; next < tensors.size() && layer_of(tensors[next].name) == layer_of(tensors[i].name); ++next)
      layer += tensors[next].bytes;
    if (limit > 0 && i > begin && bytes + layer > limit) {
      shards.emplace_back(&tensors[begin], i - begin);
      begin = i, bytes = 0;
    }
    bytes += layer;
  }
  shards.emplace_back(tensors.data() + begin, tensors.size() - begin);
  return shards;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(fs::path path, std::map<std::string, std::string> metadata,
                                     uint64_t max_shard_bytes)
    : path_(std::move(path)), metadata_(std::move(metadata)), max_shard_bytes_(max_shard_bytes) {}

void SafetensorsWriter::add(std::string name, DType dtype, std::vector<int64_t> shape, TensorProducer data) {
  if (!safetensors_from_dtype(dtype))
    throw ApiError(kWhere, fmt::format("safetensors has no type for {} ({})", info(dtype).name, name));
  if (name == "__metadata__") throw ApiError(kWhere, "__metadata__ is no name for a tensor");
  tensors_.push_back(pending_tensor(kWhere, std::move(name), dtype, std::move(shape), std::move(data), tensors_));
}

void SafetensorsWriter::add(const StoredTensor& tensor) {
  add(tensor.name, tensor.dtype, tensor.shape, producer_of(tensor.data, tensor.bytes));
}

std::vector<fs::path> SafetensorsWriter::finish() {
  const auto shards = cut(tensors_, max_shard_bytes_);
  for (const auto& shard : shards)
    std::stable_sort(shard.begin(), shard.end(), [](const PendingTensor& a, const PendingTensor& b) {
      return info(a.dtype).block_bytes > info(b.dtype).block_bytes;
    });
  if (shards.size() == 1) {
    write_shard(path_, shards[0], metadata_);
    return {path_};
  }
  std::vector<fs::path> written;
  uint64_t total = 0;
  Json files = Json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("{}-{:05}-of-{:05}.safetensors", path_.stem().string(), i + 1, shards.size());
    written.push_back(path_.parent_path() / name);
    write_shard(written.back(), shards[i], metadata_);
    for (const PendingTensor& tensor : shards[i]) files[tensor.name] = name, total += tensor.bytes;
  }
  written.push_back(path_.string() + ".index.json");
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(files)}};
  write_file(written.back(), dump(index, written.back(), 2) + "\n");
  fs::remove(path_);  // an older, whole file of this name would hide the shards
  return written;
}

}  // namespace sedum
