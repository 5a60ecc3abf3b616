#include "data/prefetch.h"

#include <chrono>
#include <utility>

#include "base/error.h"

namespace sedum::data {
namespace {
constexpr size_t kAhead = 4;  // micro-batches: some kilobytes each
}

Prefetcher::Prefetcher(const Loader& loader, int64_t first_step, int64_t total_steps)
    : loader_(loader), step_(first_step), total_(total_steps), thread_([this] { work(); }) {}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetcher::work() {
  try {
    for (; step_ < total_; ++step_)
      for (int micro = 0; micro < loader_.config().gradient_accumulation_steps; ++micro) {
        StepBatch batch = loader_.batch(step_, micro);
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stop_ || ready_.size() < kAhead; });
        if (stop_) return;
        ready_.push_back(std::move(batch));
        changed_.notify_all();
      }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  finished_ = true;
  changed_.notify_all();
}

StepBatch Prefetcher::next() {
  std::unique_lock lock(mutex_);
  if (ready_.empty()) {
    const auto start = std::chrono::steady_clock::now();
    changed_.wait(lock, [&] { return !ready_.empty() || finished_; });
    waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  if (ready_.empty()) {
    if (failure_) std::rethrow_exception(failure_);
    throw ApiError("Prefetcher", "there are no more batches");
  }
  StepBatch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

double Prefetcher::take_waited() {
  const std::lock_guard lock(mutex_);
  return std::exchange(waited_, 0.0);
}

}  // namespace sedum::data
