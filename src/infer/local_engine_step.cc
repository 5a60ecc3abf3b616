// What a step of the engine computes, and for whom.

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "infer/local_engine.h"
#include "infer/local_engine_request.h"

namespace sedum {

// Takes pages from the youngest others until there are enough; false when this unit must wait itself.
bool LocalEngine::reserve_or_preempt(Plan& plan, Request& request, Unit& unit, Line& line, int64_t rows) {
  while (!cache_.reserve(line.state, rows)) {
    bool preempted = false;
    for (auto r = active_.rbegin(); r != active_.rend() && !preempted; ++r)
      for (auto u = (*r)->decoding->units().rbegin(); u != (*r)->decoding->units().rend() && !preempted; ++u) {
        if (r->get() == &request && &*u == &unit) return false;  // what is older keeps its pages
        for (auto& victim : u->lines) {
          preempted |= !victim->state.pages.empty();
          cache_.release(victim->state);
          victim->tokens.resize(victim->tokens.size() - size_t(std::exchange(victim->drafted, 0)));
        }
        std::erase_if(plan, [&](const Share& share) { return share.unit == &*u; });
      }
    if (!preempted) return false;
    count(&EngineStatistics::preemptions);
  }
  return true;
}

// A line that has nothing begins with what the prefix cache knows of it.
void LocalEngine::find_prefix(Request& request, Line& line) {
  if (!line.state.pages.empty() || !line.use_prefixes || !options_.prefix_cache) return;
  const int64_t found = cache_.find(line.state, line.tokens, uint64_t(request.adapter));
  if (request.decoding->cached_tokens >= 0) return;  // computed again after a preemption
  request.decoding->cached_tokens = int(found);
  count(&EngineStatistics::cached_tokens, uint64_t(found));
}

bool LocalEngine::plan_line(Plan& plan, Request& request, Unit& unit, Line& line, int64_t rows) {
  if (!reserve_or_preempt(plan, request, unit, line, rows)) return false;
  plan.push_back({&request, &unit, &line, rows, request.decoding->logit_rows(line, line.state.length, rows)});
  return true;
}

// Units whose lines lack only the tokens that the next draw needs.
void LocalEngine::plan_decoding(Plan& plan, int64_t& budget, int64_t& slots) {
  for (auto& request : active_)
    for (Unit& unit : request->decoding->units()) {
      if (!unit.decoding()) continue;
      int64_t rows = 0;
      for (const auto& line : unit.lines) rows += line->pending();
      const int64_t lines = int64_t(unit.lines.size());
      if (rows > budget || lines > slots) continue;
      const size_t before = plan.size();
      bool all = true;
      for (auto& line : unit.lines) all = all && plan_line(plan, *request, unit, *line, line->pending());
      if (all)
        budget -= rows, slots -= lines;
      else
        plan.resize(before);
    }
}

// Pieces of prompts, and of what was preempted. Who waits behind gets some of the budget too: each takes at most half of what is left.
void LocalEngine::plan_prompts(Plan& plan, int64_t& budget, int64_t& slots) {
  for (auto request = active_.begin(); request != active_.end(); ++request)
    for (Unit& unit : (*request)->decoding->units()) {
      if (budget <= 0 || slots <= 0) return;
      if (unit.decoding()) continue;
      for (auto& line : unit.lines) {
        // Beams are caught up one after the other, so that each finds the pages of the one before.
        find_prefix(**request, *line);
        const int64_t last = unit.lines.size() > 1 ? 1 : 0, pending = line->pending() - last;
        if (pending <= 0) continue;
        const bool alone = std::next(request) == active_.end();
        const int64_t share = alone ? budget : std::max<int64_t>(budget / 2, std::min<int64_t>(budget, 32));
        const int64_t rows = std::min({pending, share, (*request)->decoding->most_rows()});
        if (!plan_line(plan, **request, unit, *line, rows)) return;  // the oldest that waits gets the next pages
        budget -= rows, --slots;
        break;
      }
    }
}

// Guesses for answers that are under way, while they are few.
void LocalEngine::draft() {
  if (!drafter_) return;
  std::vector<Drafter::Target> targets;
  for (auto& request : active_)
    for (Unit& unit : request->decoding->units()) {
      if (!unit.sampler || !unit.decoding()) continue;
      const Line& line = *unit.lines[0];
      if (line.drafted > 0) continue;  // waits for its step with guesses already
      const int64_t room = std::min(options_.context_length - int64_t(line.tokens.size()) - 1,
                                    options_.step_tokens / (2 * options_.draft_sequences));
      targets.push_back({&unit, room, uint64_t(request->adapter)});
    }
  if (int64_t(targets.size()) <= options_.draft_sequences) drafter_->draft(targets);
}

LocalEngine::Plan LocalEngine::plan_step() {
  int64_t budget = options_.step_tokens, slots = options_.max_sequences;
  Plan plan;
  plan_decoding(plan, budget, slots);
  plan_prompts(plan, budget, slots);
  return plan;
}

void LocalEngine::step() {
  draft();
  Plan plan = plan_step();
  if (plan.empty()) return;
  count(&EngineStatistics::steps);
  auto ids = std::make_shared<std::vector<int32_t>>();
  auto wanted = std::make_shared<std::vector<int32_t>>();  // rows whose logits are
  std::vector<PagedStep::Part> parts;
  std::vector<AdapterRows::Run> runs;
  Batch batch;
  // Rows of one adapter side by side, for fewer and larger products.
  std::stable_sort(plan.begin(), plan.end(),
                   [](const Share& a, const Share& b) { return a.request->adapter < b.request->adapter; });
  for (const Share& share : plan) {
    const Line& line = *share.line;
    for (int64_t r = 0; r < share.rows; ++r) {
      ids->push_back(line.tokens[size_t(line.state.length + r)]);
      batch.positions.push_back(int32_t(line.state.length + r));
      if (r >= share.rows - share.logit_rows) wanted->push_back(int32_t(ids->size()) - 1);
    }
    parts.push_back({&share.line->state, share.rows});
    const int64_t end = int64_t(ids->size());
    if (!runs.empty() && runs.back().adapter == share.request->adapter)
      runs.back().end = end;
    else
      runs.push_back({end - share.rows, end, share.request->adapter});
  }
  model_.select_adapters(std::move(runs));
  batch.ids = std::move(ids);
  PagedStep state(cache_, parts);
  batch.state = &state, batch.context_length = options_.context_length;
  const Variable hidden = model_.model().hidden_states(context_, batch);
  state.commit();
  Variable logits;
  if (!wanted->empty()) logits = model_.model().logits(context_, ops::select_rows(context_, hidden, wanted));
  advance(plan, hidden, wanted->empty() ? nullptr : logits.value().data<float>());
}

void LocalEngine::advance(const Plan& plan, const Variable& hidden, float* logits) {
  const int64_t vocabulary = model_.model().config().vocab_size, width = model_.model().config().hidden_size;
  std::vector<Computed> computed;
  const float* rows = hidden.value().data<float>();
  for (size_t i = 0; i < plan.size(); ++i) {
    const Share& share = plan[i];
    const size_t values = size_t(share.logit_rows * vocabulary);
    const float* const first = std::exchange(rows, rows + share.rows * width);
    const std::span<float> own(logits, values);
    if (logits) logits += values;
    if (share.request->decoding->finished()) continue;  // failed in this step; its lines are gone
    Line& line = *share.line;
    computed.push_back({&line, line.state.length - share.rows, share.rows, first, own});
    const size_t certain = line.tokens.size() - size_t(line.drafted);
    if (options_.prefix_cache)
      cache_.remember(line.state, std::span(line.tokens).first(certain), uint64_t(share.request->adapter));
    if (!share.request->counted && line.state.length >= int64_t(share.request->decoding->request().prompt.size())) {
      share.request->counted = true;
      count(&EngineStatistics::prompt_tokens, share.request->decoding->request().prompt.size());
    }
    if (i + 1 < plan.size() && plan[i + 1].unit == share.unit) continue;
    Decoding& decoding = *share.request->decoding;
    const int64_t drafted = decoding.drafted_tokens, accepted = decoding.accepted_tokens;
    try {
      decoding.advance(*share.unit, computed);
    } catch (const Error& e) {
      fail(*share.request, e.what());
    }
    count(&EngineStatistics::drafted_tokens, uint64_t(decoding.drafted_tokens - drafted));
    count(&EngineStatistics::accepted_tokens, uint64_t(decoding.accepted_tokens - accepted));
    computed.clear();
  }
}

}  // namespace sedum
