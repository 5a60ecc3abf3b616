#include "infer/drafter.h"

#include <algorithm>

#include "base/error.h"
#include "infer/sampler.h"

namespace sedum {
namespace {

void put(Line& line, const std::vector<int32_t>& guesses) {
  line.tokens.insert(line.tokens.end(), guesses.begin(), guesses.end());
  line.drafted = int(guesses.size());
}

DType cache_type(const RuntimeModel& model) { return model.compute() == Compute::kF32 ? DType::kF32 : DType::kBF16; }

}  // namespace

std::vector<int32_t> LookupDrafter::look_up(std::span<const int32_t> tokens, int64_t most) {
  const int64_t n = int64_t(tokens.size());
  for (int64_t gram = std::min<int64_t>(4, n - 1); gram >= 2; --gram) {
    const auto last = tokens.last(size_t(gram));
    for (int64_t at = n - gram - 1; at >= 0; --at) {
      if (!std::equal(last.begin(), last.end(), tokens.begin() + at)) continue;
      const int64_t begin = at + gram, end = std::min(n, begin + most);
      return {tokens.begin() + begin, tokens.begin() + end};
    }
  }
  return {};
}

void LookupDrafter::draft(std::span<const Target> targets) {
  for (const Target& target : targets) {
    Line& line = *target.unit->lines[0];
    const int64_t most = std::min<int64_t>({most_, line.next_draft, target.room});
    if (most > 0) put(line, look_up(line.tokens, most));
  }
}

struct ModelDrafter::Guess {
  Line* line;
  Unit* unit;
  DraftState* state;
  uint64_t root;
  int64_t most;
  std::vector<int32_t> tokens = {};  // guessed so far
  bool ready = false;                // everything but the last token is computed
};

ModelDrafter::ModelDrafter(const RuntimeModel& model, const RuntimeModel& judge, int most, int64_t cache_tokens,
                           int64_t step_tokens)
    : model_(model),
      most_(most),
      step_tokens_(step_tokens),
      vocab_size_(std::min(model.model().config().vocab_size, judge.model().config().vocab_size)),
      context_(model.runtime().context(model.compute())),
      cache_(model.runtime().arena, model.model().config(), cache_type(model), PagedCache::pages_for(cache_tokens)) {
  if (model.checkpoint().tokenizer()->hash() != judge.checkpoint().tokenizer()->hash())
    throw Error("the draft model's tokens are not those of " + judge.checkpoint().name(),
                "choose one of the same family");
}

// Computes rows of all guesses' lines, and the logits after the last of each.
void ModelDrafter::step(std::span<Guess*> guesses) {
  auto ids = std::make_shared<std::vector<int32_t>>();
  auto ends = std::make_shared<std::vector<int32_t>>();
  std::vector<PagedStep::Part> parts;
  Batch batch;
  for (Guess* g : guesses) {
    std::vector<int32_t>& done = g->state->tokens;
    const int64_t from = g->state->pages.length, end = int64_t(done.size());
    for (int64_t i = from; i < end; ++i) ids->push_back(done[size_t(i)]), batch.positions.push_back(int32_t(i));
    parts.push_back({&g->state->pages, end - from});
    ends->push_back(int32_t(ids->size()) - 1);
  }
  batch.ids = std::move(ids);
  PagedStep step(cache_, parts);
  batch.state = &step;
  const Variable hidden = model_.model().hidden_states(context_, batch);
  step.commit();
  Variable logits = model_.model().logits(context_, ops::select_rows(context_, hidden, ends));
  const size_t width = size_t(logits.shape()[1]);
  for (size_t i = 0; i < guesses.size(); ++i) {
    Guess& g = *guesses[i];
    cache_.remember(g.state->pages, std::span(g.line->tokens), g.root);
    if (!g.ready) continue;
    const std::span<float> row(logits.value().data<float>() + i * width, size_t(vocab_size_));
    std::vector<int32_t> history = g.line->tokens;
    history.insert(history.end(), g.tokens.begin(), g.tokens.end());
    g.tokens.push_back(g.unit->sampler->sample(row, history, uint64_t(*g.unit->made) + g.tokens.size()));
  }
}

void ModelDrafter::draft(std::span<const Target> targets) {
  std::vector<Guess> all;
  int64_t budget = step_tokens_;
  for (const Target& target : targets) {
    Line& line = *target.unit->lines[0];
    const int64_t most = std::min<int64_t>({most_, line.next_draft, target.room});
    if (most <= 0 || budget <= 0) continue;
    if (!line.draft) line.draft = std::make_unique<DraftState>(cache_);
    DraftState& state = *line.draft;
    // Guesses that were wrong are forgotten.
    const auto differs =
        std::mismatch(state.tokens.begin(), state.tokens.end(), line.tokens.begin(), line.tokens.end()).first;
    state.tokens.erase(differs, state.tokens.end());
    if (state.pages.length > int64_t(state.tokens.size())) cache_.truncate(state.pages, int64_t(state.tokens.size()));
    if (state.pages.pages.empty())  // what is found is computed, also where there is no room for more
      state.tokens.assign(line.tokens.begin(),
                          line.tokens.begin() + cache_.find(state.pages, line.tokens, target.root));
    const int64_t pending = int64_t(line.tokens.size()) - state.pages.length, rows = std::min(pending, budget);
    if (pending <= 0 || !cache_.reserve(state.pages, rows + most)) continue;
    state.tokens.assign(line.tokens.begin(), line.tokens.begin() + state.pages.length + rows);
    budget -= rows;
    all.push_back({.line = &line,
                   .unit = target.unit,
                   .state = &state,
                   .root = target.root,
                   .most = most,
                   .ready = rows == pending});
  }
  for (;;) {
    std::vector<Guess*> now;
    for (Guess& g : all)
      if (int64_t(g.state->tokens.size()) > g.state->pages.length) now.push_back(&g);
    if (now.empty()) break;
    step(now);
    for (Guess* g : now)
      if (g->ready && int64_t(g->tokens.size()) < g->most) g->state->tokens.push_back(g->tokens.back());
  }
  for (Guess& g : all)
    if (g.ready) put(*g.line, g.tokens);
}

}  // namespace sedum
