#pragma once
// safetensors: Hugging Face's tensor files, whole or in shards.
//
//   SafetensorsFile file("model.safetensors");   // or model.safetensors.index.json, or the folder that holds either
//   const StoredTensor* t = file.find("model.embed_tokens.weight");
//
//   SafetensorsWriter out("adapter_model.safetensors", {{"format", "pt"}});
//   out.add("lora_A.weight", DType::kF32, {8, 512}, [&](const ByteSink& sink) { ... });
//   out.finish();
//
// Layout: u64 length of the header, header (JSON: name → dtype, shape, data_offsets; padded with spaces), data. Checked as the
// reference implementation (huggingface/safetensors) does: the header is at most 100 MB, tensors fill the data without gap or
// overlap, sizes agree with shape and type, no name stands twice.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "formats/pending_tensor.h"
#include "formats/safetensors_header.h"
#include "formats/tensor_source.h"

namespace sedum {

class SafetensorsFile : public TensorSource {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  // One file that is already in memory; `bytes` must outlive this.
  SafetensorsFile(std::span<const std::byte> bytes, std::string label);
  ~SafetensorsFile() override;

  const std::vector<std::string>& names() const override { return names_; }  // by shard, then by place in the file
  // BOOL reads as U8. A tensor that the file did not align is copied, once.
  const StoredTensor* find(std::string_view name) const override;
  std::shared_ptr<const void> owner() const override;
  std::string where() const override { return label_; }

  const SafetensorsInfo* info(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }  // __metadata__, of all shards

 private:
  struct Storage;
  struct Entry {
    SafetensorsInfo info;
    StoredTensor tensor;
    bool readable = false;
  };
  // `expected`: the names that the index places in this shard.
  void add_file(std::span<const std::byte> bytes, const std::string& label, const std::set<std::string>* expected);
  void open_index(const std::filesystem::path& index);
  std::shared_ptr<Storage> storage_;
  std::string label_;
  std::vector<std::string> names_;
  mutable std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, std::string> metadata_;
};

// Of a model's folder: the hub's guidance, and what transformers wrote up to its version 4 (50 GB since).
inline constexpr uint64_t kMaxShardBytes = 5'000'000'000;

// One file; with max_shard_bytes, `model-00001-of-00002.safetensors` … and `model.safetensors.index.json` when one is not
// enough. Shards are cut in the order of add(), between layers: readers that take one shard at a time find a quantised layer's parts together.
// Within a file wide types come first, so that every tensor is aligned; within a width the order is that of add().
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(std::filesystem::path path, std::map<std::string, std::string> metadata = {},
                             uint64_t max_shard_bytes = 0);

  void add(std::string name, DType dtype, std::vector<int64_t> shape, TensorProducer data);
  void add(const StoredTensor& tensor);         // its data must live until finish()
  std::vector<std::filesystem::path> finish();  // what was written

 private:
  std::filesystem::path path_;
  std::map<std::string, std::string> metadata_;
  uint64_t max_shard_bytes_;
  std::vector<PendingTensor> tensors_;
};

}  // namespace sedum
