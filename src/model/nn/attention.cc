#include "model/nn/attention.h"

#include "base/error.h"
#include "base/random.h"

namespace sedum {

Variable attend(Context& ctx, const Batch& batch, int64_t layer, const Variable& q, const Variable& k,
                const Variable& v, const AttentionShape& shape, float dropout) {
  if (!batch.state)
    return ops::attention(ctx, q, k, v, shape, batch.segments, dropout,
                          stream_of("attention") + uint32_t(layer) * 0x9E3779B9u);
  if (ctx.tape) throw ApiError("attend", "a stored past has no gradient: train without a SequenceState");
  const SequenceState::View past = batch.state->store(ctx, layer, k.value(), v.value());
  Tensor out = ctx.empty(DType::kF32, q.shape());
  if (ctx.runs())
    attention_forward<float>(*ctx.pool, shape, *past.segments, q.value().data<float>(), q.shape()[-1], past.kv,
                             out.data<float>(), q.shape()[-1], nullptr);
  return Variable(out);
}

}  // namespace sedum
