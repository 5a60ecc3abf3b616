#include "model/nn/batch.h"

namespace sedum {

Batch Batch::of_sequences(const std::vector<std::vector<int32_t>>& sequences) {
  auto ids = std::make_shared<std::vector<int32_t>>();
  auto segments = std::make_shared<std::vector<AttentionSegment>>();
  Batch batch;
  for (const auto& sequence : sequences) {
    const int64_t begin = int64_t(ids->size()), count = int64_t(sequence.size());
    ids->insert(ids->end(), sequence.begin(), sequence.end());
    segments->push_back({begin, count, begin, count});
    for (int64_t i = 0; i < count; ++i) batch.positions.push_back(int32_t(i));
  }
  batch.ids = std::move(ids), batch.segments = std::move(segments);
  return batch;
}

}  // namespace sedum
