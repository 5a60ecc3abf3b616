#include "cli/run_view.h"

#include <cmath>
#include <cstdlib>

#include <gmock/gmock.h>

#include "base/json.h"
#include "cli/dashboard.h"
#include "http/client.h"

namespace sedum::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

void tell(RunView& view, const std::string& kind, const json& data) { view.hear({kind, data}); }

json step(int64_t step, double loss) {
  return {{"step", step},          {"total", 8},
          {"loss", loss},          {"grad_norm", 0.5},
          {"tokens", 100},         {"seconds", step == 1 ? 9.0 : 0.5},
          {"learning_rate", 1e-4}, {"memory_bytes", 2000000}};
}

TEST(Sparkline, IsACurveOfMeans) {
  EXPECT_EQ(sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(sparkline({0, 0, 7, 7}, 2), "▁█");
  EXPECT_EQ(sparkline({1, NAN, 1}, 9), "▄▄");
  EXPECT_EQ(sparkline({}, 9), "");
}

TEST(RunView, SaysWhereTheRunIs) {
  RunView view({.peak_flops = 1000, .flops_per_token = 2, .forecast_bytes = 3000000});
  EXPECT_TRUE(view.lines(80).empty());
  tell(view, "start", {{"steps", 8}});
  for (int i = 1; i <= 4; ++i) tell(view, "step", step(i, 5.0 - i));
  tell(view, "eval", {{"step", 4}, {"eval_loss", 1.5}});
  EXPECT_DOUBLE_EQ(view.tokens_per_second(), 200);  // without the first step, which was slow
  EXPECT_DOUBLE_EQ(view.share(), 0.4);
  EXPECT_DOUBLE_EQ(view.seconds_left(), 2);
  std::string all;
  for (const std::string& line : view.lines(80)) all += line + "\n";
  for (const char* part : {"4 of 8 (50 %), 2.0 s left", "loss    1.0000", "eval 1.5000", "40 % of this machine's peak",
                           "2.00 MB of 3.00 MB forecast", "█"})
    EXPECT_THAT(all, HasSubstr(part));
}

// What the page polls: new steps alone, and all else.
TEST(Dashboard, AnswersWithThePageAndTheRun) {
  RunView view({});
  const Dashboard dashboard(view, 0);
  tell(view, "start", {{"steps", 8}});
  for (int i = 1; i <= 3; ++i) tell(view, "step", step(i, i == 2 ? NAN : 5.0 - i));
  tell(view, "sample", {{"step", 3}, {"prompt", "a"}, {"text", "<b>"}});
  setenv("no_proxy", "*", 1);
  const auto get = [&](const std::string& path) { return http::get(dashboard.address() + path); };
  EXPECT_THAT(get("/"), HasSubstr("<title>Sedum: training</title>"));
  const json run = parse_json(get("/run?since=1"));
  ASSERT_EQ(run["steps"].size(), 2u);
  EXPECT_TRUE(run["steps"][0]["loss"].is_null());  // no number
  EXPECT_EQ(run["steps"][1]["loss"], 2.0);
  EXPECT_EQ(run["samples"][0]["text"], "<b>");
  EXPECT_EQ(run["now"]["total"], 8);
  EXPECT_TRUE(run["end"].is_null());
  EXPECT_EQ(parse_json(get("/run"))["steps"].size(), 3u);
  EXPECT_EQ(parse_json(get("/run?since=x"))["steps"].size(), 3u);
}

}  // namespace
}  // namespace sedum::cli
