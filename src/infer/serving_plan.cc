#include "infer/serving_plan.h"

#include <algorithm>

#include "base/error.h"
#include "infer/local_engine.h"

namespace sedum {

ServingPlan plan_serving(const Checkpoint& checkpoint, Compute compute, DType kv_cache, int64_t context,
                         int64_t sequences) {
  const ModelConfig& config = checkpoint.config();
  if (context > config.max_position_embeddings)
    throw Error("a context of " + std::to_string(context) + " tokens is beyond the model's " +
                    std::to_string(config.max_position_embeddings),
                "choose a smaller one");
  if (context <= 0) context = std::min<int64_t>(config.max_position_embeddings, 32768);
  ServingPlan plan;
  for (const std::string& name : checkpoint.source().names())
    if (const StoredTensor* tensor = checkpoint.source().find(name)) plan.file_bytes += tensor->bytes;
  if (compute == Compute::kInt8) {  // sizes alone: nothing is filled
    ThreadPool pool(1);
    Arena arena(Arena::Backing::kNone);
    CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, pool, arena, Pack::kForward);
    (void)build_model(config, factory);
    plan.packed_bytes = factory.packed_bytes();
  }
  plan.token_bytes = PagedCache::token_bytes(config, kv_cache);
  Arena arena(Arena::Backing::kNone);
  const int64_t pages = PagedCache::pages_for(context), rows = EngineOptions{}.step_tokens;
  int64_t held = pages;
  // With windows fewer pages are enough for any length: the least that are.
  for (int64_t some = 1; some < pages; ++some)
    if (PagedCache(arena, config, kv_cache, some).longest(rows) >= context) {
      held = some;
      break;
    }
  plan.sequence_tokens = std::min(context, held * PagedCache::kPageTokens);
  plan.cache_bytes = uint64_t(sequences * held * PagedCache::kPageTokens * plan.token_bytes);
  return plan;
}

}  // namespace sedum
