#pragma once
// Memory for tensors: one region of address space, cut and joined again.
//
//   Arena arena;                       // reserves address space, touches nothing
//   void* p = arena.allocate(bytes);   // 256-byte aligned, contents undefined
//   arena.release(p, bytes);
//   arena.peak_bytes();                // the high-water mark
//
// Best fit with joining of neighbours; steps of equal shape get equal addresses, so after the first step no page is new. With
// Backing::kNone it hands out addresses that must not be touched: the planner runs a step in such an arena and reads the peak
// that the same step will have in a real one, fragmentation included.

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace sedum {

class Arena {
 public:
  enum class Backing { kMemory, kNone };
  // `capacity`: address space, not memory. 0: four times the machine's memory.
  explicit Arena(Backing backing = Backing::kMemory, uint64_t capacity = 0);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* allocate(size_t bytes);  // throws Error when the capacity or `limit` is exceeded
  void release(void* p, size_t bytes);

  bool backed() const { return backing_ == Backing::kMemory; }
  void set_limit(uint64_t bytes) { limit_ = bytes; }  // refuses what would raise the high-water mark above it; 0: none
  uint64_t live_bytes() const { return live_; }
  uint64_t peak_live_bytes() const { return peak_live_; }
  uint64_t peak_bytes() const { return peak_; }  // the highest address ever used: what the process pays for
  void reset_peak() { peak_live_ = live_; }

 private:
  void add_hole(uint64_t offset, uint64_t size);
  Backing backing_;
  char* base_ = nullptr;
  uint64_t capacity_, limit_ = 0, live_ = 0, peak_live_ = 0, peak_ = 0;
  std::map<uint64_t, uint64_t> holes_;               // offset → size
  std::set<std::pair<uint64_t, uint64_t>> by_size_;  // (size, offset)
  std::mutex mutex_;
};

// Zeroed, aligned memory in huge pages where the kernel grants them, for what lives as long as the program (packed weights).
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  template <class T = std::byte>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

struct MemoryUse {
  uint64_t resident, anonymous, peak_resident;
};  // bytes, of this process
MemoryUse memory_use();
uint64_t machine_memory();  // bytes, bounded by the cgroup

}  // namespace sedum
