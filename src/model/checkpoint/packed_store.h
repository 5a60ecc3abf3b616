#pragma once
// Packed weights kept on disk, so that a model is packed once and only read at every later start.
//
//   PackedStore store(checkpoint, {.folder = "~/.cache/sedum/packed"});
//   if (auto packed = store.find("lm_head.weight", stored)) …   // read from the file
//   else store.add("lm_head.weight", stored, packed);            // packed anew
//   store.save();                                                 // writes the file in the background, if anything was added
//
// One file for each model, KEY.packed. KEY is SHA-256 over the layout of panels, the compute format and what identifies the model's
// files: device, inode, size, time of the last change of content and of state (which no program can set back), and a sum over the
// first and last 4 KiB of every tensor. Hashing all of a 400 MB model would cost what packing it does. Panels are the same for
// every instruction set; how products are best cut is not, and stands beside the instruction set and processor it was measured on.
//
// Panels are copied into huge pages: mapped, they lie in pages of 4 KiB, which the kernel takes away when it thinks them idle. Decoding
// a 1.1B model in Q4_0 from the mapping took 12 to 29 tokens/s on an EPYC 7003 (34 to 79 % of the bandwidth), from the copy 29 to 31.
//
// A file is read only if magic, header's SHA-256, key, length and the place of every tensor are right; else it is as if it were not
// there, and is written anew. It is written under another name, synced and renamed. Files are dropped, least recently used first,
// until all take at most `limit`. Whatever goes wrong with the cache costs time, never an answer: problem() says what it was.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/arena.h"
#include "base/file.h"
#include "compute/kernels/quantised.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {

struct PackCacheOptions {
  std::filesystem::path folder = {};       // "": no cache
  uint64_t limit = uint64_t{16} << 30;     // bytes of all files together
  uint64_t smallest = uint64_t{16} << 20;  // packed bytes below which a model is not worth a file
};

// From SEDUM_PACK_CACHE ("off", or a folder), SEDUM_PACK_CACHE_GIB; the folder is `home`/packed by default.
// `environment` is std::getenv or a test's.
PackCacheOptions pack_cache_options(const std::function<const char*(const char*)>& environment,
                                    const std::filesystem::path& home);

// The best way to cut products with weights of one shape, and what it was measured on.
struct TunedCut {
  std::string machine;  // machine_name()
  DType panels = DType::kQ8_0;
  int64_t rows = 0, cols = 0;
  ProductCut cut = {};
  bool operator==(const TunedCut&) const = default;
};
std::string machine_name(int threads);  // processor, instruction set in force, threads

class PackedStore {
 public:
  PackedStore(const Checkpoint& checkpoint, PackCacheOptions options, int threads);
  ~PackedStore();  // waits for what is being written
  PackedStore(const PackedStore&) = delete;
  PackedStore& operator=(const PackedStore&) = delete;

  // Null when the file has no such tensor.
  std::shared_ptr<const PackedMatrix> find(const std::string& name, const Tensor& stored);
  void add(const std::string& name, const Tensor& stored, std::shared_ptr<const PackedMatrix> packed);
  void save();
  void wait();  // until it is written

  const std::filesystem::path& path() const { return path_; }
  const std::vector<std::shared_ptr<const PackedMatrix>>& matrices() const { return matrices_; }  // found or added
  size_t added() const { return added_.size(); }
  std::string problem() const;  // why nothing was written; after wait()

  // For `sedum compile`. The file's panels against their sums; false: damaged, and none will be found.
  bool verify();
  // Panels of an earlier file of the same path whose stored bytes are the same, though the file is another one.
  void reuse_from_older();
  size_t reused() const { return reused_; }     // of those added
  void set_tuned(std::vector<TunedCut> tuned);  // those of other machines stay; save() then writes the file in any case
  const std::vector<TunedCut>& tuned() const { return tuned_; }

 private:
  struct Entry {
    DType stored = DType::kF32, panels = DType::kQ8_0;
    int64_t rows = 0, cols = 0;
    uint64_t offset = 0, bytes = 0, sum = 0, source = 0;  // sums of the panels, and of the bytes that were packed
  };
  struct Added {
    std::string name;
    Tensor stored;
    std::shared_ptr<const PackedMatrix> packed;
  };
  struct File {
    MappedFile mapping;
    std::shared_ptr<Buffer> copy;  // of all of it, or null
    std::string model;
    std::map<std::string, Entry> entries;
    std::vector<TunedCut> tuned;
  };
  static void load(File& file, int threads);
  static std::unique_ptr<File> read(const std::filesystem::path& path, const std::string& key);
  std::shared_ptr<const PackedMatrix> matrix(const File& file, const Entry& entry) const;
  void touch() const;
  void write() const;
  void evict(uint64_t needed) const;

  PackCacheOptions options_;
  std::string model_, key_, machine_;
  std::filesystem::path path_;
  std::unique_ptr<File> file_, older_;
  std::vector<TunedCut> tuned_;
  std::vector<Added> added_;
  std::vector<std::shared_ptr<const PackedMatrix>> matrices_;
  size_t reused_ = 0;
  bool tuned_changed_ = false;
  std::thread writer_;
  std::string problem_;
};

}  // namespace sedum
