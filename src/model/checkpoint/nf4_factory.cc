#include "model/checkpoint/nf4_factory.h"

#include "base/error.h"
#include "compute/dtype/nf4.h"
#include "model/checkpoint/factory.h"

namespace sedum {

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
    const Nf4Quantised quantised = quantise_nf4(pool_, values.data<float>(), values.count());
    nf4_blocks(pool_, quantised, static_cast<BlockNF4*>(to.raw()));
  }
  return std::make_unique<DenseLinear>(ops::Weight{Variable(to)}, dense.bias() ? *dense.bias() : Variable());
}

}  // namespace sedum
