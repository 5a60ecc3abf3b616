#pragma once
// Answers that are sampled, or greedy: n of them from one prompt, which is computed once and shared.

#include "infer/decoding.h"
#include "infer/sampler.h"

namespace sedum {

class SampledAnswers : public Decoding {
 public:
  SampledAnswers(const DecodingSetting& setting, GenerationRequest request, Emit emit);
  int64_t logit_rows(const Line& line, int64_t begin, int64_t rows) const override;
  int64_t most_rows() const override;
  void advance(Unit& unit, std::span<const Computed> computed) override;
  void abort(FinishReason reason, const std::string& error) override;

 private:
  struct Answer {
    Answer(int i, const DecodingSetting& setting, SamplingParams sampling);
    int index;
    AnswerText text;
    Sampler sampler;
    int made = 0;
    int grammar_state = 0;
    double logprobs = 0;  // sum, where answers are ranked
    bool finished = false;
    std::vector<GenerationUpdate> kept = {};  // where answers are ranked: until all are finished
  };
  bool ranked() const { return int(answers_.size()) > request_.sampling.n; }
  void read_prompt(const Computed& computed);
  void begin_answers(Unit& prompt, std::span<float> logits);
  void judge(Unit& unit, Answer& answer, const Computed& computed);
  bool take(Answer& answer, Line& line, std::span<float> logits);
  void give(Answer& answer, GenerationUpdate update);
  void finish(Answer& answer, FinishReason reason, const std::string& error = "");
  void give_best();

  std::vector<Answer> answers_;
  std::vector<TokenLogprobs> prompt_logprobs_;
  bool begun_ = false;
};

}  // namespace sedum
