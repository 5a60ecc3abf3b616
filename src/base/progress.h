#pragma once
// A line of progress with an estimate of the time left, for anything that may take longer than two seconds.
//
//   Progress progress("packing weights", total_bytes, Progress::Unit::kBytes);
//   progress.advance(bytes);
//   progress.finish();            // or the destructor
//
// On a terminal one line is redrawn; when standard error is piped, a plain line appears every ten seconds. The first two
// seconds are silent. Safe to call from any thread.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace sedum {

// How fast something goes, from its first report on: what came before that (loading, a first evaluation, what a resumed run has behind
// it) says nothing about the rest.
class Pace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  void report(uint64_t done, Time now) {
    if (!begun_) from_ = done, since_ = now, begun_ = done > 0;
  }
  // Negative: nothing was done since then.
  double seconds_left(uint64_t done, uint64_t total, Time now) const {
    if (done <= from_) return -1;
    return std::chrono::duration<double>(now - since_).count() * double(total - done) / double(done - from_);
  }

 private:
  uint64_t from_ = 0;
  Time since_{};
  bool begun_ = false;
};

class Progress {
 public:
  enum class Unit { kCount, kBytes };
  Progress(std::string label, uint64_t total, Unit unit = Unit::kCount);  // total 0: unknown
  ~Progress();
  void advance(uint64_t amount, const std::string& note = "");
  void set(uint64_t done, const std::string& note = "");
  void finish();
  static void silence(bool quiet);  // --quiet, --json

 private:
  void draw(bool last);
  using Clock = std::chrono::steady_clock;
  std::string label_, note_;
  uint64_t total_, done_ = 0;
  Unit unit_;
  Clock::time_point start_ = Clock::now(), drawn_ = start_;
  Pace pace_;
  bool shown_ = false, finished_ = false;
  std::mutex mutex_;
};

std::string format_bytes(uint64_t bytes);     // "98.4 MB"
std::string format_duration(double seconds);  // "3 s", "2 min 05 s", "1 h 07 min"
std::string format_number(double value);      // three significant digits: "1.23k", "45.6", "0.00123"

}  // namespace sedum
