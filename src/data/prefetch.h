#pragma once
// The next batches of a run, made ready on a thread of their own while the current one is trained on.
//
//   Prefetcher batches(loader, first_step, total_steps);
//   StepBatch batch = batches.next();      // micro-batch after micro-batch, step after step
//   batches.take_waited();                 // seconds that next() had to wait since the last call

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "data/loader.h"

namespace sedum::data {

class Prefetcher {
 public:
  Prefetcher(const Loader& loader, int64_t first_step, int64_t total_steps);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Throws what making the batch threw. ApiError beyond the last.
  StepBatch next();
  double take_waited();

 private:
  void work();
  const Loader& loader_;
  int64_t step_, total_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StepBatch> ready_;
  std::exception_ptr failure_;
  bool stop_ = false, finished_ = false;
  double waited_ = 0;
  std::thread thread_;
};

}  // namespace sedum::data
