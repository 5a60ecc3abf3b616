#include "model/nn/linear.h"

#include <optional>

#include "model/nn/shared_input.h"

namespace sedum {
namespace {

// Without a tape adapters add to what the dense layers gave, each in its own way (by rows, for several at a time).
std::vector<Variable> infer_together(Context& ctx, const Variable& x, std::initializer_list<const Linear*> layers) {
  std::vector<ops::LinearTerm> terms;
  for (const Linear* layer : layers) terms.push_back({&layer->dense().weight(), layer->dense().bias()});
  std::vector<Variable> results = ops::linear_group(ctx, x, terms);
  size_t i = 0;
  for (const Linear* layer : layers) layer->adapt(ctx, x, results[i++].value());
  return results;
}

// What a layer multiplies x with; none: its forward() alone knows.
std::optional<ops::AdaptedTerm> term_of(Context& ctx, const Variable& x, const Linear* layer) {
  if (const auto* shared = dynamic_cast<const SharedInput*>(layer)) return shared->term(ctx, x);
  if (const auto* dense = dynamic_cast<const DenseLinear*>(layer))
    return ops::AdaptedTerm{.weight = &dense->weight(), .bias = dense->bias()};
  return std::nullopt;
}

}  // namespace

std::vector<Variable> forward_together(Context& ctx, const Variable& x, std::initializer_list<const Linear*> layers) {
  if (!ctx.tape) return infer_together(ctx, x, layers);
  std::vector<Variable> results(layers.size());
  std::vector<ops::AdaptedTerm> terms;
  std::vector<size_t> places;
  size_t i = 0;
  for (const Linear* layer : layers) {
    if (std::optional<ops::AdaptedTerm> term = term_of(ctx, x, layer))
      terms.push_back(std::move(*term)), places.push_back(i);
    else
      results[i] = layer->forward(ctx, x);
    ++i;
  }
  std::vector<Variable> together = ops::linear_terms(ctx, x, terms);
  for (size_t t = 0; t < together.size(); ++t) {
    const auto* shared = dynamic_cast<const SharedInput*>(layers.begin()[places[t]]);
    results[places[t]] = shared ? shared->finish(ctx, std::move(together[t])) : std::move(together[t]);
  }
  return results;
}

}  // namespace sedum
