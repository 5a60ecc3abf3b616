#include "cli/sampling.h"

namespace sedum::cli {

void add_sampling_options(CLI::App& app, SamplingParams& s) {
  app.add_option("--max-tokens", s.max_tokens, "the longest answer; -1: until the context is full")
      ->capture_default_str();
  app.add_option("--temperature", s.temperature, "0: always the likeliest token")->capture_default_str();
  app.add_option("--top-k", s.top_k, "keep the k likeliest tokens; 0: off")->capture_default_str();
  app.add_option("--top-p", s.top_p, "keep the likeliest tokens up to this probability together")
      ->capture_default_str();
  app.add_option("--min-p", s.min_p, "drop tokens below this share of the likeliest one's probability")
      ->capture_default_str();
  app.add_option("--repetition-penalty", s.repetition_penalty, "above 1: less repetition")->capture_default_str();
  app.add_option("--seed", s.seed, "the same seed gives the same answer")->capture_default_str();
  app.add_option("--stop", s.stop, "text that ends the answer; may be given several times");
}

}  // namespace sedum::cli
