// classify: the cross-entropy of a text's class, or of its words' classes. data.cc puts classes where targets are.

#include <algorithm>

#include "compute/ops/loss.h"
#include "data/labelled.h"
#include "model/nn/row_keys.h"
#include "train/objectives/objectives.h"

namespace sedum {
namespace {

using Ids32 = std::vector<int32_t>;

class Classification : public Objective {
 public:
  Classification(const TrainConfig& config, const TrainableModel& trained, const TrainData& data)
      : config_(config), model_(*trained.encoder), data_(data) {}

  void begin_step(Context&, int64_t step) override {
    divisor_ = double(std::max<int64_t>(1, data_.train->label_tokens(step)));
  }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    if (batch.label_tokens == 0) return 0;
    Context recording = training_context(ctx, tape, batch);
    const Judged judged = judge(recording, batch);
    const Variable loss = ops::cross_entropy(recording, judged.logits, judged.classes, float(scale_ / divisor_));
    const double value = ctx.runs() ? double(*loss.value().data<float>()) / scale_ : 0;
    tape.backward(recording, loss);
    return value;
  }

  double evaluate(Context& ctx, Metrics* figures) override {
    std::vector<Ids32> truth, predicted;
    double sum = 0, count = 0;
    data::Loader loader(data_.eval, {.batch_size = 4, .shuffle = false});
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      const data::StepBatch batch = loader.batch(step);
      if (batch.label_tokens == 0) continue;
      const Judged judged = judge(ctx, batch);
      sum += double(*ops::cross_entropy(ctx, judged.logits, judged.classes, 1).value().data<float>());
      count += double(batch.label_tokens);
      collect(judged, truth, predicted);
    }
    if (figures) {
      std::vector<std::string> names;
      for (int64_t i = 0; i < model_.config().encoder.num_labels; ++i)
        names.push_back(model_.config().encoder.label(i));
      const data::LabelScores scores = data::score_labels(truth, predicted, names);
      figures->emplace_back("accuracy", scores.accuracy), figures->emplace_back("f1", scores.f1());
    }
    return sum / std::max(count, 1.0);
  }

 private:
  struct Judged {
    Variable logits;   // (rows with a class, classes)
    ops::Ids classes;  // of these rows
    Ids32 sequence;    // which sequence of the batch each is of
  };

  Judged judge(Context& ctx, const data::StepBatch& from) const {
    const Batch batch = to_batch(from, config_);
    const Variable hidden = model_.hidden_states(ctx, batch);
    Ids32 rows, classes, sequence;
    const bool words = model_.config().encoder.head == EncoderConfig::Head::kToken;
    for (size_t s = 0; s < from.segments.size(); ++s) {
      const data::Segment& segment = from.segments[s];
      for (int32_t r = segment.begin; r < segment.begin + segment.count; ++r) {
        if (words && from.targets[size_t(r)] == data::kIgnored) continue;
        rows.push_back(r), classes.push_back(from.targets[size_t(r)]), sequence.push_back(int32_t(s));
        if (!words) break;  // a text's class is its first token's
      }
    }
    const auto shared = [](Ids32 ids) { return std::make_shared<const Ids32>(std::move(ids)); };
    Context of_rows = context_of_rows(ctx, rows);
    const Variable logits = words ? model_.token_logits(of_rows, ops::select_rows(ctx, hidden, shared(std::move(rows))))
                                  : model_.sequence_logits(ctx, hidden, batch);
    return {logits, shared(std::move(classes)), std::move(sequence)};
  }

  static void collect(const Judged& judged, std::vector<Ids32>& truth, std::vector<Ids32>& predicted) {
    const int64_t classes = judged.logits.shape()[-1];
    int32_t last = -1;
    for (size_t i = 0; i < judged.sequence.size(); ++i) {
      if (judged.sequence[i] != last) truth.emplace_back(), predicted.emplace_back(), last = judged.sequence[i];
      const float* row = judged.logits.value().data<float>() + int64_t(i) * classes;
      truth.back().push_back((*judged.classes)[i]);
      predicted.back().push_back(int32_t(std::max_element(row, row + classes) - row));
    }
  }

  const TrainConfig& config_;
  const BertModel& model_;
  const TrainData& data_;
  double divisor_ = 1;
};

}  // namespace

std::unique_ptr<Objective> make_classification(const TrainConfig& config, const TrainableModel& trained,
                                               const TrainData& data) {
  return std::make_unique<Classification>(config, trained, data);
}

}  // namespace sedum
