#include "model/adapters/lora.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "compute/dtype/nf4.h"
#include "compute/ops/dropout.h"

namespace sedum {
namespace {

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

// A stored tensor of any type as f32.
void decode_into(ThreadPool& pool, const Tensor& stored, Tensor& to) {
  const int64_t rows = stored.shape().rows(), cols = stored.size(-1);
  const size_t bytes = row_bytes(stored.dtype(), cols);
  pool.parallel_for(rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      decode(stored.dtype(), static_cast<const char*>(stored.raw()) + size_t(r) * bytes, to.data<float>() + r * cols,
             cols);
  });
}

}  // namespace

// ‖W + sBA‖: of this step's A and B while they move, else computed once.
Tensor LoraLinear::norms(Context& ctx) const {
  const auto compute = [&] {
    return ops::adapted_norms(ctx, base_->weight(), dora_->squares, a_.value(), b_.value(), factor_);
  };
  if (a_.needs_gradient()) return compute();
  std::call_once(once_, [&] { constant_norms_ = compute(); });
  return constant_norms_;
}

ops::AdaptedTerm LoraLinear::term(Context& ctx, const Variable& x) const {
  ops::AdaptedTerm term{
      .weight = &base_->weight(), .bias = dora_ ? nullptr : base_->bias(), .a = &a_, .b = &b_, .factor = factor_};
  const Variable dropped = ops::dropout(ctx, x, dropout_, site_);
  if (dropped.value().raw() != x.value().raw()) term.low = dropped;
  return term;
}

Variable LoraLinear::finish(Context& ctx, Variable y) const {
  return dora_ ? ops::scale_columns(ctx, y, dora_->magnitude, norms(ctx), base_->bias()) : y;
}

Variable LoraLinear::forward(Context& ctx, const Variable& x) const {
  const ops::AdaptedTerm of_x = term(ctx, x);
  return finish(ctx, ops::linear_terms(ctx, x, {&of_x, 1})[0]);
}

void LoraLinear::adapt(Context& ctx, const Variable& x, Tensor& y) const {
  ops::add_low_rank(ctx, x, a_, b_, factor_, y);
  if (!dora_) return;
  const Tensor n = norms(ctx);
  if (!ctx.runs()) return;
  // y is z + bias, and shall be z · m / norm + bias.
  const float *m = dora_->magnitude.value().data<float>(), *norm = n.data<float>(),
              *bias = base_->bias() ? base_->bias()->value().data<float>() : nullptr;
  const int64_t cols = y.size(-1);
  ctx.pool->parallel_for(y.shape().rows(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        float& v = y.data<float>()[r * cols + c];
        v = bias ? (v - bias[c]) * (m[c] / norm[c]) + bias[c] : v * (m[c] / norm[c]);
      }
  });
}

LoraFactory::LoraFactory(LayerFactory& base, LoraConfig config, ThreadPool& pool, Arena& arena, uint64_t seed)
    : base_(base), config_(std::move(config)), pool_(pool), arena_(arena), seed_(seed) {}

LoraFactory::LoraFactory(LayerFactory& base, LoraConfig config, ThreadPool& pool, Arena& arena,
                         std::map<std::string, Tensor> weights, bool trainable)
    : base_(base),
      config_(std::move(config)),
      pool_(pool),
      arena_(arena),
      stored_(true),
      trainable_(trainable),
      weights_(std::move(weights)) {}

// The adapter's own tensor of that name: the stored one, or a new one that `fill` fills.
Variable LoraFactory::parameter(const std::string& name, const Shape& shape, const std::function<void(Tensor&)>& fill) {
  Tensor t;
  if (stored_) {
    const auto found = weights_.find(name);
    if (found == weights_.end())
      throw Error("the adapter has no " + name, "its target_modules and its weights do not fit each other");
    t = found->second;
    if (!(t.shape() == shape))
      throw Error("the adapter's " + name + " is " + t.shape().text() + ", the model needs " + shape.text(),
                  "it was made for another model");
    weights_.erase(found);
  } else {
    t = Tensor::zeros(arena_, DType::kF32, shape);
    if (arena_.backed()) fill(t);
  }
  if (!trainable_) return Variable(t);
  parameters_.push_back(Variable::parameter(t, name));
  return parameters_.back();
}

Variable LoraFactory::matrix(const std::string& name, const Shape& shape, const std::vector<float>& start) {
  const Variable v = parameter(name, shape, [&](Tensor& t) { std::memcpy(t.raw(), start.data(), t.bytes()); });
  if (!stored_ && config_.changes_base() && config_.init_lora_weights != "loftq") {
    Tensor first = Tensor::empty(arena_, DType::kF32, shape);
    if (arena_.backed()) std::memcpy(first.raw(), v.value().raw(), first.bytes());
    first_weights_[name] = first;
  }
  return v;
}

// Numbers alone: nothing in the shape-only mode, or where a stored adapter needs none.
LoraStart LoraFactory::start_of(const std::string& name, const Tensor& stored) const {
  if (!arena_.backed() || (stored_ && !config_.changes_base())) return {};
  Arena scratch;  // given back at once: the run's own would keep it
  Tensor values;
  if (config_.changes_base())
    values = Tensor::empty(scratch, DType::kF32, stored.shape()), decode_into(pool_, stored, values);
  return lora_start(pool_, config_, name, values.defined() ? values.data<float>() : nullptr, stored.size(0),
                    stored.size(1), seed_);
}

Tensor LoraFactory::changed_base(const Tensor& stored, const LoraStart& start) const {
  const DType as = stored.dtype();
  const DType type = config_.init_lora_weights == "loftq"      ? kNF4
                     : as == DType::kF16 || as == DType::kBF16 ? as
                                                               : DType::kF32;
  Tensor base = Tensor::empty(arena_, type, stored.shape());
  if (!arena_.backed()) return base;
  if (type == kNF4)
    as_nf4(pool_, start.base, static_cast<BlockNF4*>(base.raw()));
  else
    encode(type, start.base.data(), base.raw(), base.count());
  return base;
}

// Of a weight of the base, to be trained whole.
Variable LoraFactory::copy_of(const std::string& name, const Variable& stored) {
  return parameter(name, stored.shape(), [&](Tensor& t) { decode_into(pool_, stored.value(), t); });
}

// Whether the adapter has a tensor beside A and B: a new one as `asked`, a stored one as its file has it.
bool LoraFactory::has_own(const std::string& name, bool asked) const {
  return stored_ ? weights_.count(name) > 0 : asked;
}

std::optional<Magnitudes> LoraFactory::magnitudes(const std::string& name, const DenseLinear& layer, const Variable& a,
                                                  const Variable& b) {
  if (!config_.use_dora) return std::nullopt;
  Context ctx{.pool = &pool_, .arena = &arena_};
  Magnitudes m;
  m.squares = ops::row_squares(ctx, layer.weight());
  m.magnitude = parameter(peft_magnitude_name(name), {layer.out_features()}, [&](Tensor& t) {
    const Tensor norms = ops::adapted_norms(ctx, layer.weight(), m.squares, a.value(), b.value(), config_.factor(name));
    std::memcpy(t.raw(), norms.raw(), t.bytes());
  });
  return m;
}

std::unique_ptr<Linear> LoraFactory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                            bool bias) {
  std::unique_ptr<Linear> layer = base_.linear(name, out_features, in_features, bias);
  seen_.push_back(last_part(name)), layers_.push_back(name);
  const bool adapted = config_.targets(name), whole = has_own(peft_saved_name(name + ".weight"), config_.saves(name));
  const bool own_bias =
      bias && !whole &&
      has_own(peft_bias_name(name, adapted), config_.bias == "all" || (config_.bias == "lora_only" && adapted));
  if (!adapted && !whole && !own_bias) return layer;
  if (!dynamic_cast<DenseLinear*>(layer.get())) throw ApiError("lora", name + " is not a dense layer");
  std::unique_ptr<DenseLinear> dense(static_cast<DenseLinear*>(layer.release()));
  if (whole) {
    Variable weight = copy_of(peft_saved_name(name + ".weight"), dense->weight().stored);
    Variable moved = bias ? copy_of(peft_saved_name(name + ".bias"), *dense->bias()) : Variable();
    return std::make_unique<DenseLinear>(ops::Weight{std::move(weight), nullptr}, std::move(moved));
  }
  if (own_bias)
    dense = std::make_unique<DenseLinear>(dense->weight(), copy_of(peft_bias_name(name, adapted), *dense->bias()));
  if (!adapted) return dense;
  const int64_t rank = config_.rank_of(name);
  const Tensor stored = dense->weight().stored.value();
  const LoraStart start = start_of(name, stored);
  if (config_.changes_base())
    dense = std::make_unique<DenseLinear>(ops::Weight{Variable(changed_base(stored, start))},
                                          dense->bias() ? *dense->bias() : Variable());
  Variable a = matrix(peft_name(name, 'A'), {rank, in_features}, start.a);
  Variable b = matrix(peft_name(name, 'B'), {out_features, rank}, start.b);
  std::optional<Magnitudes> dora = magnitudes(name, *dense, a, b);
  ++wrapped_;
  return std::make_unique<LoraLinear>(std::move(dense), std::move(a), std::move(b), config_.factor(name),
                                      config_.lora_dropout, stream_of(name), std::move(dora));
}

Variable LoraFactory::vector(const std::string& name, int64_t size) {
  const Variable stored = base_.vector(name, size);
  layers_.push_back(name);
  const std::string own = peft_saved_name(vector_name(name));
  return has_own(own, config_.saves(name)) ? copy_of(own, stored) : stored;
}

ops::Weight LoraFactory::table(const std::string& name, int64_t rows, int64_t cols) {
  const ops::Weight stored = base_.table(name, rows, cols);
  layers_.push_back(name);
  const std::string own = peft_saved_name(name + ".weight");
  if (!has_own(own, config_.saves(name))) return stored;
  embeddings_ = stored;
  return {copy_of(own, stored.stored), nullptr};
}

// PEFT copies a layer to be trained whole, so that embeddings and head, which were one, become two. A new adapter of ours that has the
// embeddings keeps them one and is stored as both, which loads to the same in PEFT; a stored one is as its file has it.
ops::Weight LoraFactory::tied_head(const ops::Weight& embeddings) {
  layers_.push_back("lm_head");
  const std::string head = peft_saved_name("lm_head.weight"), table = peft_saved_name("model.embed_tokens.weight");
  const bool own_table = embeddings_.stored.defined();
  const ops::Weight& base = own_table ? embeddings_ : embeddings;
  if (!has_own(head, config_.saves("lm_head") && !own_table)) return own_table && stored_ ? base : embeddings;
  const auto found = weights_.find(head);
  if (stored_ && own_table && found != weights_.end() && found->second.shape() == embeddings.stored.shape() &&
      (!arena_.backed() ||
       std::memcmp(found->second.raw(), embeddings.stored.value().raw(), found->second.bytes()) == 0)) {
    weights_.erase(found);
    return embeddings;
  }
  return {copy_of(head, base.stored), nullptr};
}

void LoraFactory::check_complete() const {
  std::vector<std::string> names = seen_;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& target : config_.target_modules) {
    if (target == "all-linear" || std::find(names.begin(), names.end(), last_part(target)) != names.end()) continue;
    const std::string near = nearest_name(target, names);
    throw Error("target_modules: the model has no layer \"" + target + "\"",
                near.empty() ? "use all-linear" : "did you mean " + near + "?");
  }
  if (wrapped_ == 0) throw Error("target_modules: no layer is adapted", "use all-linear, or names such as q_proj");
  for (const std::string& module : config_.modules_to_save) {
    const auto fits = [&](const std::string& name) { return is_in_module(name, module); };
    if (std::any_of(layers_.begin(), layers_.end(), fits)) continue;
    std::vector<std::string> parts;
    for (const std::string& name : layers_) parts.push_back(last_part(name));
    const std::string near = nearest_name(module, parts);
    throw Error("modules_to_save: the model has no layer \"" + module + "\"",
                near.empty() ? "write embed_tokens or lm_head" : "did you mean " + near + "?");
  }
  if (!weights_.empty())
    throw Error("the adapter's " + weights_.begin()->first + " fits no layer of the model",
                "it was made for another model");
}

}  // namespace sedum
