#pragma once
// The tape: what was computed, in order, and how to go back through it.
//
//   Tape tape;
//   Context ctx{.pool = &pool, .arena = &arena, .tape = &tape};
//   Variable loss = ...operators on ctx...;
//   tape.backward(ctx, loss);        // parameters' gradients are there; the tape is empty again
//
// Inside an operator:
//
//   return record(ctx, "scale", {&x}, y, [s](BackwardPass& pass) {
//     auto [dx, accumulate] = pass.target(0); ...
//   });
//
// The closure holds what the operator saves; an entry is dropped as soon as it was gone through. The tape knows no operator by
// name: names serve messages and the test that every operator's gradient is checked.

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "compute/autograd/context.h"
#include "compute/autograd/variable.h"

namespace sedum {

class BackwardPass {
 public:
  BackwardPass(Context& context, const std::vector<std::shared_ptr<Gradient>>& inputs, const Tensor& output)
      : context_(context), inputs_(inputs), output_(output) {}

  Context& context() { return context_; }
  const Tensor& gradient() const { return output_; }  // of the operator's result
  bool wants(size_t input) const { return inputs_[input] != nullptr; }

  // Where to write the gradient of `input`. accumulate: it holds a part already, so add to it.
  struct Target {
    Tensor tensor;
    bool accumulate;
  };
  Target target(size_t input);
  // The same for a kernel that can only overwrite: hands over a finished contribution.
  void add(size_t input, Tensor contribution);
  // For a kernel that can only add: zeros, or what is there already.
  Tensor sum(size_t input);

 private:
  Context& context_;
  const std::vector<std::shared_ptr<Gradient>>& inputs_;
  const Tensor& output_;
};

class Tape {
 public:
  using Backward = std::function<void(BackwardPass&)>;
  enum class Mode {
    kRecord,
    kCount,   // keeps nothing: counts the uses of parameters in a part that will be computed again
    kReplay,  // records that part when it is computed again; its uses are counted already
  };
  explicit Tape(Mode mode = Mode::kRecord) : mode_(mode) {}

  // Goes back from `result`, whose gradient is `seed`, or 1 if that is undefined (then the result is a scalar). Empties the tape.
  void backward(Context& context, const Variable& result, Tensor seed = {});
  void clear();
  size_t size() const { return entries_.size(); }
  Mode mode() const { return mode_; }

  Variable add(const char* name, std::span<const Variable* const> inputs, Tensor output, Backward backward);

 private:
  struct Entry {
    const char* name;
    std::vector<std::shared_ptr<Gradient>> inputs;
    std::shared_ptr<Gradient> output;
    Backward backward;
  };
  Mode mode_;
  std::vector<Entry> entries_;
};

// Whether an operator on these inputs will be recorded, so that it must save what its backward pass needs.
bool recording(const Context& context, std::initializer_list<const Variable*> inputs);
// Puts the operator on the tape, if there is one and an input has a gradient; else the result is a constant.
Variable record(Context& context, const char* name, std::initializer_list<const Variable*> inputs, Tensor output,
                Tape::Backward backward);
// The same for an operator whose inputs are as many as the model has experts or layers; undefined ones are passed over.
bool recording_any(const Context& context, std::span<const Variable* const> inputs);
Variable record_all(Context& context, const char* name, std::span<const Variable* const> inputs, Tensor output,
                    Tape::Backward backward);

// y = body(x), keeping nothing of what body saves: it is computed again in the backward pass (Chen et al.: "Training Deep Nets with
// Sublinear Memory Cost", 2016). body must be a function of its arguments and of parameters.
Variable recompute(Context& context, const Variable& x, std::function<Variable(Context&, const Variable&)> body);

}  // namespace sedum
