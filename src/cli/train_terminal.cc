#include "cli/train_terminal.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace sedum::cli {
namespace {

size_t terminal_width() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

double number(const nlohmann::json& data, const char* key) {
  return data.contains(key) && data[key].is_number() ? data[key].get<double>() : std::nan("");
}

}  // namespace

bool TrainTerminal::redraws() {
  const char* terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) && terminal && std::string(terminal) != "dumb";
}

TrainTerminal::TrainTerminal(const RunView& view) : view_(view), live_(redraws()) {}

void TrainTerminal::hear(const Event& e) {
  const auto& d = e.data;
  if (e.kind == "start") {
    say(fmt::format("{}: {} of {} parameters, {} rows, {} tokens an epoch, {} steps",
                    d["finetuning_type"].get<std::string>(), format_number(d["trainable_parameters"].get<double>()),
                    format_number(d["parameters"].get<double>()), d["rows"].get<int64_t>(),
                    format_number(d["tokens_per_epoch"].get<double>()), d["steps"].get<int64_t>()));
    if (d["resumed_step"].get<int64_t>() > 0)
      say(fmt::format("going on from step {}", d["resumed_step"].get<int64_t>()));
    if (live_) return;
    progress_ = std::make_unique<Progress>("training", d["steps"].get<uint64_t>());
    progress_->set(d["resumed_step"].get<uint64_t>());
  } else if (e.kind == "step") {
    const int64_t step = d["step"], total = d["total"];
    if (d.contains("skipped")) say(fmt::format("step {:>5}  left out: {}", step, d["skipped"].get<std::string>()));
    if (live_) return draw(step == total);
    const std::string line =
        fmt::format("loss {:.4f}  grad_norm {:.3f}  lr {:.2e}  {} tok/s", number(d, "loss"), number(d, "grad_norm"),
                    d["learning_rate"].get<double>(), format_number(d["tokens_per_second"].get<double>()));
    progress_->set(uint64_t(step), line);
    const int64_t every = std::max<int64_t>(1, total / 20);
    if (step % every == 0 || step == total) say(fmt::format("step {:>5}  {}", step, line));
  } else if (e.kind == "eval") {
    say(fmt::format("step {:>5}  eval loss {:.4f}  perplexity {:.3f}", d["step"].get<int64_t>(), number(d, "eval_loss"),
                    number(d, "eval_perplexity")));
  } else if (e.kind == "sample") {
    say(fmt::format("step {:>5}  {} → {}", d["step"].get<int64_t>(), d["prompt"].get<std::string>(),
                    d["text"].get<std::string>()));
  }
}

void TrainTerminal::say(const std::string& line) {
  const bool block = drawn_lines_ > 0;
  erase();
  fmt::print("{}\n", line);
  if (block) draw(true);
  std::fflush(stdout);
}

void TrainTerminal::draw(bool now) {
  const auto time = std::chrono::steady_clock::now();
  if (!now && drawn_lines_ > 0 && time - drawn_ < std::chrono::milliseconds(100)) return;
  erase();
  drawn_ = time;
  const auto lines = view_.lines(terminal_width());
  for (const std::string& line : lines) fmt::print("\033[2K{}\n", line);
  drawn_lines_ = lines.size();
  std::fflush(stdout);
}

void TrainTerminal::erase() {
  if (drawn_lines_ > 0) fmt::print("\033[{}A\033[J", drawn_lines_);
  drawn_lines_ = 0;
}

void TrainTerminal::finish() {
  progress_.reset();
  drawn_lines_ = 0;  // the last block stays
}

}  // namespace sedum::cli
