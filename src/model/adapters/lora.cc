#include "model/adapters/lora.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace sedum {
namespace {

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

// FNV-1a: the random stream of a weight follows from its name, not from the order of construction.
uint32_t stream_of(const std::string& name) {
  uint32_t h = 2166136261u;
  for (const char c : name) h = (h ^ uint8_t(c)) * 16777619u;
  return h;
}

}  // namespace

float LoraConfig::factor() const { return use_rslora ? lora_alpha / std::sqrt(float(r)) : lora_alpha / float(r); }

bool LoraConfig::targets(const std::string& name) const {
  if (name == "lm_head") return false;  // PEFT's "all-linear" leaves the head out
  return std::any_of(target_modules.begin(), target_modules.end(), [&](const std::string& target) {
    return target == "all-linear" || name == target || (name.size() > target.size() && name.ends_with("." + target));
  });
}

std::string peft_name(const std::string& linear, char which) {
  return "base_model.model." + linear + ".lora_" + which + ".weight";
}

LoraFactory::LoraFactory(LayerFactory& base, LoraConfig config, Arena& arena, uint64_t seed)
    : base_(base), config_(std::move(config)), arena_(arena), seed_(seed) {}

LoraFactory::LoraFactory(LayerFactory& base, LoraConfig config, Arena& arena, std::map<std::string, Tensor> weights,
                         bool trainable)
    : base_(base),
      config_(std::move(config)),
      arena_(arena),
      stored_(true),
      trainable_(trainable),
      weights_(std::move(weights)) {}

Variable LoraFactory::matrix(const std::string& name, const Shape& shape, bool random) {
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
    if (random && arena_.backed()) {
      const Random rng(seed_, Purpose::kInit, stream_of(name));
      const float bound = 1 / std::sqrt(float(shape[1]));
      for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = (2 * rng.uniform(uint64_t(i)) - 1) * bound;
    }
  }
  return trainable_ ? Variable::parameter(t, name) : Variable(t);
}

std::unique_ptr<Linear> LoraFactory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                            bool bias) {
  std::unique_ptr<Linear> layer = base_.linear(name, out_features, in_features, bias);
  seen_.push_back(last_part(name));
  if (!config_.targets(name)) return layer;
  if (!dynamic_cast<DenseLinear*>(layer.get())) throw ApiError("lora", name + " is not a dense layer");
  std::unique_ptr<DenseLinear> dense(static_cast<DenseLinear*>(layer.release()));
  Variable a = matrix(peft_name(name, 'A'), {config_.r, in_features}, true);
  Variable b = matrix(peft_name(name, 'B'), {out_features, config_.r}, false);
  parameters_.push_back(a), parameters_.push_back(b);
  ++wrapped_;
  return std::make_unique<LoraLinear>(std::move(dense), std::move(a), std::move(b), config_.factor());
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
  if (!weights_.empty())
    throw Error("the adapter's " + weights_.begin()->first + " fits no layer of the model",
                "it was made for another model");
}

}  // namespace sedum
