#include "train/gate.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace sedum {
uint64_t fingerprint(const std::vector<Variable>& parameters) {
  uint64_t hash = 1469598103934665603u;
  for (const Variable& p : parameters) {
    const auto* words = static_cast<const uint16_t*>(p.value().raw());
    for (size_t i = 0; i < p.value().bytes() / 2; ++i) hash = (hash ^ words[i]) * 1099511628211u;
  }
  return hash;
}

std::vector<std::string> failures(const TrainConfig& config, int64_t vocab_size, const TrainResult& result,
                                  const std::vector<double>& losses, bool changed) {
  std::vector<std::string> found;
  if (losses.empty()) return found;  // nothing was done
  const auto last = std::min<size_t>(losses.size(), 10);
  double mean = 0;
  for (size_t i = losses.size() - last; i < losses.size(); ++i) mean += losses[i] / double(last);
  const bool evaluated = std::isfinite(result.eval_loss_after);
  const double loss = evaluated ? result.eval_loss_after : mean, guess = std::log(double(vocab_size));
  if ((config.stage == "sft" || config.stage == "pretrain") && loss > guess)
    found.push_back(fmt::format("the {} is {:.2f}, above ln(vocabulary) = {:.2f}: guessing blindly is better",
                                evaluated ? "evaluation loss" : "loss of the last steps", loss, guess));
  if (config.finetuning_type != "full" && !changed) found.push_back("the adapter never changed");
  return found;
}

}  // namespace sedum
