#include "base/process.h"

#include <filesystem>

#include <gmock/gmock.h>

namespace sedum {
namespace {

TEST(Process, GivesOutputAndExitCode) {
  const ProcessResult result =
      run_process({"sh", "-c", "echo $SEDUM_X; echo error >&2; exit 3"}, {.environment = {"SEDUM_X=a b"}});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.output, "a b\nerror\n");
  EXPECT_EQ(run_process({"sedum-no-such-program"}).exit_code, 127);
  EXPECT_EQ(run_process({"cat"}).output, "");  // there is nothing to read
  const ProcessResult much = run_process({"sh", "-c", "seq 100000"});
  EXPECT_LE(much.output.size(), size_t{64 << 10});
  EXPECT_THAT(much.output, ::testing::EndsWith("100000\n"));
}

TEST(Process, IsEndedByItsTick) {
  EXPECT_EQ(run_process({"sleep", "60"}, {.tick = [] { return false; }}).exit_code, 128 + 15);
}

TEST(Process, RunsWhereItIsToldWithTheInputItIsGiven) {
  EXPECT_EQ(run_process({"pwd"}, {.directory = "/"}).output, "/\n");
  EXPECT_EQ(run_process({"pwd"}, {.directory = "/no/such/folder"}).exit_code, 127);
  EXPECT_EQ(run_process({"cat"}, {.input = "一\n"}).output, "一\n");
}

TEST(Process, TellsWhatIsWrittenAsItComes) {
  std::string heard;
  run_process({"sh", "-c", "echo one; echo two"}, {.output = [&](std::string_view piece) { heard += piece; }});
  EXPECT_EQ(heard, "one\ntwo\n");
}

// A child of the program holds the pipe too: only the group's end is the end of the output.
TEST(Process, IsEndedWithItsChildren) {
  const auto result = run_process({"sh", "-c", "sleep 60 & wait"}, {.tick = [] { return false; }, .group = true});
  EXPECT_EQ(result.exit_code, 128 + 15);
}

}  // namespace
}  // namespace sedum
