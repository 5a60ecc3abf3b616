#include "model/nn/linear.h"

namespace sedum {

std::vector<Variable> forward_together(Context& ctx, const Variable& x, std::initializer_list<const Linear*> layers) {
  std::vector<Variable> results;
  if (ctx.tape) {
    for (const Linear* layer : layers) results.push_back(layer->forward(ctx, x));
    return results;
  }
  std::vector<ops::LinearTerm> terms;
  for (const Linear* layer : layers) terms.push_back({&layer->dense().weight(), layer->dense().bias()});
  results = ops::linear_group(ctx, x, terms);
  size_t i = 0;
  for (const Linear* layer : layers) layer->adapt(ctx, x, results[i++].value());
  return results;
}

}  // namespace sedum
