#include "infer/decoding.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "infer/beam_search.h"
#include "infer/contrastive_search.h"
#include "infer/embedding.h"
#include "infer/sampled_answers.h"

namespace sedum {

bool Unit::decoding() const {
  return std::all_of(lines.begin(), lines.end(),
                     [](const auto& line) { return line->state.length > 0 && line->pending() == 1 + line->drafted; });
}

Decoding::Decoding(const DecodingSetting& setting, GenerationRequest request, Emit emit)
    : setting_(setting), request_(std::move(request)), emit_(std::move(emit)), open_(request_.sampling.n) {}

int64_t Decoding::logit_rows(const Line& line, int64_t begin, int64_t rows) const {
  const int64_t first = int64_t(line.tokens.size()) - 1 - line.drafted;
  return std::max<int64_t>(0, begin + rows - std::max(begin, first));
}

void Decoding::send(GenerationUpdate update) {
  update.prompt_tokens = int(request_.prompt.size()), update.cached_tokens = std::max(0, cached_tokens);
  emit_(std::move(update));
}

void Decoding::send_finish(GenerationUpdate update) {
  update.last = --open_ == 0;
  send(std::move(update));
}

void Decoding::abort(FinishReason reason, const std::string& error) {
  release();
  units_.clear();
  while (open_ > 0) send_finish({.index = request_.sampling.n - open_, .finish = reason, .error = error});
}

void Decoding::release() {
  for (Unit& unit : units_)
    for (auto& line : unit.lines) drop(*line);
}

std::unique_ptr<Line> Decoding::new_line() const {
  auto line = std::make_unique<Line>();
  line->tokens = request_.prompt;
  return line;
}

void Decoding::drop(Line& line) { setting_.cache.release(line.state); }

std::unique_ptr<Line> Decoding::fork(const Line& line) {
  auto copy = std::make_unique<Line>();
  copy->tokens = line.tokens, copy->use_prefixes = line.use_prefixes;
  copy->state = setting_.cache.fork(line.state);
  return copy;
}

bool Decoding::is_end(int32_t id) const {
  const SamplingParams& sampling = request_.sampling;
  return std::find(sampling.stop_ids.begin(), sampling.stop_ids.end(), id) != sampling.stop_ids.end() ||
         ((!sampling.ignore_end || setting_.grammar) && setting_.tokenizer.ends_generation(id));
}

int64_t Decoding::most_tokens() const {
  const int64_t room = setting_.context_length - int64_t(request_.prompt.size());
  return request_.sampling.max_tokens < 0 ? room : std::min<int64_t>(room, request_.sampling.max_tokens);
}

void check_combination(const GenerationRequest& request) {
  const SamplingParams& p = request.sampling;
  const auto refuse = [](bool wrong, const char* problem, const char* mend) {
    if (wrong) throw Error(problem, mend);
  };
  const bool beams = p.num_beams > 1, contrastive = p.penalty_alpha > 0;
  refuse(beams && contrastive, "beam search and contrastive search exclude each other", "set one of them");
  refuse(beams && p.temperature != 0, "beam search does not sample", "set temperature to 0");
  refuse(beams && p.n > p.num_beams, "n is greater than num_beams", "a search gives at most as many answers as beams");
  refuse((beams || contrastive) && p.best_of > p.n, "best_of belongs to sampling", "leave it out");
  refuse((beams || contrastive) && (p.logprobs >= 0 || p.prompt_logprobs >= 0),
         "logprobs belong to sampling and to greedy answers", "leave them out");
  refuse(p.num_beams % p.num_beam_groups != 0, "num_beams is no multiple of num_beam_groups", "make it one");
  refuse(p.num_beam_groups > 1 && p.diversity_penalty <= 0, "beam groups need a diversity_penalty above 0", "give one");
  refuse(p.diversity_penalty > 0 && p.num_beam_groups == 1, "diversity_penalty belongs to beam groups",
         "set num_beam_groups");
  refuse(contrastive && p.n > 1, "contrastive search gives one answer", "set n to 1");
  refuse(contrastive && p.top_k < 2, "contrastive search needs candidates", "set top_k to 2 or more, such as 4");
  refuse(contrastive && p.top_k > 64, "contrastive search takes at most 64 candidates", "set top_k lower");
  refuse(contrastive && request.grammar.kind != GrammarSpec::Kind::kNone, "contrastive search keeps to no grammar",
         "choose another way of decoding");
  refuse(request.embedding != Pooling::kNone && p.n > 1, "an embedding is one", "set n to 1");
}

std::unique_ptr<Decoding> make_decoding(const DecodingSetting& setting, GenerationRequest request, Emit emit) {
  if (request.embedding != Pooling::kNone)
    return std::make_unique<Embedding>(setting, std::move(request), std::move(emit));
  if (request.sampling.num_beams > 1) return std::make_unique<BeamSearch>(setting, std::move(request), std::move(emit));
  if (request.sampling.penalty_alpha > 0)
    return std::make_unique<ContrastiveSearch>(setting, std::move(request), std::move(emit));
  return std::make_unique<SampledAnswers>(setting, std::move(request), std::move(emit));
}

double log_sum_exp(std::span<const float> logits) {
  float largest = -INFINITY;
  for (const float l : logits) largest = std::max(largest, l);
  double sum = 0;
  for (const float l : logits) sum += std::exp(double(l) - largest);
  return largest + std::log(sum);
}

TokenLogprobs token_logprobs(std::span<const float> logits, int32_t id, int top) {
  const double sum = log_sum_exp(logits);
  TokenLogprobs result{.id = id, .logprob = float(double(logits[size_t(id)]) - sum)};
  if (top <= 0) return result;
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(i);
  const size_t count = std::min(size_t(top), ids.size());
  std::partial_sort(ids.begin(), ids.begin() + long(count), ids.end(), [&](int32_t a, int32_t b) {
    const float x = logits[size_t(a)], y = logits[size_t(b)];
    return x > y || (x == y && a < b);
  });
  for (size_t i = 0; i < count; ++i) result.top.emplace_back(ids[i], float(double(logits[size_t(ids[i])]) - sum));
  return result;
}

}  // namespace sedum
