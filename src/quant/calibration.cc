#include "quant/calibration.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "data/rows.h"

namespace sedum {
namespace {

// All strings of a row, however its columns are named: what a calibration needs is running text.
void append_strings(const nlohmann::ordered_json& value, std::string& to) {
  if (value.is_string()) to += value.get_ref<const std::string&>() + "\n";
  if (value.is_structured())
    for (const auto& [key, each] : value.items())
      if (key != "role" && key != "from") append_strings(each, to);
}

std::string read_text(const std::filesystem::path& path) {
  if (path.extension() != ".jsonl" && path.extension() != ".json") return read_file(path);
  std::string text;
  data::RowReader reader(path);
  while (const auto row = reader.next()) append_strings(*row->columns, text);
  return text;
}

class ObservedLinear : public Linear {
 public:
  ObservedLinear(std::string name, std::unique_ptr<Linear> inner, const InputObserver& observer)
      : name_(std::move(name)), inner_(std::move(inner)), observer_(observer) {}
  Variable forward(Context& ctx, const Variable& x) const override {
    observer_(name_, x.value());
    return inner_->forward(ctx, x);
  }
  int64_t in_features() const override { return inner_->in_features(); }
  int64_t out_features() const override { return inner_->out_features(); }
  const DenseLinear& dense() const override { return inner_->dense(); }
  void adapt(Context& ctx, const Variable& x, Tensor& y) const override { inner_->adapt(ctx, x, y); }

 private:
  std::string name_;
  std::unique_ptr<Linear> inner_;
  const InputObserver& observer_;
};

constexpr size_t kWindowsAtOnce = 4;

}  // namespace

int64_t Calibration::tokens() const {
  int64_t sum = 0;
  for (const auto& window : windows) sum += int64_t(window.size());
  return sum;
}

Calibration read_calibration(const std::filesystem::path& path, const Checkpoint& checkpoint,
                             const CalibrationOptions& options) {
  const auto ids = checkpoint.tokenizer()->encode(read_text(path), {.parse_special = false});
  if (ids.size() < 2) throw Error(path.string() + ": no text to calibrate with", "give a text of some pages");
  const int64_t length = std::clamp<int64_t>(options.window, 2, checkpoint.config().max_position_embeddings);
  Calibration rows;
  for (size_t at = 0; at < ids.size() && int64_t(rows.windows.size()) < options.max_windows; at += size_t(length)) {
    const size_t end = std::min(ids.size(), at + size_t(length));
    if (end - at < size_t(length) && at > 0) break;
    rows.windows.emplace_back(ids.begin() + long(at), ids.begin() + long(end));
  }
  return rows;
}

std::unique_ptr<Linear> ObservingFactory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                                 bool bias) {
  return std::make_unique<ObservedLinear>(name, base_.linear(name, out_features, in_features, bias), observer_);
}

void observe_inputs(Runtime& runtime, const Checkpoint& checkpoint, const Calibration& rows, InputObserver observer) {
  CheckpointFactory base(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena);
  ObservingFactory factory(base, std::move(observer));
  const auto model = build_model(checkpoint.config(), factory);
  Progress progress("calibration", rows.windows.size());
  for (size_t at = 0; at < rows.windows.size(); at += kWindowsAtOnce) {
    const size_t end = std::min(rows.windows.size(), at + kWindowsAtOnce);
    Tape
        tape;  // nothing has a gradient, so that nothing is recorded; with a tape layers of one x are called one by one
    Context ctx = runtime.context(Compute::kBF16);
    ctx.tape = &tape;
    model->hidden_states(ctx, Batch::of_sequences({rows.windows.begin() + long(at), rows.windows.begin() + long(end)}));
    progress.set(end);
  }
}

}  // namespace sedum
