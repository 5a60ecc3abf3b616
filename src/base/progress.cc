#include "base/progress.h"

#include <atomic>
#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace sedum {
namespace {
std::atomic<bool> silent{false};
}

Progress::Progress(std::string label, uint64_t total, Unit unit)
    : label_(std::move(label)), total_(total), unit_(unit) {
  pace_.report(0, start_);
}
Progress::~Progress() { finish(); }
void Progress::silence(bool quiet) { silent = quiet; }

void Progress::advance(uint64_t amount, const std::string& note) {
  std::lock_guard lock(mutex_);
  done_ += amount, note_ = note;
  draw(false);
}

void Progress::set(uint64_t done, const std::string& note) {
  std::lock_guard lock(mutex_);
  pace_.report(done, Clock::now());
  done_ = done, note_ = note;
  draw(false);
}

void Progress::finish() {
  std::lock_guard lock(mutex_);
  if (std::exchange(finished_, true)) return;
  if (shown_) draw(true);
}

void Progress::draw(bool last) {
  if (silent) return;
  const bool terminal = ::isatty(STDERR_FILENO);
  const auto now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double since = std::chrono::duration<double>(now - drawn_).count();
  if (!last && (elapsed < 2 || since < (terminal ? 0.1 : shown_ ? 10 : 2))) return;
  drawn_ = now, shown_ = true;
  const auto amount = [&](uint64_t n) { return unit_ == Unit::kBytes ? format_bytes(n) : std::to_string(n); };
  std::string line = label_ + ": " + amount(done_);
  if (total_) line += fmt::format(" of {} ({:.0f} %)", amount(total_), 100.0 * double(done_) / double(total_));
  const double left = total_ && done_ < total_ ? pace_.seconds_left(done_, total_, now) : -1;
  if (last)
    line += ", " + format_duration(elapsed);
  else if (left >= 0)
    line += ", " + format_duration(left) + " left";
  if (!note_.empty()) line += "  " + note_;
  if (terminal)
    std::fprintf(stderr, "\r\033[K%s%s", line.c_str(), last ? "\n" : "");
  else
    std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
}

std::string format_bytes(uint64_t bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 999.5 && unit < 4) value /= 1000, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes)
                   : fmt::format("{:.{}f} {}", value,
                                 value < 9.995   ? 2
                                 : value < 99.95 ? 1
                                                 : 0,
                                 units[unit]);
}

std::string format_duration(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto s = static_cast<long long>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string format_number(double value) {
  const char* const units[] = {"", "k", "M", "G", "T"};
  double magnitude = std::fabs(value);
  if (!std::isfinite(value)) return fmt::format("{}", value);
  int unit = 0;
  while (magnitude >= 999.5 && unit < 4) magnitude /= 1000, value /= 1000, ++unit;
  if (magnitude != 0 && magnitude < 0.0995) return fmt::format("{:.3g}", value);
  return fmt::format("{:.{}f}{}", value, magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0, units[unit]);
}

}  // namespace sedum
