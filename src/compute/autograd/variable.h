#pragma once
// A tensor that may have a gradient.
//
//   Variable w = Variable::parameter(tensor, "lm_head.weight");   // a leaf: gradients gather in w.gradient()
//   Variable x(tensor);                                           // a constant

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "compute/tensor/tensor.h"

namespace sedum {

// Where the contributions to one variable's gradient gather.
struct Gradient {
  Tensor value;  // undefined until the first contribution; f32 for parameters of any type, else the variable's type
  DType dtype = DType::kF32;
  Shape shape;
  bool leaf = false;
  std::string name;                            // of a parameter
  int pending = 0;                             // uses on the tape that the backward pass has not gone back through yet
  std::function<void(Gradient&)> on_complete;  // called once in a backward pass, when nothing can be added any more
};

class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor value) : value_(std::move(value)) {}
  Variable(Tensor value, std::shared_ptr<Gradient> gradient)
      : value_(std::move(value)), gradient_(std::move(gradient)) {}
  static Variable parameter(Tensor value, std::string name);

  bool defined() const { return value_.defined(); }
  const Tensor& value() const { return value_; }
  Tensor& value() { return value_; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }

  bool needs_gradient() const { return gradient_ != nullptr; }
  const std::shared_ptr<Gradient>& slot() const { return gradient_; }
  Tensor& gradient() const { return gradient_->value; }
  const std::string& name() const;  // of a parameter; else ""

 private:
  Tensor value_;
  std::shared_ptr<Gradient> gradient_;
};

}  // namespace sedum
