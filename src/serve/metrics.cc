#include "serve/metrics.h"

#include <fmt/format.h>

namespace sedum::serve {
namespace {

std::string escaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return text;
}

using Engines = std::vector<std::pair<std::string, EngineStatistics>>;

class Text {
 public:
  explicit Text(const Engines& engines) : engines_(engines) {}

  void head(const char* name, const char* type, const char* help) {
    out += fmt::format("# HELP sedum_{0} {2}\n# TYPE sedum_{0} {1}\n", name, type, help);
  }
  template <class Get>
  void each(const char* name, const char* type, const char* help, Get get) {
    head(name, type, help);
    for (const auto& [model, statistics] : engines_)
      out += fmt::format("sedum_{}{{model=\"{}\"}} {}\n", name, escaped(model), get(statistics));
  }
  void histogram(const char* name, const char* help, Histogram EngineStatistics::*member) {
    head(name, "histogram", help);
    for (const auto& [model, statistics] : engines_) {
      const Histogram& h = statistics.*member;
      const std::string label = escaped(model);
      uint64_t below = 0;
      for (size_t i = 0; i < h.bounds.size(); ++i)
        out += fmt::format("sedum_{}_bucket{{model=\"{}\",le=\"{}\"}} {}\n", name, label, h.bounds[i],
                           below += h.counts[i]);
      out += fmt::format(
          "sedum_{0}_bucket{{model=\"{1}\",le=\"+Inf\"}} {2}\nsedum_{0}_sum{{model=\"{1}\"}} {3}\n"
          "sedum_{0}_count{{model=\"{1}\"}} {2}\n",
          name, label, h.count, h.sum);
    }
  }
  std::string out;

 private:
  const Engines& engines_;
};

}  // namespace

void Metrics::answered(const std::string& path, int status) {
  std::lock_guard lock(mutex_);
  ++requests_[{path, status}];
}

std::string Metrics::text(const Engines& engines, int in_flight) const {
  using S = EngineStatistics;
  Text text(engines);
  text.head("http_requests_total", "counter", "Answers by route and status; 0: the client went before one.");
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, count] : requests_)
      text.out += fmt::format("sedum_http_requests_total{{path=\"{}\",status=\"{}\"}} {}\n", escaped(key.first),
                              key.second, count);
  }
  text.head("requests_in_flight", "gauge", "Requests for generation that are waiting or running.");
  text.out += fmt::format("sedum_requests_in_flight {}\n", in_flight);
  text.each("requests_waiting", "gauge", "Requests in the engine's queue.", [](const S& s) { return s.waiting; });
  text.each("requests_running", "gauge", "Requests whose tokens are being computed.",
            [](const S& s) { return s.running; });
  text.each("kv_pages", "gauge", "Pages for keys and values.", [](const S& s) { return s.pages; });
  text.each("kv_pages_used", "gauge", "Pages that running requests hold.", [](const S& s) { return s.pages_used; });
  text.each("kv_pages_cached", "gauge", "Pages kept for later prompts with the same beginning.",
            [](const S& s) { return s.pages_cached; });
  text.each("kv_wasted_share", "gauge", "Share of the used pages' room that holds nothing.",
            [](const S& s) { return s.wasted_share; });
  text.each("requests_finished_total", "counter", "Requests answered to their end.",
            [](const S& s) { return s.finished; });
  text.each("requests_cancelled_total", "counter", "Requests whose client went away.",
            [](const S& s) { return s.cancelled; });
  text.each("requests_failed_total", "counter", "Requests that the engine could not serve.",
            [](const S& s) { return s.failed; });
  text.each("preemptions_total", "counter", "Times that a request gave its pages back and began again.",
            [](const S& s) { return s.preemptions; });
  text.each("steps_total", "counter", "Steps of the engine.", [](const S& s) { return s.steps; });
  text.each("prompt_tokens_total", "counter", "Tokens of prompts.", [](const S& s) { return s.prompt_tokens; });
  text.each("prefix_cache_hit_tokens_total", "counter", "Tokens of prompts found in the prefix cache.",
            [](const S& s) { return s.cached_tokens; });
  text.each("generated_tokens_total", "counter", "Tokens generated.", [](const S& s) { return s.generated_tokens; });
  text.each("drafted_tokens_total", "counter", "Tokens guessed by speculation.",
            [](const S& s) { return s.drafted_tokens; });
  text.each("accepted_tokens_total", "counter", "Guessed tokens that were right.",
            [](const S& s) { return s.accepted_tokens; });
  text.histogram("time_to_first_token_seconds", "From a request's arrival to its first token.",
                 &S::first_token_seconds);
  text.histogram("time_between_tokens_seconds", "Between two tokens of an answer.", &S::between_tokens_seconds);
  text.histogram("request_seconds", "From a request's arrival to its last token.", &S::request_seconds);
  return std::move(text.out);
}

}  // namespace sedum::serve
