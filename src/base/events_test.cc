#include "base/events.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace sedum {
namespace {

TEST(Events, ReachEveryListenerInOrder) {
  Events events;
  std::vector<std::string> heard;
  events.listen([&](const Event& e) { heard.push_back("a " + e.kind + " " + e.data.dump()); });
  events.listen([&](const Event& e) { heard.push_back("b " + e.kind); });
  events.emit("step", {{"loss", 2}});
  EXPECT_EQ(heard, (std::vector<std::string>{"a step {\"loss\":2}", "b step"}));
}

}  // namespace
}  // namespace sedum
