#include "infer/sampled_answers.h"

#include <algorithm>

namespace sedum {
namespace {

SamplingParams with_seed(SamplingParams sampling, int index) {
  sampling.seed += uint64_t(index);
  return sampling;
}

}  // namespace

SampledAnswers::Answer::Answer(int i, const DecodingSetting& setting, SamplingParams sampling)
    : index(i), text(setting.tokenizer, sampling.stop), sampler(with_seed(sampling, i)) {
  if (setting.grammar) grammar_state = setting.grammar->start();
}

SampledAnswers::SampledAnswers(const DecodingSetting& setting, GenerationRequest request, Emit emit)
    : Decoding(setting, std::move(request), std::move(emit)) {
  const SamplingParams& sampling = request_.sampling;
  for (int i = 0; i < std::max(sampling.n, sampling.best_of); ++i) answers_.emplace_back(i, setting_, sampling);
  units_.emplace_back().lines.push_back(new_line());
  // What is wanted of a prompt's tokens must be computed.
  if (sampling.prompt_logprobs >= 0) units_.back().lines[0]->use_prefixes = false;
}

int64_t SampledAnswers::logit_rows(const Line& line, int64_t begin, int64_t rows) const {
  return request_.sampling.prompt_logprobs >= 0 && !begun_ ? rows : Decoding::logit_rows(line, begin, rows);
}

// Logits of a large vocabulary take some 100 MB for 200 rows.
int64_t SampledAnswers::most_rows() const { return request_.sampling.prompt_logprobs >= 0 && !begun_ ? 64 : INT64_MAX; }

void SampledAnswers::advance(Unit& unit, std::span<const Computed> computed) {
  const Computed& c = computed[0];
  if (!begun_) {
    if (request_.sampling.prompt_logprobs >= 0) read_prompt(c);
    if (c.line->pending() == 0) begin_answers(unit, c.logits.last(size_t(setting_.vocab_size)));
    return;
  }
  if (c.line->pending() == 0) judge(unit, answers_[size_t(unit.answer)], c);
}

// A prompt that was preempted is read again, to the same values.
void SampledAnswers::read_prompt(const Computed& c) {
  if (prompt_logprobs_.empty()) prompt_logprobs_.push_back({.id = request_.prompt[0]});
  const size_t vocabulary = size_t(setting_.vocab_size);
  for (int64_t r = 0; r < c.rows; ++r) {
    const size_t next = size_t(c.begin + r + 1);
    if (next == prompt_logprobs_.size() && next < request_.prompt.size())
      prompt_logprobs_.push_back(token_logprobs(c.logits.subspan(size_t(r) * vocabulary, vocabulary),
                                                request_.prompt[next], request_.sampling.prompt_logprobs));
  }
}

void SampledAnswers::begin_answers(Unit& prompt, std::span<float> logits) {
  begun_ = true;
  Line& line = *prompt.lines[0];
  for (size_t i = 1; i < answers_.size(); ++i) {
    Unit unit;
    unit.answer = int(i), unit.sampler = &answers_[i].sampler, unit.made = &answers_[i].made;
    unit.lines.push_back(fork(line));
    std::vector<float> copy(logits.begin(), logits.end());
    if (take(answers_[i], *unit.lines[0], copy))
      units_.push_back(std::move(unit));
    else
      drop(*unit.lines[0]);
  }
  prompt.sampler = &answers_[0].sampler, prompt.made = &answers_[0].made;
  if (take(answers_[0], line, logits)) return;
  drop(line);
  units_.remove_if([&](const Unit& u) { return &u == &prompt; });
}

// Rows for the last token and the guesses after it. Each draws with the random number of its own step, so that what comes out is what would
// have come without guesses; a guess is right when it equals the draw (Leviathan et al.: "Fast Inference from Transformers via Speculative
// Decoding", 2023, with the draw in place of the coin).
void SampledAnswers::judge(Unit& unit, Answer& answer, const Computed& c) {
  Line& line = *c.line;
  const std::vector<int32_t> guesses(line.tokens.end() - line.drafted, line.tokens.end());
  line.tokens.resize(line.tokens.size() - guesses.size());
  line.drafted = 0;
  const size_t vocabulary = size_t(setting_.vocab_size);
  size_t right = 0;
  bool goes_on = true;
  for (size_t i = 0; i <= guesses.size(); ++i) {
    goes_on = take(answer, line, c.logits.subspan(i * vocabulary, vocabulary));
    if (!goes_on || i == guesses.size() || line.tokens.back() != guesses[i]) break;
    ++right;
  }
  drafted_tokens += int64_t(guesses.size()), accepted_tokens += int64_t(right);
  if (!guesses.empty())
    line.next_draft = right == guesses.size() ? std::min(line.next_draft + 2, 32) : std::max(line.next_draft - 1, 1);
  if (goes_on) return setting_.cache.truncate(line.state, int64_t(line.tokens.size()) - 1);
  drop(line);
  units_.remove_if([&](const Unit& u) { return &u == &unit; });
}

// Draws a token; false when the answer is finished with it.
bool SampledAnswers::take(Answer& a, Line& line, std::span<float> logits) {
  const SamplingParams& sampling = request_.sampling;
  std::vector<float> raw;
  if (sampling.logprobs >= 0 || ranked()) raw.assign(logits.begin(), logits.end());
  grammar::Grammar* const grammar = setting_.grammar.get();
  const std::span<const uint64_t> allowed = grammar ? grammar->allowed(a.grammar_state) : std::span<const uint64_t>();
  const int32_t id = a.sampler.sample(logits, line.tokens, uint64_t(a.made), allowed);
  if (grammar) a.grammar_state = grammar->next(a.grammar_state, id);
  line.tokens.push_back(id);
  ++a.made;
  GenerationUpdate update{.index = a.index, .id = id};
  if (a.made == 1) update.prompt_logprobs = prompt_logprobs_;
  if (!raw.empty()) {
    TokenLogprobs logprobs = token_logprobs(raw, id, sampling.logprobs);
    a.logprobs += double(logprobs.logprob);
    if (sampling.logprobs >= 0) update.logprobs = std::move(logprobs);
  }
  const bool end = is_end(id);
  if (!end) update.text = a.text.push(id);
  give(a, std::move(update));
  if (end || a.text.stopped() || (grammar && grammar->must_end(a.grammar_state)))
    finish(a, FinishReason::kStop);
  else if (a.made >= most_tokens())
    finish(a, FinishReason::kLength);
  return !a.finished;
}

void SampledAnswers::give(Answer& a, GenerationUpdate update) {
  update.completion_tokens = a.made;
  if (ranked())
    a.kept.push_back(std::move(update));
  else if (update.finish)
    send_finish(std::move(update));
  else
    send(std::move(update));
}

void SampledAnswers::finish(Answer& a, FinishReason reason, const std::string& error) {
  a.finished = true;
  give(a, {.index = a.index, .text = a.text.finish(), .finish = reason, .error = error});
  if (ranked() && std::all_of(answers_.begin(), answers_.end(), [](const Answer& each) { return each.finished; }))
    give_best();
}

void SampledAnswers::give_best() {
  std::stable_sort(answers_.begin(), answers_.end(), [](const Answer& a, const Answer& b) {
    return a.logprobs / std::max(a.made, 1) > b.logprobs / std::max(b.made, 1);
  });
  for (int i = 0; i < request_.sampling.n; ++i) {
    Answer& a = answers_[size_t(i)];
    for (GenerationUpdate& update : a.kept) {
      update.index = i;
      if (update.finish) {
        update.score = float(a.logprobs / std::max(a.made, 1));
        send_finish(std::move(update));
      } else {
        send(std::move(update));
      }
    }
  }
}

void SampledAnswers::abort(FinishReason reason, const std::string& error) {
  release();
  units_.clear();
  // A ranking is off: what there is of the first n comes out.
  const bool ranking = ranked();
  for (Answer& a : answers_) {
    if (finished()) return;
    if (ranking) {
      if (a.index >= request_.sampling.n) continue;
      send_finish({.index = a.index, .finish = reason, .error = error, .completion_tokens = a.made});
    } else if (!a.finished) {
      finish(a, reason, error);
    }
  }
}

}  // namespace sedum
