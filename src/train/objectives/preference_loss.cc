#include "train/objectives/preference_loss.h"

#include <algorithm>
#include <cmath>

namespace sedum {
namespace {

double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double minus_log_sigmoid(double x) { return std::max(-x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// Of a margin h that shall be large: the loss and its derivative.
struct OfMargin {
  double value, slope;
};
OfMargin logistic(double h, double smoothing) {
  return {(1 - smoothing) * minus_log_sigmoid(h) + smoothing * minus_log_sigmoid(-h),
          -(1 - smoothing) * sigmoid(-h) + smoothing * sigmoid(h)};
}

}  // namespace

PairLoss pair_loss(const PreferenceOptions& o, const Answer& chosen, const Answer& rejected) {
  const double nc = double(chosen.tokens), nr = double(rejected.tokens);
  PairLoss r;
  // The margin's derivatives by the two Σ log p, and the loss of the margin.
  double by_chosen = 1, by_rejected = -1;
  OfMargin m{};
  r.reward_chosen = o.beta * (chosen.log_prob - chosen.reference);
  r.reward_rejected = o.beta * (rejected.log_prob - rejected.reference);
  const double margin = (chosen.log_prob - chosen.reference) - (rejected.log_prob - rejected.reference);
  if (o.loss == "hinge") {
    const double h = o.beta * margin;
    m = {std::max(0.0, 1 - h), h < 1 ? -o.beta : 0.0};
  } else if (o.loss == "ipo") {
    const double h = (chosen.log_prob - chosen.reference) / nc - (rejected.log_prob - rejected.reference) / nr;
    const double gap = h - 1 / (2 * o.beta);
    m = {gap * gap, 2 * gap}, by_chosen = 1 / nc, by_rejected = -1 / nr;
  } else if (o.loss == "simpo") {
    const OfMargin l = logistic(o.beta * (chosen.mean() - rejected.mean()) - o.gamma, o.label_smoothing);
    m = {l.value, o.beta * l.slope}, by_chosen = 1 / nc, by_rejected = -1 / nr;
    r.reward_chosen = o.beta * chosen.mean(), r.reward_rejected = o.beta * rejected.mean();
  } else if (o.loss == "orpo") {
    // log odds = log p − log(1 − p) of the mean log-probabilities; d/d log p is 1 / (1 − p).
    const auto log_rest = [](double log_p) { return std::log(-std::expm1(std::min(log_p, -1e-12))); };
    const OfMargin l =
        logistic(chosen.mean() - log_rest(chosen.mean()) - rejected.mean() + log_rest(rejected.mean()), 0);
    m = {o.beta * l.value, o.beta * l.slope};
    by_chosen = 1 / (nc * -std::expm1(std::min(chosen.mean(), -1e-12)));
    by_rejected = -1 / (nr * -std::expm1(std::min(rejected.mean(), -1e-12)));
    r.reward_chosen = o.beta * chosen.mean(), r.reward_rejected = o.beta * rejected.mean();
  } else {
    const OfMargin l = logistic(o.beta * margin, o.label_smoothing);
    m = {l.value, o.beta * l.slope};
  }
  const double ftx = o.loss == "orpo" ? 1 : o.ftx;  // ORPO is fine-tuning with a penalty
  r.value = m.value - ftx * chosen.mean();
  r.d_chosen = m.slope * by_chosen - ftx / nc;
  r.d_rejected = m.slope * by_rejected;
  return r;
}

SingleLoss kto_loss(const PreferenceOptions& o, const Answer& answer, bool desirable, double kl) {
  const double ratio = answer.log_prob - answer.reference, sign = desirable ? 1 : -1;
  const double weight = desirable ? o.desirable_weight : o.undesirable_weight,
               s = sigmoid(o.beta * sign * (ratio - kl));
  return {weight * (1 - s), -weight * o.beta * sign * s * (1 - s), o.beta * ratio};
}

}  // namespace sedum
