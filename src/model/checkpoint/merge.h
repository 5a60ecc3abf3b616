#pragma once
#include "model/adapters/peft.h"
#include "model/checkpoint/export.h"
#include "model/runtime_model.h"

namespace sedum {

// The values of a model with an adapter folded in: W + factor · B · A for the layers that it adapts, brought to DoRA's
// magnitudes, biases and whole layers in place of the base's. `base`: W, where it is not as stored (nf4_values() for an adapter that
// was trained on NF4). Error when the adapter names a layer that the model has not. checkpoint and runtime must outlive the reader.
TensorReader merged_values(const Checkpoint& checkpoint, StoredAdapter adapter, Runtime& runtime,
                           TensorReader base = nullptr);

}  // namespace sedum
