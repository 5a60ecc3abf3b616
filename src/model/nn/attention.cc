#include "model/nn/attention.h"

#include "base/error.h"
#include "base/random.h"

namespace sedum {

Variable attend(Context& ctx, const Batch& batch, int64_t layer, const Variable& q, const Variable& k,
                const Variable& v, const AttentionShape& wanted, float dropout) {
  if (!batch.state)
    return ops::attention(ctx, q, k, v, wanted, batch.segments, dropout,
                          stream_of("attention") + uint32_t(layer) * 0x9E3779B9u);
  if (ctx.tape) throw ApiError("attend", "a stored past has no gradient: train without a SequenceState");
  const SequenceState::View past = batch.state->store(ctx, layer, k.value(), v.value());
  // What is stored in bf16 for layers that round more than that is multiplied as bf16: prefill and decoding alike, so that their bits agree.
  AttentionShape shape = wanted;
  shape.bf16_products = past.kv.dtype == DType::kBF16 && ctx.compute != Compute::kF32;
  Tensor out = ctx.empty(DType::kF32, q.shape());
  if (ctx.runs())
    attention_forward<float>(*ctx.pool, shape, *past.segments, q.value().data<float>(), q.shape()[-1], past.kv,
                             out.data<float>(), q.shape()[-1], nullptr);
  return Variable(out);
}

}  // namespace sedum
