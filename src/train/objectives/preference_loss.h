#pragma once
// Losses of preferences as functions of log-probabilities, with their derivatives. They know no model.
//
//   PairLoss loss = pair_loss({.loss = "sigmoid", .beta = 0.1}, chosen, rejected);
//   loss.value; loss.d_chosen;          // by the log-probability of the chosen answer, as the loss takes it

#include <cstdint>
#include <string>

namespace sedum {

// An answer under the policy and under the reference: Σ log p over its tokens, and their number.
struct Answer {
  double log_prob = 0, reference = 0;
  int64_t tokens = 0;
  double mean() const { return log_prob / double(tokens); }
};

struct PreferenceOptions {
  // sigmoid: Rafailov et al. 2023 (DPO). hinge: Zhao et al. 2023 (SLiC). ipo: Azar et al. 2023, of means over tokens, as TRL takes them.
  // orpo: Hong et al. 2024. simpo: Meng et al. 2024. kto: Ethayarajh et al. 2024, of single answers.
  std::string loss = "sigmoid";
  double beta = 0.1;
  double label_smoothing = 0;                           // sigmoid: the share of pairs that are the wrong way round
  double gamma = 0.5;                                   // simpo: the margin that is asked for
  double ftx = 0;                                       // times the chosen answer's mean −log p, added
  double desirable_weight = 1, undesirable_weight = 1;  // kto

  bool needs_reference() const { return loss != "orpo" && loss != "simpo"; }
};

struct PairLoss {
  double value = 0, d_chosen = 0, d_rejected = 0;  // by Σ log p of each answer
  double reward_chosen = 0, reward_rejected = 0;   // as TRL reports them
};
PairLoss pair_loss(const PreferenceOptions& options, const Answer& chosen, const Answer& rejected);

// KTO: one answer that is wanted or not. kl: the estimate of the policy's distance from the reference, a constant.
struct SingleLoss {
  double value = 0, d_answer = 0, reward = 0;
};
SingleLoss kto_loss(const PreferenceOptions& options, const Answer& answer, bool desirable, double kl);

}  // namespace sedum
