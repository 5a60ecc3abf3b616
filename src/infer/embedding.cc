#include "infer/embedding.h"

#include <cmath>

namespace sedum {

Embedding::Embedding(const DecodingSetting& setting, GenerationRequest request, Emit emit)
    : Decoding(setting, std::move(request), std::move(emit)), sum_(size_t(setting.hidden_size)) {
  units_.emplace_back().lines.push_back(new_line());
  units_.back().lines[0]->use_prefixes = request_.embedding == Pooling::kLastToken;
}

void Embedding::advance(Unit& unit, std::span<const Computed> computed) {
  const Computed& c = computed[0];
  Line& line = *unit.lines[0];
  const size_t width = sum_.size();
  const bool mean = request_.embedding == Pooling::kMean;
  for (int64_t r = mean ? 0 : c.rows - 1; r < c.rows; ++r) {
    if (mean && c.begin + r < added_) continue;
    for (size_t d = 0; d < width; ++d) sum_[d] = (mean ? sum_[d] : 0) + double(c.hidden[size_t(r) * width + d]);
    added_ = c.begin + r + 1;
  }
  if (line.pending() > 0) return;
  double square = 0;
  for (const double v : sum_) square += v * v;
  const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
  GenerationUpdate update{.finish = FinishReason::kStop};
  for (const double v : sum_) update.embedding.push_back(float(v * scale));
  drop(line);
  units_.clear();
  send_finish(std::move(update));
}

}  // namespace sedum
