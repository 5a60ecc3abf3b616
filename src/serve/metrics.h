#pragma once
// What the server counts, and Prometheus' text of it (https://prometheus.io/docs/instrumenting/exposition_formats/).
//
//   metrics.answered("/v1/chat/completions", 200);
//   exchange.respond({.body = metrics.text(engines), .content_type = kMetricsType});

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "infer/engine.h"

namespace sedum::serve {

inline constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

class Metrics {
 public:
  void answered(const std::string& path, int status);  // path: a route, not what a client made up
  // `engines`: by the name of the model that they hold.
  std::string text(const std::vector<std::pair<std::string, EngineStatistics>>& engines, int in_flight) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;
};

}  // namespace sedum::serve
