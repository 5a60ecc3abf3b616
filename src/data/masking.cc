#include "data/masking.h"

#include "base/random.h"

namespace sedum::data {

Masked mask_tokens(const StepBatch& batch, const MaskOptions& options, int64_t step) {
  Masked m{batch.ids, {}, {}};
  const Random random(options.seed ^ stream_of("masks"), Purpose::kNoise, uint32_t(step));
  for (size_t s = 0; s < batch.segments.size(); ++s) {
    const Segment& segment = batch.segments[s];
    for (int32_t i = 1; i < segment.count; ++i) {
      const auto row = size_t(segment.begin + i);
      if (batch.targets[row - 1] == kIgnored) continue;  // targets are shifted: this token's label
      const uint64_t place = uint64_t(batch.samples[s]) << 32 | 3 * uint64_t(batch.offsets[s] + i);
      if (random.uniform_double(place) >= options.share) continue;
      m.rows.push_back(int32_t(row)), m.labels.push_back(batch.ids[row]);
      const double fate = random.uniform_double(place + 1);
      if (fate < 0.8) m.ids[row] = options.mask_token;
      if (fate >= 0.8 && fate < 0.9) m.ids[row] = int32_t(random.below(uint64_t(options.vocab_size), place + 2));
    }
  }
  return m;
}

}  // namespace sedum::data
