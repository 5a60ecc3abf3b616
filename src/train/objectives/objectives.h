#pragma once
// The objectives that make_objective chooses from.

#include "base/error.h"
#include "train/objective.h"

namespace sedum {

std::unique_ptr<Objective> make_supervised(const TrainConfig& config, const TrainableModel& trained,
                                           const TrainData& data);
std::unique_ptr<Objective> make_distillation(const TrainConfig& config, const TrainableModel& trained,
                                             const TrainData& data, Runtime& runtime, Arena& arena);
std::unique_ptr<Objective> make_masked_lm(const TrainConfig& config, const TrainableModel& trained,
                                          const TrainData& data);
std::unique_ptr<Objective> make_paired_texts(const TrainConfig& config, const TrainableModel& trained,
                                             const TrainData& data);
std::unique_ptr<Objective> make_classification(const TrainConfig& config, const TrainableModel& trained,
                                               const TrainData& data);
std::unique_ptr<Objective> make_seq2seq(const TrainConfig& config, const TrainableModel& trained,
                                        const TrainData& data);
std::unique_ptr<Objective> make_preference(const TrainConfig& config, const TrainableModel& trained,
                                           const TrainData& data, Runtime& runtime, Arena& arena);

}  // namespace sedum
