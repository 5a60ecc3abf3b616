#pragma once
// AdamW over a list of parameters, and the clipping that comes before it.

#include <vector>

#include "compute/autograd/context.h"
#include "compute/autograd/variable.h"

namespace sedum {

struct AdamWOptions {
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f,
        weight_decay = 0;  // decay for matrices only: not for norms and biases
};

class AdamW {
 public:
  AdamW(Context& ctx, std::vector<Variable> parameters, AdamWOptions options);

  // The norm of all gradients together (double, parameters in order). A parameter without a gradient counts as zeros.
  double gradient_norm(Context& ctx) const;
  // One update with gradients times gradient_scale; drops the gradients. steps_done: updates before this one.
  void step(Context& ctx, float learning_rate, float gradient_scale, int64_t steps_done);

  const std::vector<Variable>& parameters() const { return parameters_; }
  std::vector<Tensor>& first_moments() { return m_; }
  std::vector<Tensor>& second_moments() { return v_; }
  const std::vector<Tensor>& first_moments() const { return m_; }
  const std::vector<Tensor>& second_moments() const { return v_; }

 private:
  std::vector<Variable> parameters_;
  std::vector<Tensor> m_, v_;  // f32
  AdamWOptions options_;
};

// What gradients are multiplied with so that their norm is at most max_norm, as torch.nn.utils.clip_grad_norm_ has it; 0: no limit.
float clip_scale(double norm, float max_norm);

}  // namespace sedum
