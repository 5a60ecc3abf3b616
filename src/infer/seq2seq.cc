#include "infer/seq2seq.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "infer/decoding.h"

namespace sedum {
namespace {

class Writer {
 public:
  Writer(Context& ctx, const T5Model& model, const std::vector<int32_t>& source, const TargetOptions& options)
      : ctx_(ctx),
        model_(model),
        options_(options),
        end_(model.config().eos_token_id),
        source_(Batch::of_sequences({source})),
        encoded_(model.encode(ctx, source_)) {}

  std::vector<Hypothesis> search() {
    const auto width = size_t(options_.num_beams);
    std::vector<Hypothesis> running{{}}, finished;
    for (int made = 0; made < options_.max_tokens && !running.empty(); ++made) {
      const std::vector<Hypothesis> best = continuations(running, 2 * width);
      std::vector<Hypothesis> next;
      for (size_t i = 0; i < best.size(); ++i) {
        const bool over = best[i].ids.back() == end_ || made + 1 == options_.max_tokens;
        if (!over && next.size() < width) next.push_back(best[i]);
        if (over && i < width) finished.push_back({best[i].ids, best[i].score / length_power(made + 1)});
      }
      std::stable_sort(finished.begin(), finished.end(),
                       [](const auto& a, const auto& b) { return a.score > b.score; });
      if (finished.size() > width) finished.resize(width);
      running = std::move(next);
      if (is_over(running, finished, made + 1)) break;
    }
    return finished;
  }

 private:
  double length_power(int length) const { return std::pow(double(length), double(options_.length_penalty)); }

  // The count likeliest ways to write one token more.
  std::vector<Hypothesis> continuations(const std::vector<Hypothesis>& running, size_t count) const {
    struct Candidate {
      double score;
      size_t beam;
      int32_t id;
    };
    const std::vector<std::vector<float>> log_probs = next_log_probs(running);
    std::vector<Candidate> all;
    for (size_t b = 0; b < running.size(); ++b)
      for (size_t i = 0; i < log_probs[b].size(); ++i)
        all.push_back({running[b].score + double(log_probs[b][i]), b, int32_t(i)});
    count = std::min(count, all.size());
    std::partial_sort(
        all.begin(), all.begin() + ptrdiff_t(count), all.end(), [](const Candidate& x, const Candidate& y) {
          return x.score > y.score || (x.score == y.score && (x.beam < y.beam || (x.beam == y.beam && x.id < y.id)));
        });
    std::vector<Hypothesis> best;
    for (size_t i = 0; i < count; ++i) {
      best.push_back({running[all[i].beam].ids, all[i].score});
      best.back().ids.push_back(all[i].id);
    }
    return best;
  }

  // Of each beam's next token.
  std::vector<std::vector<float>> next_log_probs(const std::vector<Hypothesis>& running) const {
    std::vector<std::vector<int32_t>> targets;
    for (const Hypothesis& h : running) {
      targets.push_back({model_.config().encoder.decoder_start_token_id});
      targets.back().insert(targets.back().end(), h.ids.begin(), h.ids.end());
    }
    const Batch batch = Batch::of_sequences(targets);
    const Variable hidden = model_.decode(ctx_, batch, encoded_, source_, std::vector<size_t>(running.size()));
    auto last = std::make_shared<std::vector<int32_t>>();
    for (const AttentionSegment& s : *batch.segments) last->push_back(int32_t(s.query_begin + s.query_count - 1));
    const Variable logits = model_.logits(ctx_, ops::select_rows(ctx_, hidden, last));
    std::vector<std::vector<float>> rows;
    const int64_t vocabulary = logits.shape()[1];
    for (size_t b = 0; b < running.size(); ++b) {
      const float* row = logits.value().data<float>() + int64_t(b) * vocabulary;
      const double sum = log_sum_exp({row, size_t(vocabulary)});
      std::vector<float>& to = rows.emplace_back();
      for (int64_t i = 0; i < vocabulary; ++i) to.push_back(float(double(row[i]) - sum));
    }
    return rows;
  }

  // As BeamSearch::is_over.
  bool is_over(const std::vector<Hypothesis>& running, const std::vector<Hypothesis>& finished, int made) const {
    if (running.empty()) return true;
    if (finished.size() < size_t(options_.num_beams)) return false;
    if (options_.early_stopping == EarlyStopping::kTrue) return true;
    const bool longest = options_.early_stopping == EarlyStopping::kNever && options_.length_penalty > 0;
    return running[0].score / length_power(longest ? options_.max_tokens : made) <= finished.back().score;
  }

  Context& ctx_;
  const T5Model& model_;
  const TargetOptions& options_;
  const int32_t end_;
  const Batch source_;
  const Variable encoded_;
};

}  // namespace

std::vector<Hypothesis> write_target(Context& ctx, const T5Model& model, const std::vector<int32_t>& source,
                                     const TargetOptions& options) {
  if (source.empty()) throw Error("there is no source text", "give a text");
  if (options.max_tokens < 1 || options.num_beams < 1 || options.num_beams > 64)
    throw Error("max_tokens and num_beams are at least 1, and at most 64 beams can be searched");
  for (const int32_t id : source)
    if (id < 0 || id >= model.config().vocab_size)
      throw Error("the model has no token " + std::to_string(id), "use its own tokenizer");
  return Writer(ctx, model, source, options).search();
}

}  // namespace sedum
