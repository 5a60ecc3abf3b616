#pragma once
#include "infer/local_engine.h"

namespace sedum {

// What the engine's thread keeps of a request.
struct LocalEngine::Request {
  RequestId id;
  Listener listener;
  std::unique_ptr<Decoding> decoding;
  using Clock = std::chrono::steady_clock;
  Clock::time_point arrival = Clock::now();
  std::vector<Clock::time_point> last_token;  // by answer
  int adapter = 0;                            // also the root of its pages in the prefix cache
  bool counted = false;
};

}  // namespace sedum
