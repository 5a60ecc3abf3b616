#pragma once
// Mixtures of experts (Shazeer et al.: "Outrageously Large Neural Networks", 2017; Fedus et al.: "Switch Transformers", 2021; Jiang et al.:
// "Mixtral of Experts", 2024): a router chooses for every row the experts that compute it. Rows are put in the order of experts, so that each
// expert's products run on all of its rows at once.
//
//   Routed to = route(ctx, router_logits, {.experts_per_row = 2, .normalised = true});     // weights (R,k)
//   const Variable sorted = dispatch(ctx, x, to.routing);                                   // (R·k, C), by expert
//   for each expert e with rows: outputs[e] = expert(row_range(ctx, sorted, routing->begin[e], routing->rows(e)))
//   const Variable y = combine(ctx, to.weights, outputs, to.routing);                       // (R, C)
//
// What a row gives depends on no other row: its experts' results are added in the order of its choices.

#include <memory>
#include <vector>

#include "compute/autograd/tape.h"

namespace sedum::ops {

// Where rows go. A slot is one choice of one row: row r has the slots r·k … r·k + k − 1, by falling weight.
struct Routing {
  int64_t experts_per_row = 0;
  std::vector<int32_t> expert;  // of each slot
  std::vector<int64_t> begin;   // of each expert's rows among the sorted ones; experts + 1 numbers
  std::vector<int32_t> row;     // of each sorted place: where it comes from; rows of one expert ascend
  std::vector<int32_t> place;   // of each slot among the sorted rows

  int64_t experts() const { return int64_t(begin.size()) - 1; }
  int64_t rows(int64_t e) const { return begin[size_t(e) + 1] - begin[size_t(e)]; }
};

struct RoutingOptions {
  int experts_per_row = 2;
  bool normalised = true;  // the weights of a row's experts are scaled to sum 1
};
struct Routed {
  Variable weights;  // (R, experts_per_row)
  std::shared_ptr<const Routing> routing;
};

// Softmax over all experts' logits (R,E), of which each row keeps the k largest; the lower expert of two alike. In the shape-only mode
// rows are dealt out evenly.
Routed route(Context& ctx, const Variable& logits, const RoutingOptions& options);

// The rows of x (R,C) in the order of experts: (R·k, C).
Variable dispatch(Context& ctx, const Variable& x, const std::shared_ptr<const Routing>& routing);

// Rows [begin, begin + count) of x (R,C), a view.
Variable row_range(Context& ctx, const Variable& x, int64_t begin, int64_t count);

// y (R,C): Σ over a row's slots of weight · its expert's output. outputs[e] (rows(e), C), undefined where an expert has no rows.
Variable combine(Context& ctx, const Variable& weights, const std::vector<Variable>& outputs,
                 const std::shared_ptr<const Routing>& routing);

// y (R, A + B): the columns of a (R,A), then those of b (R,B).
Variable beside(Context& ctx, const Variable& a, const Variable& b);

// A scalar: factor · E · Σ_e f_e P_e over the rows of all layers' router logits (R,E) together, where f_e is the share of rows that chose
// expert e (a row counts once for each of its k choices) and P_e the mean probability of e: 1 · factor · k when all is even. f has no
// gradient. Fedus et al. 2021, equations 4 to 6, as transformers' load_balancing_loss_func has it.
Variable load_balancing_loss(Context& ctx, const std::vector<Variable>& router_logits, int experts_per_row,
                             float factor);

}  // namespace sedum::ops
