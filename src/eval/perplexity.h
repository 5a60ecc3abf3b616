#pragma once
// How well a model predicts a text.
//
//   Perplexity p = perplexity(ctx, model, ids, {.window = 512, .max_windows = 8});
//   p.value();      // exp of the mean −log p of a token

#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "data/interfaces.h"
#include "model/runtime_model.h"

namespace sedum {

struct PerplexityOptions {
  int64_t window =
      512;  // tokens of each window; windows do not overlap, and the first token of each has nothing to be predicted from
  int64_t max_windows = 0;  // 0: all; a shorter rest is left out unless it is the only one
  // Keys and values go through pages of this type, as they do while text is generated: what its rounding costs. Unset: as they are.
  std::optional<DType> kv_cache = {};
};
struct Perplexity {
  double negative_log_likelihood = 0;  // nats, summed
  int64_t tokens = 0;
  double value() const { return std::exp(negative_log_likelihood / double(tokens)); }
};
// Error when there are fewer than two tokens.
Perplexity perplexity(Context& ctx, const CausalModel& model, const std::vector<int32_t>& ids,
                      const PerplexityOptions& options,
                      const std::function<void(int64_t done, int64_t of)>& progress = nullptr);

// The scorer that data steps are handed.
class ModelScorer : public data::Scorer {
 public:
  explicit ModelScorer(const RuntimeModel& model) : model_(model) {}
  std::vector<data::TextScore> score(std::span<const std::string> texts) const override;

 private:
  const RuntimeModel& model_;
};

}  // namespace sedum
