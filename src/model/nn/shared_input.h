#pragma once
// A layer whose products can go together with those of others that have the same input: x is then packed once for all.
//
//   class LoraLinear : public Linear, public SharedInput { … };
//   forward_together(ctx, x, {&q, &k, &v});                       // asks each for its term, multiplies, lets each finish

#include "compute/ops/linear_terms.h"

namespace sedum {

class SharedInput {
 public:
  virtual ~SharedInput() = default;
  // forward(x) is finish(ctx, what linear_terms() makes of term(ctx, x)).
  virtual ops::AdaptedTerm term(Context& ctx, const Variable& x) const = 0;
  virtual Variable finish(Context& ctx, Variable y) const = 0;
};

}  // namespace sedum
