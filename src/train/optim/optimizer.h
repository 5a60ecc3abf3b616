#pragma once
// Optimizers over a list of parameters, and the clipping that comes before them.
//
//   auto optimizer = make_optimizer(ctx, parameters, {.kind = OptimizerKind::kAdamW, .weight_decay = 0.1f});
//   const double norm = optimizer->gradient_norm(ctx);
//   optimizer->step(ctx, learning_rate, clip_scale(norm, 1), steps_done);
//
// Updates are fused and in place; a step drops the gradients. Weight decay goes to matrices, not to norms and biases.

#include <memory>
#include <string>
#include <vector>

#include "compute/autograd/context.h"
#include "compute/autograd/variable.h"
#include "compute/kernels/optimizer.h"

namespace sedum {

enum class OptimizerKind {
  kAdamW,
  kAdamW8Bit,  // both moments in 8 bits, in blocks of 256; parameters below 4,096 values keep f32 moments, as in bitsandbytes
  kAdam,       // decay as a part of the gradient
  kSgd,        // torch.optim.SGD
  kAdafactor,  // transformers' Adafactor(scale_parameter=False, relative_step=False): Shazeer, Stern, 2018
  kMuon,       // torch.optim.Muon for hidden matrices (Jordan et al., 2024), AdamW for embeddings, head and vectors
};
// What the learning rate is multiplied with for a matrix (A, B).
enum class MuonAdjustment {
  kMatchRmsAdamW,  // 0.2·√max(A, B): AdamW's rates and decays fit (Liu et al.: "Muon is Scalable for LLM Training", 2025)
  kOriginal,       // √max(1, A/B)
};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;  // Adam, AdamW
  float weight_decay = 0;
  float momentum = 0;  // SGD
  bool nesterov = false;
  float muon_momentum = 0.95f;
  bool muon_nesterov = true;
  int muon_steps = 5;  // of Newton and Schulz
  MuonAdjustment muon_adjustment = MuonAdjustment::kMatchRmsAdamW;
  DType state_dtype = DType::kF32;  // or bf16, rounded stochastically: of moments and momentum
};

// A tensor that a checkpoint must hold beside the parameters, as "first_moment.model.norm.weight".
struct OptimizerState {
  std::string name;
  Tensor tensor;
};

class Optimizer {
 public:
  Optimizer(std::vector<Variable> parameters, OptimizerOptions options);
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // The norm of all gradients together (double, parameters in order). A parameter without a gradient counts as zeros.
  double gradient_norm(Context& ctx) const;
  // Every gradient value brought into [−most, most]; 0: nothing is done.
  void clip_gradient_values(Context& ctx, float most);
  // One update with gradients times gradient_scale; drops the gradients. steps_done: updates before this one.
  void step(Context& ctx, float learning_rate, float gradient_scale, int64_t steps_done);
  void drop_gradients();

  const std::vector<Variable>& parameters() const { return parameters_; }
  const OptimizerOptions& options() const { return options_; }
  // Handles: to write them into a checkpoint, and to read one into them.
  virtual std::vector<OptimizerState> states() const = 0;

 protected:
  struct Update {
    double learning_rate, gradient_scale, weight_decay;
    int64_t step;  // 1-based
    StochasticRounding rounding;
  };
  // gradient: f32, of parameter i.
  virtual void update(Context& ctx, size_t i, const Tensor& gradient, const Update& u) = 0;
  StoredArray stored_parameter(size_t i);

  std::vector<Variable> parameters_;
  OptimizerOptions options_;
};

// States live in ctx's arena: zeros, or addresses alone in the shape-only mode.
std::unique_ptr<Optimizer> make_optimizer(Context& ctx, std::vector<Variable> parameters, OptimizerOptions options);

// What gradients are multiplied with so that their norm is at most max_norm, as torch.nn.utils.clip_grad_norm_ has it; 0: no limit.
float clip_scale(double norm, float max_norm);

}  // namespace sedum
