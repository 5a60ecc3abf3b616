#include "model/adapters/several.h"

#include "base/error.h"

namespace sedum {
namespace {

// A layer, and for each adapter what it adds, or nothing.
class SeveralLinear : public Linear {
 public:
  struct Part {
    Variable a, b;
    float factor = 0;
  };
  SeveralLinear(std::unique_ptr<Linear> base, std::vector<Part> parts, const AdapterRows& rows)
      : base_(std::move(base)), parts_(std::move(parts)), rows_(rows) {}
  Variable forward(Context& ctx, const Variable& x) const override {
    if (ctx.tape) throw ApiError("several adapters", "they are for inference");
    Variable y = base_->forward(ctx, x);
    add(ctx, x, y.value());
    return y;
  }
  const DenseLinear& dense() const override { return base_->dense(); }
  void adapt(Context& ctx, const Variable& x, Tensor& y) const override {
    base_->adapt(ctx, x, y);
    add(ctx, x, y);
  }
  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }

 private:
  void add(Context& ctx, const Variable& x, Tensor& y) const {
    for (const AdapterRows::Run& run : rows_.runs()) {
      if (run.adapter == 0) continue;
      const Part& part = parts_[size_t(run.adapter - 1)];
      if (!part.a.defined()) continue;
      Tensor rows = y.slice(0, run.begin, run.end);
      ops::add_low_rank(ctx, Variable(x.value().slice(0, run.begin, run.end)), part.a, part.b, part.factor, rows);
    }
  }
  std::unique_ptr<Linear> base_;
  std::vector<Part> parts_;
  const AdapterRows& rows_;
};

}  // namespace

std::unique_ptr<Linear> SeveralFactory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                               bool bias) {
  std::unique_ptr<Linear> layer = base_.linear(name, out_features, in_features, bias);
  std::vector<SeveralLinear::Part> parts(adapters_.size());
  bool any = false;
  for (size_t i = 0; i < adapters_.size(); ++i) {
    StoredAdapter& adapter = adapters_[i];
    if (!adapter.config.targets(name)) continue;
    if (name.find(".experts.") != std::string::npos)  // whose rows are not the step's
      throw Error("an adapter on experts cannot be chosen row by row", "give it with --adapter alone");
    if (adapter.config.changes_base())
      throw Error("an adapter that began with init_lora_weights: " + adapter.config.init_lora_weights +
                      " changes the base that others share",
                  "give it with --adapter alone");
    const auto take = [&](char which, const Shape& shape) {
      const auto found = adapter.weights.find(peft_name(name, which));
      if (found == adapter.weights.end())
        throw Error("the adapter has no " + peft_name(name, which),
                    "its target_modules and its weights do not fit each other");
      const Tensor t = found->second;
      if (!(t.shape() == shape))
        throw Error("the adapter's " + found->first + " is " + t.shape().text() + ", the model needs " + shape.text(),
                    "it was made for another model");
      adapter.weights.erase(found);
      return Variable(t);
    };
    parts[i] = {take('A', {adapter.config.rank_of(name), in_features}),
                take('B', {out_features, adapter.config.rank_of(name)}), adapter.config.factor(name)};
    any = true;
  }
  if (!any) return layer;
  return std::make_unique<SeveralLinear>(std::move(layer), std::move(parts), rows_);
}

void SeveralFactory::check_complete() const {
  for (const StoredAdapter& adapter : adapters_)
    if (!adapter.weights.empty())
      throw Error("the adapter's " + adapter.weights.begin()->first + " cannot be chosen row by row, or fits no layer",
                  "give it with --adapter alone");
}

}  // namespace sedum
