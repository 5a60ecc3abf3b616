#pragma once
#include <string>
#include <vector>

namespace sedum {

// Watches text for stop strings across the borders of its pieces: what might be the beginning of one is held back.
//
//   StopText stop({"\n\nUser:"});
//   emit(stop.push(piece)); if (stop.found()) …        // the stop string and what follows it never come out
//   emit(stop.finish());
class StopText {
 public:
  explicit StopText(std::vector<std::string> stops);
  std::string push(const std::string& piece);
  std::string finish();  // what was held back, unless a stop was found
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

}  // namespace sedum
