// Who waits for whom: prompts under way let answers go on, long prompts let short ones pass, and who came first gets the pages.

#include <future>
#include <mutex>

#include <gtest/gtest.h>

#include "infer/local_engine.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

class Fairness : public ::testing::Test {
 protected:
  explicit Fairness() : model_(runtime_, testing::tiny_model(), {.compute = Compute::kF32}) {}

  void start(EngineOptions options) { engine_ = std::make_unique<LocalEngine>(model_, options); }

  static GenerationRequest request(int64_t prompt, int tokens, int first) {
    GenerationRequest r;
    for (int64_t i = 0; i < prompt; ++i) r.prompt.push_back(int32_t((first + i * 7) % 320));
    r.sampling.temperature = 0, r.sampling.max_tokens = tokens, r.sampling.ignore_end = true;
    return r;
  }
  // Each token is written down by the request's name, in the order in which the engine makes them.
  void submit(char name, const GenerationRequest& r) {
    engine_->submit(r, [this, name](const GenerationUpdate& u) {
      if (u.id >= 0) made_ += name;
      if (u.last) ended_ += name;
      if (u.last && ended_.size() == expected_) all_.set_value();
    });
  }
  // What `others` submit is there before the engine's next step: the listener of this one's first token holds it up until then.
  template <class Others>
  void while_one_is_under_way(char name, const GenerationRequest& r, size_t expected, Others&& others) {
    expected_ = expected;
    std::promise<void> reached, released;
    bool first = true;
    engine_->submit(r, [&, name](const GenerationUpdate& u) {
      if (u.id >= 0) made_ += name;
      if (u.last) ended_ += name;
      if (first) reached.set_value(), released.get_future().wait();
      first = false;
      if (u.last && ended_.size() == expected_) all_.set_value();
    });
    reached.get_future().wait();
    others();
    released.set_value();
    all_.get_future().wait();
    engine_.reset();
  }
  // How often `name` came before `other` did first.
  int64_t before(char name, char other) const {
    return std::count(made_.begin(), made_.begin() + int64_t(made_.find(other)), name);
  }

  Runtime runtime_{1};
  RuntimeModel model_;
  std::unique_ptr<LocalEngine> engine_;
  std::string made_, ended_;  // on the engine's thread, until all have ended
  size_t expected_ = 0;
  std::promise<void> all_;
};

// A prompt of 220 tokens takes 15 steps of 16 with an answer beside it, which gets a token in each.
TEST_F(Fairness, AnswersGoOnWhilePromptsAreRead) {
  start({.step_tokens = 16});
  while_one_is_under_way('a', request(3, 60, 1), 2, [&] { submit('p', request(220, 1, 2)); });
  EXPECT_GE(before('a', 'p'), 15);
}

TEST_F(Fairness, ShortPromptsPassALongOne) {
  start({.step_tokens = 64});
  while_one_is_under_way('x', request(3, 1, 1), 3, [&] {
    submit('l', request(220, 4, 2));
    submit('s', request(5, 4, 3));
  });
  EXPECT_EQ(made_.substr(0, 4), "xsss");  // 220 tokens are four steps of 59 to 64
}

// Steps hold two long prompts at a time; the short one's turn comes when all but one in front of it are through, not last of all.
TEST_F(Fairness, NobodyIsOvertakenForEver) {
  start({.step_tokens = 64});
  while_one_is_under_way('x', request(3, 1, 1), 8, [&] {
    for (const char name : {'a', 'b', 'c'}) submit(name, request(220, 1, name));
    submit('s', request(5, 1, 3));
    for (const char name : {'d', 'e', 'f'}) submit(name, request(220, 1, name));
  });
  EXPECT_LT(made_.find('s'), made_.find('c'));
  EXPECT_EQ(ended_.size(), 8u);
  std::string long_ones;
  for (const char name : ended_)
    if (name != 's' && name != 'x') long_ones += name;
  EXPECT_EQ(long_ones, "abcdef");
}

// Pages for one and a third of them: who came first keeps its pages, whose were taken come back, and all end in their order.
TEST_F(Fairness, PagesGoToWhoCameFirst) {
  start({.context_length = 128, .cache_tokens = 128, .step_tokens = 64});
  while_one_is_under_way('x', request(3, 1, 1), 7, [&] {
    for (const char name : {'a', 'b', 'c', 'd', 'e', 'f'}) submit(name, request(30, 66, name));
  });
  EXPECT_EQ(ended_, "xabcdef");
  for (const char name : {'a', 'f'}) EXPECT_EQ(std::count(made_.begin(), made_.end(), name), 66);
}

}  // namespace
}  // namespace sedum
