#pragma once
// `sedum train` on a terminal: a block of lines that is redrawn in place, and above it what is worth keeping. When standard output is piped:
// plain lines.

#include <chrono>
#include <memory>

#include "base/progress.h"
#include "cli/run_view.h"

namespace sedum::cli {

class TrainTerminal {
 public:
  explicit TrainTerminal(const RunView& view);
  static bool redraws();      // standard output is a terminal that can
  void hear(const Event& e);  // after the view has heard it
  void finish();

 private:
  void say(const std::string& line);  // above the block
  void draw(bool now);
  void erase();
  const RunView& view_;
  bool live_;
  size_t drawn_lines_ = 0;
  std::chrono::steady_clock::time_point drawn_ = {};
  std::unique_ptr<Progress> progress_;  // where there is no block
};

}  // namespace sedum::cli
