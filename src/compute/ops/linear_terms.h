#pragma once
// linear() and lora_linear() of one x by several weights, for training: the same results and, on a tape, the same entries, but x is packed once
// for all of them (kernels/product_terms.h).
//
//   const AdaptedTerm terms[] = {{.weight = &gate}, {.weight = &up, .a = &a, .b = &b, .factor = 2}};
//   const std::vector<Variable> both = linear_terms(ctx, x, terms);

#include "compute/ops/linear.h"

namespace sedum::ops {

struct AdaptedTerm {
  const Weight* weight;
  const Variable* bias = nullptr;
  const Variable *a = nullptr, *b = nullptr;  // with them: lora_linear()
  float factor = 0;
  Variable low = {};  // what the adapter sees in place of x; undefined: x
};
std::vector<Variable> linear_terms(Context& ctx, const Variable& x, std::span<const AdaptedTerm> terms);

}  // namespace sedum::ops
