#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFetch = "fetch the file again";
constexpr uint64_t kLengthBytes = 8;

// The file that names a folder's tensors. A single file wins over an index, as in transformers.
fs::path file_of(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return path;
  std::vector<fs::path> found;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (fs::exists(path / name, ignored)) return path / name;
  for (const auto& entry : fs::directory_iterator(path, ignored))
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
  if (found.size() == 1) return found[0];
  throw Error(fmt::format("{} holds {} safetensors files and no index", path.string(), found.size()),
              found.empty() ? "give the folder or the file that holds the weights" : "give the path of one of them");
}

bool is_aligned(const void* data, DType dtype) {
  const DTypeInfo& type = info(dtype);
  return reinterpret_cast<uintptr_t>(data) % uint64_t(type.block_bytes) == 0;  // scalars: a block is one value
}

SafetensorsHeader read_header(std::string_view bytes, const std::string& label, uint64_t& data) {
  uint64_t length = 0;
  if (bytes.size() < kLengthBytes) throw Error(label + ": truncated: shorter than a header's length", kFetch);
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kLongestSafetensorsHeader)
    throw Error(fmt::format("{}: not a safetensors file, or a broken one: a header of {} bytes", label, length),
                kFetch);
  if (length > bytes.size() - kLengthBytes)
    throw Error(fmt::format("{}: truncated: the header ends at byte {}, the file has {}", label, kLengthBytes + length,
                            bytes.size()),
                kFetch);
  data = kLengthBytes + length;
  return parse_safetensors_header(bytes.substr(kLengthBytes, length), label);
}

using Item = std::pair<const std::string, SafetensorsInfo>;

// In order of place. Tensors fill the data: no gap, no overlap, nothing after the last.
std::vector<const Item*> check_places(const SafetensorsHeader& header, const std::string& label, uint64_t data,
                                      uint64_t size) {
  std::vector<const Item*> items;
  for (const Item& item : header.tensors) items.push_back(&item);
  std::stable_sort(items.begin(), items.end(), [](const Item* a, const Item* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t end = 0;
  for (const Item* item : items) {
    if (item->second.end > size - data)
      throw Error(fmt::format("{}: truncated: tensor {} ends {} bytes into the data, the file has {} of them", label,
                              printable(item->first), item->second.end, size - data),
                  kFetch);
    if (item->second.begin != end)
      throw Error(fmt::format("{}: tensor {} begins {} bytes into the data, {}", label, printable(item->first),
                              item->second.begin,
                              item->second.begin < end ? fmt::format("inside the one that ends at {}", end)
                                                       : fmt::format("after a gap from {}", end)),
                  kFetch);
    end = item->second.end;
  }
  if (end != size - data)
    throw Error(fmt::format("{}: {} bytes stand after the last tensor", label, size - data - end), kFetch);
  return items;
}

}  // namespace

struct SafetensorsFile::Storage {
  std::vector<MappedFile> files;
  std::mutex mutex;  // of what follows and of every StoredTensor::data
  std::vector<std::unique_ptr<std::byte[]>> copies;
};

SafetensorsFile::~SafetensorsFile() = default;

SafetensorsFile::SafetensorsFile(const fs::path& path) : storage_(std::make_shared<Storage>()), label_(path.string()) {
  const fs::path file = file_of(path);
  if (file.extension() == ".json") {
    open_index(file);
    return;
  }
  storage_->files.emplace_back(file);
  add_file(storage_->files.back().bytes(), file.string(), nullptr);
}

SafetensorsFile::SafetensorsFile(std::span<const std::byte> bytes, std::string label)
    : storage_(std::make_shared<Storage>()), label_(std::move(label)) {
  add_file(bytes, label_, nullptr);
}

void SafetensorsFile::open_index(const fs::path& index) {
  const MappedFile json(index);
  if (json.bytes().size() > kLongestSafetensorsHeader)
    throw Error(index.string() + ": an index of more than 100 MB", "check that it is the right file");
  std::map<std::string, std::set<std::string>> shards;
  for (auto& [name, file] : parse_safetensors_index(json.text(), index.string())) shards[file].insert(name);
  for (const auto& [file, names] : shards) {
    const fs::path path = index.parent_path() / file;
    storage_->files.emplace_back(path);
    add_file(storage_->files.back().bytes(), path.string(), &names);
  }
}

void SafetensorsFile::add_file(std::span<const std::byte> bytes, const std::string& label,
                               const std::set<std::string>* expected) {
  uint64_t data = 0;
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  SafetensorsHeader header = read_header(text, label, data);
  for (const Item* item : check_places(header, label, data, bytes.size())) {
    const auto& [name, tensor] = *item;
    if (expected && !expected->contains(name)) continue;  // the index gives this name to another shard, or to none
    const auto dtype = dtype_from_safetensors(tensor.dtype);
    StoredTensor stored{name, dtype.value_or(DType::kU8), tensor.shape, bytes.data() + data + tensor.begin,
                        tensor.end - tensor.begin};
    entries_.emplace(name, Entry{tensor, std::move(stored), dtype.has_value()});
    names_.push_back(name);
  }
  for (const std::string& name : expected ? *expected : std::set<std::string>{})
    if (!header.tensors.contains(name))
      throw Error(label + " has no tensor " + printable(name) + ", which the index places there",
                  "fetch the shards and the index again");
  metadata_.merge(header.metadata);
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  Entry& entry = found->second;
  if (!entry.readable)
    throw Error(
        fmt::format("{}: tensor {} is of type {}, which Sedum cannot read", label_, printable(name), entry.info.dtype),
        "take the model in BF16, F16 or F32");
  const std::lock_guard lock(storage_->mutex);
  StoredTensor& tensor = entry.tensor;
  if (!is_aligned(tensor.data, tensor.dtype)) {
    storage_->copies.push_back(std::make_unique_for_overwrite<std::byte[]>(tensor.bytes));
    std::memcpy(storage_->copies.back().get(), tensor.data, tensor.bytes);
    tensor.data = storage_->copies.back().get();
  }
  return &tensor;
}

std::shared_ptr<const void> SafetensorsFile::owner() const { return storage_; }

const SafetensorsInfo* SafetensorsFile::info(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second.info;
}

}  // namespace sedum
