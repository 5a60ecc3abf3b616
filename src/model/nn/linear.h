#pragma once
// The linear layer that models are built of, and the factory that decides what stands behind it.
//
// A model asks a LayerFactory for its layers by name; what it gets may be a dense layer, one with a low-rank adapter, or one whose
// weights are quantised. Nothing in architectures/ branches on that.

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "compute/ops/linear.h"

namespace sedum {

class DenseLinear;

// Under what name a vector is stored.
inline bool is_shift(const std::string& name) { return name.ends_with(".bias"); }
inline std::string vector_name(const std::string& name) { return is_shift(name) ? name : name + ".weight"; }

class Linear {
 public:
  virtual ~Linear() = default;
  virtual Variable forward(Context& ctx, const Variable& x) const = 0;  // (…, in) → (…, out)
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  // The dense layer behind it, and what this one adds to that layer's result, in place and without a tape.
  virtual const DenseLinear& dense() const = 0;
  virtual void adapt(Context& ctx, const Variable& x, Tensor& y) const = 0;
};

class DenseLinear : public Linear {
 public:
  explicit DenseLinear(ops::Weight weight, Variable bias = {}) : weight_(std::move(weight)), bias_(std::move(bias)) {}
  Variable forward(Context& ctx, const Variable& x) const override { return ops::linear(ctx, x, weight_, bias()); }
  int64_t in_features() const override { return weight_.in_features(); }
  int64_t out_features() const override { return weight_.out_features(); }
  const DenseLinear& dense() const override { return *this; }
  void adapt(Context&, const Variable&, Tensor&) const override {}
  const ops::Weight& weight() const { return weight_; }
  const Variable* bias() const { return bias_.defined() ? &bias_ : nullptr; }

 private:
  ops::Weight weight_;
  Variable bias_;
};

// The results of several layers for the same x. Without a tape their products share one parallel region.
std::vector<Variable> forward_together(Context& ctx, const Variable& x, std::initializer_list<const Linear*> layers);

// Names are those of the Hugging Face model, without ".weight": "model.layers.0.self_attn.q_proj".
class LayerFactory {
 public:
  virtual ~LayerFactory() = default;
  virtual std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                         bool bias) = 0;
  // "model.norm": a norm's weight, f32. "embeddings.LayerNorm.bias": a shift, by its whole name.
  virtual Variable vector(const std::string& name, int64_t size) = 0;
  virtual ops::Weight table(const std::string& name, int64_t rows, int64_t cols) = 0;  // embeddings, and the head
  // The head of a model whose head is its embeddings. An adapter may have made them two.
  virtual ops::Weight tied_head(const ops::Weight& embeddings) { return embeddings; }
};

}  // namespace sedum
