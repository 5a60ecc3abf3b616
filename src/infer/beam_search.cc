#include "infer/beam_search.h"

#include <algorithm>
#include <cmath>

namespace sedum {

BeamSearch::BeamSearch(const DecodingSetting& setting, GenerationRequest request, Emit emit)
    : Decoding(setting, std::move(request), std::move(emit)),
      group_size_(size_t(request_.sampling.num_beams / request_.sampling.num_beam_groups)),
      groups_(size_t(request_.sampling.num_beam_groups),
              Group{.beams = {{0, 0.0, setting_.grammar ? setting_.grammar->start() : 0}}}) {
  units_.emplace_back().lines.push_back(new_line());
  for (int64_t id = 0; id < setting_.vocab_size; ++id) ends_ += is_end(int32_t(id)) ? 1 : 0;
}

// Likeliest first, and enough of them: at most one for each end token of each beam ends, so that group_size others are there too.
std::vector<BeamSearch::Candidate> BeamSearch::candidates(const Group& group, Unit& unit,
                                                          std::span<const Computed> computed) const {
  const auto better = [](const Candidate& x, const Candidate& y) {
    return x.score > y.score || (x.score == y.score && (x.beam < y.beam || (x.beam == y.beam && x.id < y.id)));
  };
  const size_t count = group_size_ + ends_ * group.beams.size();
  std::vector<Candidate> best;  // a heap whose first is the least of them
  Sampler sampler(request_.sampling);
  std::vector<float> scores;
  for (size_t b = 0; b < group.beams.size(); ++b) {
    const Beam& beam = group.beams[b];
    const std::span<float> logits = computed[beam.line].logits;
    const double sum = log_sum_exp(logits);
    scores.resize(logits.size());
    for (size_t i = 0; i < scores.size(); ++i) scores[i] = float(double(logits[i]) - sum);
    sampler.process(scores, unit.lines[beam.line]->tokens, size_t(made_));
    if (setting_.grammar) forbid(scores, setting_.grammar->allowed(beam.grammar_state));
    for (const int32_t id : taken_) scores[size_t(id)] -= request_.sampling.diversity_penalty;
    for (size_t i = 0; i < scores.size(); ++i) {
      const Candidate c{double(scores[i]) + beam.score, b, int32_t(i)};
      if (!(c.score > -INFINITY) || (best.size() == count && !better(c, best.front()))) continue;
      if (best.size() == count) std::pop_heap(best.begin(), best.end(), better), best.pop_back();
      best.push_back(c);
      std::push_heap(best.begin(), best.end(), better);
    }
  }
  std::sort(best.begin(), best.end(), better);
  return best;
}

void BeamSearch::advance(Unit& unit, std::span<const Computed> computed) {
  for (const auto& line : unit.lines)
    if (line->pending() > 0) return;
  if (computed.size() != unit.lines.size()) return;
  taken_.clear();
  std::vector<std::unique_ptr<Line>> next;
  for (Group& group : groups_)
    if (!group.done) advance_group(group, unit, computed, next);
  ++made_;
  for (auto& line : unit.lines) drop(*line);
  unit.lines = std::move(next);
  if (unit.lines.empty()) give();
}

void BeamSearch::advance_group(Group& group, Unit& unit, std::span<const Computed> computed,
                               std::vector<std::unique_ptr<Line>>& next) {
  const std::vector<Candidate> best = candidates(group, unit, computed);
  const bool last = made_ + 1 >= most_tokens();
  std::vector<Candidate> running;
  for (size_t i = 0; i < best.size() && (running.size() < group_size_ || i < group_size_); ++i) {
    const Candidate& c = best[i];
    if (!last && !is_end(c.id)) {
      if (running.size() < group_size_) running.push_back(c);
    } else if (i < group_size_) {
      Finished f{unit.lines[group.beams[c.beam].line]->tokens,
                 c.score / std::pow(double(made_ + 1), double(request_.sampling.length_penalty))};
      f.tokens.push_back(c.id);
      group.finished.push_back(std::move(f));
    }
  }
  std::stable_sort(group.finished.begin(), group.finished.end(),
                   [](const Finished& x, const Finished& y) { return x.score > y.score; });
  if (group.finished.size() > group_size_) group.finished.resize(group_size_);
  std::vector<Beam> beams;
  for (const Candidate& c : running) {
    const int state = group.beams[c.beam].grammar_state;
    beams.push_back({group.beams[c.beam].line, c.score, setting_.grammar ? setting_.grammar->next(state, c.id) : 0});
  }
  group.beams = std::move(beams);
  group.done = is_over(group, running.empty());
  if (group.done) return;
  for (size_t i = 0; i < running.size(); ++i) {
    auto line = fork(*unit.lines[group.beams[i].line]);
    line->tokens.push_back(running[i].id);
    taken_.push_back(running[i].id);
    group.beams[i].line = next.size();
    next.push_back(std::move(line));
  }
}

// transformers' heuristic: over when the best running beam, at its present length (or, with "never" and a penalty that favours long
// answers, at the greatest), would not be better than the worst finished one.
bool BeamSearch::is_over(const Group& group, bool none_runs) const {
  if (none_runs) return true;
  if (group.finished.size() < group_size_) return false;
  const SamplingParams& p = request_.sampling;
  if (p.early_stopping == EarlyStopping::kTrue) return true;
  const bool longest = p.early_stopping == EarlyStopping::kNever && p.length_penalty > 0;
  const double length = double(longest ? most_tokens() : made_ + 1);
  return group.beams[0].score / std::pow(length, double(p.length_penalty)) <= group.finished.back().score;
}

void BeamSearch::give() {
  std::vector<Finished> all;
  for (Group& group : groups_)
    for (Finished& f : group.finished) all.push_back(std::move(f));
  std::stable_sort(all.begin(), all.end(), [](const Finished& x, const Finished& y) { return x.score > y.score; });
  units_.clear();
  for (int i = 0; i < request_.sampling.n; ++i) {
    if (size_t(i) >= all.size()) {  // fewer could be finished than were asked for
      send_finish({.index = i, .finish = FinishReason::kStop});
      continue;
    }
    AnswerText text(setting_.tokenizer, request_.sampling.stop);
    FinishReason reason = FinishReason::kLength;
    int made = 0;
    for (size_t t = request_.prompt.size(); t < all[size_t(i)].tokens.size() && !text.stopped(); ++t) {
      const int32_t id = all[size_t(i)].tokens[t];
      if (is_end(id)) reason = FinishReason::kStop;
      send({.index = i, .id = id, .text = is_end(id) ? "" : text.push(id), .completion_tokens = ++made});
    }
    if (text.stopped()) reason = FinishReason::kStop;
    send_finish({.index = i,
                 .text = text.finish(),
                 .finish = reason,
                 .completion_tokens = made,
                 .score = float(all[size_t(i)].score)});
  }
}

}  // namespace sedum
