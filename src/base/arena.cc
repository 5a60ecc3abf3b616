#include "base/arena.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

namespace sedum {
namespace {

constexpr uint64_t kAlign = 256, kHugePage = 2 << 20;

uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

void* map_memory(uint64_t bytes) {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw Error("cannot map " + std::to_string(bytes >> 20) + " MiB of memory",
                "close other programs, or choose a smaller model or batch");
  ::madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

}  // namespace

Arena::Arena(Backing backing, uint64_t capacity)
    : backing_(backing), capacity_(round_up(capacity ? capacity : 4 * machine_memory(), kHugePage)) {
  if (backed())
    base_ = static_cast<char*>(map_memory(capacity_));
  else
    base_ = reinterpret_cast<char*>(uintptr_t{1} << 46);  // beyond what a process maps by itself: touching it faults
  add_hole(0, capacity_);
}

Arena::~Arena() {
  if (backed()) ::munmap(base_, capacity_);
}

void Arena::add_hole(uint64_t offset, uint64_t size) {
  holes_.emplace(offset, size);
  by_size_.emplace(size, offset);
}

void* Arena::allocate(size_t bytes) {
  const uint64_t size = round_up(std::max<uint64_t>(bytes, 1), kAlign);
  std::lock_guard lock(mutex_);
  const auto best = by_size_.lower_bound({size, 0});
  if (best == by_size_.end())
    throw Error("out of address space for tensors: " + std::to_string(bytes >> 20) + " MiB more",
                "choose a smaller batch or sequence");
  const auto [hole, offset] = *best;
  if (limit_ && offset + size > std::max(limit_, peak_))
    throw Error("the memory limit of " + std::to_string(limit_ >> 20) + " MiB is too small for this step",
                "raise it, or choose a smaller batch or sequence");
  by_size_.erase(best);
  holes_.erase(offset);
  if (hole > size) add_hole(offset + size, hole - size);
  live_ += size;
  peak_live_ = std::max(peak_live_, live_);
  peak_ = std::max(peak_, offset + size);
  return base_ + offset;
}

void Arena::release(void* p, size_t bytes) {
  uint64_t size = round_up(std::max<uint64_t>(bytes, 1), kAlign);
  std::lock_guard lock(mutex_);
  live_ -= size;
  uint64_t offset = uint64_t(static_cast<char*>(p) - base_);
  const auto remove = [&](auto hole) {
    by_size_.erase({hole->second, hole->first});
    holes_.erase(hole);
  };
  auto next = holes_.lower_bound(offset);
  SEDUM_CHECK(next == holes_.end() || next->first >= offset + size, "released twice");
  if (next != holes_.end() && next->first == offset + size) {
    size += next->second;
    const auto following = std::next(next);
    remove(next);
    next = following;
  }
  if (next != holes_.begin()) {
    const auto previous = std::prev(next);
    SEDUM_CHECK(previous->first + previous->second <= offset, "released twice");
    if (previous->first + previous->second == offset) {
      offset = previous->first, size += previous->second;
      remove(previous);
    }
  }
  add_hole(offset, size);
}

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes) data_ = map_memory(round_up(bytes, 4096));
}
Buffer::~Buffer() {
  if (data_) ::munmap(data_, round_up(size_, 4096));
}
Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_), std::swap(size_, other.size_);
  return *this;
}

MemoryUse memory_use() {
  MemoryUse use{};
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const auto read = [&](const char* key, uint64_t& to) {
      if (line.rfind(key, 0) == 0) to = std::stoull(line.substr(std::strlen(key))) << 10;
    };
    read("VmRSS:", use.resident), read("RssAnon:", use.anonymous), read("VmHWM:", use.peak_resident);
  }
  return use;
}

uint64_t machine_memory() {
  uint64_t bytes = uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
  std::string word;
  if (std::ifstream limit("/sys/fs/cgroup/memory.max"); limit >> word && word != "max")
    bytes = std::min<uint64_t>(bytes, std::stoull(word));
  return bytes;
}

}  // namespace sedum
