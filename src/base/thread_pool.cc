#include "base/thread_pool.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include <sched.h>

#include "base/error.h"

namespace sedum {
namespace {

constexpr int kSpins = 4000;  // pauses; about 40 µs at 40 cycles each

inline void pause() { __builtin_ia32_pause(); }

// Spins, then gives the core away: there may be more threads than cores.
template <class Done>
void spin_until(Done done) {
  for (int i = 0; !done(); ++i) {
    if (i < kSpins)
      pause();
    else
      std::this_thread::yield();
  }
}

// cgroup v2 and v1: quota and period in microseconds; no quota is "max" or -1.
double cgroup_cores() {
  double quota = -1, period = 0;
  std::string word;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> word >> period) {
    quota = word == "max" ? -1 : std::atof(word.c_str());
  } else {
    std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(q >> quota) || !(p >> period)) return 1e9;
  }
  return quota > 0 && period > 0 ? quota / period : 1e9;
}

}  // namespace

int usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!(file >> siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return std::max(1, std::min(int(cores.size()), int(cgroup_cores() + 0.5)));
}

ThreadPool::ThreadPool(int threads) : threads_(threads > 0 ? threads : usable_cores()) {
  for (int t = 1; t < threads_; ++t) workers_.emplace_back([this, t] { work_loop(t); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run_erased(Erased work, void* data) {
  std::lock_guard lock(mutex_);
  if (threads_ == 1) return work(data, 0);
  work_ = work, data_ = data;
  running_.store(threads_ - 1, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) epoch_.notify_all();
  work(data, 0);
  spin_until([&] { return running_.load(std::memory_order_acquire) == 0; });
}

void ThreadPool::work_loop(int thread) {
  for (uint32_t seen = 0;;) {
    for (int i = 0; i < kSpins && epoch_.load(std::memory_order_acquire) == seen; ++i) pause();
    if (epoch_.load(std::memory_order_acquire) == seen) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      epoch_.wait(seen, std::memory_order_seq_cst);
      sleepers_.fetch_sub(1, std::memory_order_relaxed);
    }
    seen = epoch_.load(std::memory_order_acquire);
    if (stop_) return;
    work_(data_, thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::barrier() {
  if (threads_ == 1) return;
  const uint32_t epoch = barrier_epoch_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    barrier_epoch_.store(epoch + 1, std::memory_order_release);
  } else {
    spin_until([&] { return barrier_epoch_.load(std::memory_order_acquire) != epoch; });
  }
}

}  // namespace sedum
