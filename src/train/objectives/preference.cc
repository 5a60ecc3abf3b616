// dpo, orpo, kto: answers compared, by their log-probabilities under the policy and under a reference.
//
// A batch holds whole groups: chosen and rejected, one after the other; for KTO single answers. One forward pass gives the log-probability
// of every answer; the loss is a function of those, so that its derivatives are what the backward pass begins with.

#include <cmath>
#include <map>

#include "base/progress.h"
#include "compute/ops/log_probs.h"
#include "formats/numpy.h"
#include "train/objectives/objectives.h"
#include "train/objectives/preference_loss.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

ops::Ids targets_of(const data::StepBatch& batch) {
  return std::make_shared<const std::vector<int32_t>>(batch.targets);
}

// Σ log p of each segment's label tokens, and their number; `values` are those of the batch's rows with a label, in order.
std::vector<Answer> answers_of(const data::StepBatch& batch, const float* values) {
  std::vector<Answer> answers;
  for (const data::Segment& s : batch.segments) {
    Answer a;
    for (int32_t i = s.begin; i < s.begin + s.count; ++i)
      if (batch.targets[size_t(i)] != data::kIgnored) a.log_prob += double(*values++), ++a.tokens;
    answers.push_back(a);
  }
  return answers;
}

std::vector<Answer> answers_under(Context& ctx, const CausalModel& model, const data::StepBatch& batch) {
  Context plain = ctx;
  plain.tape = nullptr, plain.rows = nullptr;
  const Variable hidden = model.hidden_states(plain, to_batch(batch, {}));
  const Variable values = ops::token_log_probs(plain, hidden, model.head(), targets_of(batch));
  return answers_of(batch, values.value().data<float>());
}

// Sums of a step's figures, by name, in the order of first mention.
class Figures {
 public:
  void clear() { sums_.clear(); }
  void add(const std::string& name, double value) {
    auto& [sum, count] = sums_[name];
    sum += value, ++count;
  }
  Metrics means() const {
    Metrics m;
    for (const auto& [name, sum] : sums_) m.emplace_back(name, sum.first / double(sum.second));
    return m;
  }

 private:
  std::map<std::string, std::pair<double, int64_t>> sums_;
};

class Preference : public Objective {
 public:
  Preference(const TrainConfig& config, const TrainableModel& trained, const TrainData& data, Runtime& runtime,
             Arena& arena)
      : config_(config), model_(*trained.model), data_(data), runtime_(runtime), options_(config.preference_options()) {
    if (!arena.backed() || !options_.needs_reference()) return;
    reference_path_ = config.ref_model.empty() ? config.model_name_or_path : config.ref_model;
  }

  // What the reference says of every answer: it does not change, so it is asked once.
  void prepare(Context& ctx, const fs::path& run, bool resumed) override {
    if (reference_path_.empty()) return;
    const fs::path cache = run / "reference_log_probs.npy";
    const size_t train = data_.train->source().size();
    const size_t all = train + data_.eval.size() + data_.mismatched.size();
    if (resumed && fs::exists(cache)) {
      const NpyArray stored = read_npy(cache);
      if (stored.dtype == DType::kF64 && stored.shape == std::vector<int64_t>{int64_t(all)}) {
        const auto values = stored.values<double>();
        reference_.assign(values.begin(), values.end());
        return split(train);
      }
    }
    // The reference of a policy on an NF4 base is that base; LoftQ's adapter brings it near the model as it is stored.
    FrozenModel model(
        reference_path_, runtime_, runtime_.arena,
        config_.finetuning_type == "qlora" && config_.ref_model.empty() && config_.lora.init_lora_weights != "loftq");
    Progress progress("the reference's log-probabilities", all);
    const auto ask = [&](const data::Sample& sample) {
      data::StepBatch batch;
      data::append_sample(batch, sample, 0);
      reference_.push_back(answers_under(ctx, *model.model, batch)[0].log_prob);
      progress.advance(1);
    };
    for (size_t i = 0; i < train; ++i) ask(data_.train->source().get(i));
    for (const data::Sample& s : data_.eval) ask(s);
    for (const data::Sample& s : data_.mismatched) ask(s);
    write_npy(cache, DType::kF64, {int64_t(all)}, reference_.data());
    split(train);
  }

  void begin_step(Context& ctx, int64_t step) override {
    divisor_ = double(data_.train->groups(step));
    figures_.clear();
    kl_ = 0;
    if (!single() || !ctx.runs()) return;
    // Over the whole update, so that the loss does not depend on how it is cut into micro-batches.
    int64_t count = 0;
    for (int micro = 0; micro < config_.gradient_accumulation_steps; ++micro)
      for (const uint32_t s : data_.train->batch(step, micro).samples) {
        data::StepBatch batch;
        data::append_sample(batch, data_.mismatched[s], s);
        kl_ += answers_under(ctx, model_, batch)[0].log_prob - mismatched_reference_[s], ++count;
      }
    kl_ = std::max(0.0, kl_ / double(std::max<int64_t>(count, 1)));
    figures_.add("kl", kl_);
  }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    if (batch.label_tokens == 0) return 0;
    Context recording = training_context(ctx, tape, batch);
    const Variable hidden = model_.hidden_states(recording, to_batch(batch, config_));
    const Variable log_probs = ops::token_log_probs(recording, hidden, model_.head(), targets_of(batch));
    Tensor seed = ctx.empty(log_probs.dtype(), log_probs.shape());
    double loss = 0;
    if (ctx.runs()) {
      std::vector<Answer> answers = answers_of(batch, log_probs.value().data<float>());
      for (size_t s = 0; s < answers.size() && !reference_.empty(); ++s)
        answers[s].reference = reference_[batch.samples[s]];
      std::vector<double> slopes(answers.size());
      loss = losses(answers, batch.samples, data_.desirable, slopes, figures_) / divisor_;
      float* to = seed.data<float>();
      for (size_t s = 0; s < answers.size(); ++s)
        for (int64_t i = 0; i < answers[s].tokens; ++i) *to++ = float(slopes[s] * scale_ / divisor_);
    }
    tape.backward(recording, log_probs, seed);
    return loss;
  }

  Metrics metrics() override { return figures_.means(); }

  double evaluate(Context& ctx, Metrics* out) override {
    Figures figures;
    const size_t group = single() ? 1 : 2;
    double sum = 0;
    for (size_t first = 0; first < data_.eval.size(); first += group) {
      data::StepBatch batch;
      std::vector<uint32_t> samples;
      for (size_t s = first; s < first + group; ++s)
        data::append_sample(batch, data_.eval[s], uint32_t(s)), samples.push_back(uint32_t(s));
      std::vector<Answer> answers = answers_under(ctx, model_, batch);
      for (size_t s = 0; s < group && !eval_reference_.empty(); ++s) answers[s].reference = eval_reference_[first + s];
      std::vector<double> slopes(answers.size());
      sum += losses(answers, samples, data_.eval_desirable, slopes, figures);
    }
    if (out) *out = figures.means();
    return sum / double(std::max<size_t>(1, data_.eval.size() / group));
  }

 private:
  bool single() const { return options_.loss == "kto"; }

  // Σ of the losses of whole groups, and the derivative by each answer's Σ log p.
  double losses(const std::vector<Answer>& answers, const std::vector<uint32_t>& samples,
                const std::vector<bool>& desirable, std::vector<double>& slopes, Figures& figures) const {
    double sum = 0;
    for (size_t s = 0; s < answers.size(); s += single() ? 1 : 2) {
      if (single()) {
        const bool wanted = desirable[samples[s]];
        const SingleLoss loss = kto_loss(options_, answers[s], wanted, kl_);
        sum += loss.value, slopes[s] = loss.d_answer;
        figures.add(wanted ? "rewards/chosen" : "rewards/rejected", loss.reward);
        figures.add(wanted ? "logps/chosen" : "logps/rejected", answers[s].log_prob);
        continue;
      }
      const PairLoss loss = pair_loss(options_, answers[s], answers[s + 1]);
      sum += loss.value, slopes[s] = loss.d_chosen, slopes[s + 1] = loss.d_rejected;
      figures.add("rewards/chosen", loss.reward_chosen), figures.add("rewards/rejected", loss.reward_rejected);
      figures.add("rewards/margins", loss.reward_chosen - loss.reward_rejected);
      figures.add("rewards/accuracies", loss.reward_chosen > loss.reward_rejected);
      figures.add("logps/chosen", answers[s].log_prob), figures.add("logps/rejected", answers[s + 1].log_prob);
    }
    return sum;
  }

  // reference_ as it is stored holds training rows, evaluation rows, mismatched rows.
  void split(size_t train) {
    const auto begin = reference_.begin() + ptrdiff_t(train), middle = begin + ptrdiff_t(data_.eval.size());
    eval_reference_.assign(begin, middle), mismatched_reference_.assign(middle, reference_.end());
    reference_.resize(train);
  }

  const TrainConfig& config_;
  const CausalModel& model_;
  const TrainData& data_;
  Runtime& runtime_;
  PreferenceOptions options_;
  std::string reference_path_;
  std::vector<double> reference_, eval_reference_, mismatched_reference_;  // Σ log p of each sample
  double divisor_ = 1, kl_ = 0;
  Figures figures_;
};

}  // namespace

std::unique_ptr<Objective> make_preference(const TrainConfig& config, const TrainableModel& trained,
                                           const TrainData& data, Runtime& runtime, Arena& arena) {
  return std::make_unique<Preference>(config, trained, data, runtime, arena);
}

}  // namespace sedum
