#pragma once
// One pool of threads for everything that computes.
//
//   ThreadPool pool;                                        // as many threads as this process may use
//   pool.run([&](int thread) { ...; pool.barrier(); ... }); // on every thread; the caller is thread 0
//   pool.parallel_for(rows, [&](int64_t begin, int64_t end) { ... });
//
// Workers spin for some microseconds between regions, then sleep: a decoding step is some hundred regions a few microseconds
// apart, and waking a thread through the kernel costs as much as the work. Work must not throw. How a range is cut depends on
// the number of threads, so a kernel may cut only over results, never over a sum.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace sedum {

// Threads that pay: the affinity mask, bounded by the cgroup's CPU quota, one for each physical core.
int usable_cores();

class ThreadPool {
 public:
  explicit ThreadPool(int threads = 0);  // 0: usable_cores()
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return threads_; }

  template <class F>
  void run(F&& work) {
    using Work = std::remove_reference_t<F>;
    run_erased([](void* w, int thread) { (*static_cast<Work*>(w))(thread); },
               const_cast<void*>(static_cast<const void*>(&work)));
  }

  // Waits for all threads of the region. Only inside run().
  void barrier();

  // Cuts [0, count) into one contiguous part for each thread, boundaries at multiples of `grain`; runs on the caller alone when
  // there is only one grain of work.
  template <class F>
  void parallel_for(int64_t count, F&& body, int64_t grain = 1) {
    const int64_t grains = (count + grain - 1) / grain;
    if (grains <= 1 || threads_ == 1) {
      if (count > 0) body(int64_t{0}, count);
      return;
    }
    run([&](int thread) {
      const int64_t begin = grains * thread / threads_ * grain, end = grains * (thread + 1) / threads_ * grain;
      if (begin < end) body(begin, end < count ? end : count);
    });
  }

 private:
  using Erased = void (*)(void*, int);
  void run_erased(Erased work, void* data);
  void work_loop(int thread);

  const int threads_;
  std::mutex mutex_;  // one region at a time
  Erased work_ = nullptr;
  void* data_ = nullptr;
  // Each on a cache line of its own: a line takes 350 ns between two virtual cores.
  alignas(64) std::atomic<uint32_t> epoch_{0};
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> barrier_epoch_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace sedum
