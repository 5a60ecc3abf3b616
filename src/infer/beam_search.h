#pragma once
// Beam search as transformers 5 does it (GenerationMixin._beam_search), and diverse groups of beams.
//
// Each step takes the likeliest continuations of all running beams. Those that end among the first num_beams go to the finished ones, with
// score Σ log p / length^length_penalty; the best that do not end run on. Groups (Vijayakumar et al. 2018) search one after the other in
// each step, each with num_beams / num_beam_groups beams and finished ones of its own; a token costs diversity_penalty for each beam of an
// earlier group that just took it. Penalties and biases change log-probabilities here, after the softmax, as they do there.

#include "infer/decoding.h"
#include "infer/sampler.h"

namespace sedum {

class BeamSearch : public Decoding {
 public:
  BeamSearch(const DecodingSetting& setting, GenerationRequest request, Emit emit);
  void advance(Unit& unit, std::span<const Computed> computed) override;

 private:
  struct Beam {
    size_t line;  // in the unit
    double score;
    int grammar_state = 0;
  };
  struct Finished {
    std::vector<int32_t> tokens;
    double score;
  };
  struct Group {
    std::vector<Beam> beams;
    std::vector<Finished> finished = {};  // best first
    bool done = false;
  };
  struct Candidate {
    double score;
    size_t beam;
    int32_t id;
  };
  std::vector<Candidate> candidates(const Group& group, Unit& unit, std::span<const Computed> computed) const;
  void advance_group(Group& group, Unit& unit, std::span<const Computed> computed,
                     std::vector<std::unique_ptr<Line>>& next);
  bool is_over(const Group& group, bool none_runs) const;
  void give();

  size_t group_size_, ends_ = 0;  // ends_: tokens that end an answer
  std::vector<Group> groups_;
  int64_t made_ = 0;                 // tokens of each running beam
  std::vector<int32_t> taken_ = {};  // in this step by earlier groups
};

}  // namespace sedum
