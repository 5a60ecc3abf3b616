#include "cli/run_view.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/progress.h"

namespace sedum::cli {
namespace {

constexpr size_t kRecent = 20;  // steps that a speed is the mean of

double number(const nlohmann::json& object, const char* key) {
  return object.contains(key) && object[key].is_number() ? object[key].get<double>() : std::nan("");
}

}  // namespace

std::string sparkline(const std::vector<double>& values, size_t width) {
  std::vector<double> finite;
  for (const double v : values)
    if (std::isfinite(v)) finite.push_back(v);
  if (finite.empty() || width == 0) return "";
  const size_t columns = std::min(width, finite.size());
  std::vector<double> means(columns);
  for (size_t c = 0; c < columns; ++c) {
    const size_t begin = finite.size() * c / columns, end = finite.size() * (c + 1) / columns;
    for (size_t i = begin; i < end; ++i) means[c] += finite[i] / double(end - begin);
  }
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  static const char* const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string line;
  for (const double m : means) line += bars[*high > *low ? std::clamp(int((m - *low) / (*high - *low) * 8), 0, 7) : 3];
  return line;
}

void RunView::hear(const Event& e) {
  const std::lock_guard lock(mutex_);
  if (e.kind == "start") {
    start_ = e.data, total_ = e.data["steps"].get<int64_t>();
  } else if (e.kind == "step") {
    total_ = e.data["total"].get<int64_t>(), memory_ = e.data["memory_bytes"].get<uint64_t>();
    steps_.push_back({e.data["step"].get<int64_t>(), number(e.data, "loss"), number(e.data, "grad_norm"),
                      number(e.data, "learning_rate"), number(e.data, "tokens"), number(e.data, "seconds"),
                      e.data.contains("skipped")});
  } else if (e.kind == "eval") {
    evals_.push_back(e.data);
  } else if (e.kind == "sample") {
    samples_.push_back(e.data);
  } else if (e.kind == "end") {
    end_ = e.data;
  }
}

double RunView::speed(double Step::*amount) const {
  const std::lock_guard lock(mutex_);
  double sum = 0, seconds = 0;
  // The first step touches all memory for the first time: it tells nothing of the others.
  for (size_t i = steps_.size() > kRecent ? steps_.size() - kRecent : steps_.size() > 1 ? 1 : 0; i < steps_.size(); ++i)
    sum += amount ? steps_[i].*amount : 1, seconds += steps_[i].seconds;
  return seconds > 0 ? sum / seconds : 0;
}

double RunView::tokens_per_second() const { return speed(&Step::tokens); }

double RunView::share() const {
  return limits_.peak_flops > 0 ? tokens_per_second() * limits_.flops_per_token / limits_.peak_flops : 0;
}

double RunView::seconds_left() const {
  const std::lock_guard lock(mutex_);
  const double rate = speed(nullptr);
  return steps_.empty() || rate == 0 ? 0 : double(total_ - steps_.back().step) / rate;
}

std::vector<std::string> RunView::lines(size_t width) const {
  const std::lock_guard lock(mutex_);
  if (steps_.empty()) return {};
  const Step& last = steps_.back();
  std::vector<double> losses;
  for (const Step& s : steps_) losses.push_back(s.loss);
  std::string eval;
  if (!evals_.empty()) eval = fmt::format("  eval {:.4f}", number(evals_.back(), "eval_loss"));
  const std::string loss = fmt::format("loss    {:<8.4f}", last.loss);
  const size_t room =
      width > loss.size() + eval.size() + 2 ? std::min<size_t>(width - loss.size() - eval.size() - 2, 60) : 0;
  std::vector<std::string> all{
      fmt::format("step    {} of {} ({:.0f} %), {} left", last.step, total_,
                  100.0 * double(last.step) / double(std::max<int64_t>(1, total_)), format_duration(seconds_left())),
      loss + sparkline(losses, room) + eval,
      fmt::format("rate    {:.2e}  grad norm {:.3f}{}", last.learning_rate, last.grad_norm,
                  last.skipped ? "  step left out" : ""),
      fmt::format("speed   {} tok/s", format_number(tokens_per_second()))};
  if (limits_.peak_flops > 0) all.back() += fmt::format(", {:.0f} % of this machine's peak", 100 * share());
  all.push_back(fmt::format("memory  {}", format_bytes(memory_)));
  if (limits_.forecast_bytes) all.back() += fmt::format(" of {} forecast", format_bytes(limits_.forecast_bytes));
  return all;
}

nlohmann::json RunView::now() const {
  return {{"total", total_},          {"seconds_left", seconds_left()}, {"tokens_per_second", tokens_per_second()},
          {"share_of_peak", share()}, {"memory_bytes", memory_},        {"forecast_bytes", limits_.forecast_bytes}};
}

nlohmann::json RunView::document(int64_t since) const {
  const std::lock_guard lock(mutex_);
  nlohmann::json steps = nlohmann::json::array();
  for (const Step& s : steps_)
    if (s.step > since)
      steps.push_back({{"step", s.step},
                       {"loss", s.loss},
                       {"grad_norm", s.grad_norm},
                       {"learning_rate", s.learning_rate},
                       {"tokens_per_second", s.seconds > 0 ? s.tokens / s.seconds : 0}});
  return {{"start", start_}, {"steps", steps}, {"evals", evals_}, {"samples", samples_}, {"now", now()}, {"end", end_}};
}

}  // namespace sedum::cli
