#pragma once
// Guesses of the next tokens, which one step of the model then judges all at once (speculative decoding).
//
//   LookupDrafter drafter(8);
//   drafter.draft(units);                // guesses are on the units' lines
//
// What is drawn does not depend on them: see SampledAnswers::judge. A good guess only saves a step.

#include <span>

#include "infer/decoding.h"
#include "model/runtime_model.h"

namespace sedum {

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Each unit has one line that lacks its last token only. `room`: guesses that its context still takes.
  struct Target {
    Unit* unit;
    int64_t room;
    uint64_t root;  // of the prefix cache
  };
  virtual void draft(std::span<const Target> targets) = 0;
};

// What followed when the last tokens stood here before: copies, quotes, code (Saxena: "Prompt Lookup Decoding", 2023).
class LookupDrafter : public Drafter {
 public:
  explicit LookupDrafter(int most) : most_(most) {}
  void draft(std::span<const Target> targets) override;
  // At most `most` tokens after the latest earlier place of the last 4, 3 or 2 tokens; empty when there is none.
  static std::vector<int32_t> look_up(std::span<const int32_t> tokens, int64_t most);

 private:
  int most_;
};

// A smaller model with the same tokens. It draws with the random number that the judging model will use, so that the two agree wherever their
// distributions do.
class ModelDrafter : public Drafter {
 public:
  // Error when the two models' tokens differ. cache_tokens: room for its own keys and values.
  ModelDrafter(const RuntimeModel& model, const RuntimeModel& judge, int most, int64_t cache_tokens,
               int64_t step_tokens);
  void draft(std::span<const Target> targets) override;

 private:
  struct Guess;
  void step(std::span<Guess*> guesses);

  const RuntimeModel& model_;
  int most_;
  int64_t step_tokens_, vocab_size_;
  Context context_;
  PagedCache cache_;
};

}  // namespace sedum
