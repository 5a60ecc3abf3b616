#pragma once
// For tests: examples of operators, so that one test drives every gradient by finite differences.
//
//   const OperatorExample example{"scale", {{3, 5}}, [](Context& c, std::span<const Variable> in) { return scale(c, in[0], 0.5f); }};
//   const Registered registered(example);        // beside the operator's other tests
//
// gradient_test.cc compares d(Σ r·y)/dx, r fixed random numbers, with central differences in double, and fails for an operator that
// some file in ops/ records without an example.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "compute/autograd/tape.h"

namespace sedum::ops {

struct OperatorExample {
  std::string name;           // as it is recorded
  std::vector<Shape> inputs;  // filled with normal numbers; each is differentiated
  std::function<Variable(Context&, std::span<const Variable>)> apply;
  double step = 1e-5;  // of the central difference; its error is O(step²)
};

inline std::vector<OperatorExample>& operator_examples() {
  static std::vector<OperatorExample> all;
  return all;
}

struct Registered {
  explicit Registered(OperatorExample example) { operator_examples().push_back(std::move(example)); }
};

}  // namespace sedum::ops
