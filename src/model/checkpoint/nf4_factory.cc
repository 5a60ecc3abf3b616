#include "model/checkpoint/nf4_factory.h"

#include <set>

#include "base/error.h"
#include "compute/dtype/nf4.h"
#include "model/checkpoint/factory.h"

namespace sedum {
namespace {

// Notes what becomes NF4.
class NotingFactory : public Nf4Factory {
 public:
  using Nf4Factory::Nf4Factory;
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override {
    matrices.insert(name + ".weight");
    return Nf4Factory::linear(name, out_features, in_features, bias);
  }
  std::set<std::string> matrices;
};

void round_to(BlockNF4* blocks, ThreadPool& pool, const float* values, int64_t count) {
  nf4_blocks(pool, quantise_nf4(pool, values, count), blocks);
}

}  // namespace

std::unique_ptr<Linear> Nf4Factory::linear(const std::string& name, int64_t out_features, int64_t in_features,
                                           bool bias) {
  std::unique_ptr<Linear> layer = stored_.linear(name, out_features, in_features, bias);
  const DenseLinear& dense = layer->dense();
  const Tensor& from = dense.weight().stored.value();
  if (from.dtype() == kNF4) return layer;
  if (in_features % kNf4Block)
    throw Error(name + " has rows of " + std::to_string(in_features) + " values, and NF4 has blocks of 64",
                "use finetuning_type: lora, which takes the base as it is stored");
  Tensor to = Tensor::empty(arena_, kNF4, from.shape());
  if (arena_.backed()) {
    Arena scratch;  // given back at once: the run's own arena would keep it
    const Tensor values = decoded(from, pool_, scratch);
    round_to(static_cast<BlockNF4*>(to.raw()), pool_, values.data<float>(), values.count());
  }
  return std::make_unique<DenseLinear>(ops::Weight{Variable(to)}, dense.bias() ? *dense.bias() : Variable());
}

TensorReader nf4_values(const Checkpoint& checkpoint, ThreadPool& pool) {
  Arena shapes(Arena::Backing::kNone);
  CheckpointFactory stored(checkpoint, CheckpointFactory::Use::kFrozen, pool, shapes);
  NotingFactory names(stored, pool, shapes);
  build_model(checkpoint.config(), names);
  return [&checkpoint, &pool, plain = stored_values(checkpoint),
          matrices = std::move(names.matrices)](const std::string& name) {
    std::vector<float> values = plain(name);
    if (!matrices.contains(name) || checkpoint.tensor(name).dtype() == kNF4) return values;
    std::vector<BlockNF4> blocks(values.size() / kNf4Block);
    round_to(blocks.data(), pool, values.data(), int64_t(values.size()));
    decode_nf4(blocks.data(), values.data(), int64_t(values.size()));
    return values;
  };
}

}  // namespace sedum
