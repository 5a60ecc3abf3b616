#include "infer/continue_text.h"

#include <algorithm>

#include "base/error.h"
#include "infer/paged_cache.h"
#include "infer/sampler.h"
#include "infer/stop_text.h"

namespace sedum {

std::string continue_text(Context& ctx, const CausalModel& model, const Tokenizer& tokenizer,
                          std::vector<int32_t> tokens, const SamplingParams& sampling) {
  SEDUM_CHECK(sampling.max_tokens > 0 && !ctx.tape);
  const int64_t context = model.config().max_position_embeddings;
  if (tokens.empty()) throw Error("a prompt has no tokens", "write one");
  if (int64_t(tokens.size()) >= context)
    throw Error("a prompt of " + std::to_string(tokens.size()) + " tokens leaves no room in the context of " +
                    std::to_string(context),
                "shorten it");
  const int64_t end = std::min(context, int64_t(tokens.size()) + sampling.max_tokens);
  PagedCache cache(*ctx.arena, model.config(), DType::kF32, PagedCache::pages_for(end));
  PagedSequence sequence;
  Sampler sampler(sampling);
  StreamDecoder decoder(tokenizer);
  StopText stop(sampling.stop);
  std::string text;
  for (uint64_t made = 0; int64_t(tokens.size()) < end && !stop.found(); ++made) {
    const int64_t rows = int64_t(tokens.size()) - sequence.length;
    SEDUM_CHECK(cache.reserve(sequence, rows));
    PagedStep state(cache, {{&sequence, rows}});
    Batch batch;
    batch.ids = std::make_shared<std::vector<int32_t>>(tokens.end() - rows, tokens.end());
    for (int64_t r = 0; r < rows; ++r) batch.positions.push_back(int32_t(sequence.length + r));
    batch.state = &state, batch.context_length = end;
    const Variable hidden = model.hidden_states(ctx, batch);
    state.commit();
    const auto last = std::make_shared<std::vector<int32_t>>(1, int32_t(rows) - 1);
    Variable logits = model.logits(ctx, ops::select_rows(ctx, hidden, last));
    const int32_t id = sampler.sample({logits.value().data<float>(), size_t(logits.shape()[1])}, tokens, made);
    if (tokenizer.ends_generation(id)) break;
    tokens.push_back(id);
    if (id < tokenizer.vocab_size()) text += stop.push(decoder.push(id));
  }
  if (!stop.found()) text += stop.push(decoder.finish());
  return text + stop.finish();
}

}  // namespace sedum
