#include "course/progress.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::course {
namespace {
using ::testing::HasSubstr;
namespace fs = std::filesystem;

const fs::path kPlan = fs::path(SEDUM_SOURCE_DIR) / "course/plan.tsv";

Log begun() {
  Log log;
  log.start = parse_date("2026-01-05");
  return log;
}

void pass(Log& log, Day day, const char* reason = "") {
  Entry& entry = log.at(day);
  entry = {.mark = Mark::kDone, .date = log.calendar().date_of(day), .override_reason = reason};
  if (!*reason) entry.run = Run{*entry.date, true, "0123456789abcdef", "0123456789abcdef"};
}

TEST(Plan, HasEightyRowsForEightyFourDays) {
  const Plan plan = Plan::read(kPlan);
  EXPECT_EQ(plan.rows().size(), 80u);
  EXPECT_EQ(plan.row_of({10, 5}).name(), "week10/day3-7");
  EXPECT_EQ(plan.row_of({4, 7}).increment, 22);  // 78 % to 100 %
  EXPECT_EQ(plan.row_of({10, 1}).increment, 0);
  for (const Row& row : plan.rows()) {
    EXPECT_FALSE(row.english.task.empty()) << row.name();
    EXPECT_TRUE(row.link.starts_with("code/") || row.link.starts_with("docs/")) << row.link;
  }
}

TEST(Plan, ThatDoesNotAddUpIsRefused) {
  const fs::path folder = fs::path(::testing::TempDir()) / "sedum-plan";
  fs::create_directories(folder);
  const std::string good = read_file(kPlan);
  const auto error = [&](const std::string& what, const std::string& by) -> std::string {
    std::string text = good;
    text.replace(text.find(what), what.size(), by);
    write_file(folder / "plan.tsv", text);
    try {
      Plan::read(folder / "plan.tsv");
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error("阶段1：6%\t3", "阶段1：7%\t3"), HasSubstr("plan.tsv:3: 3 % + 3 is not 7 %"));
  EXPECT_THAT(error("阶段1：6%\t3", "阶段1：6%\t4"), HasSubstr("plan.tsv:3: 3 % + 4 is not 6 %"));
  EXPECT_THAT(error("\n1\t2\t", "\n1\t3\t"), HasSubstr("plan.tsv:3: week1/day3 stands where week1/day2 is due"));
  EXPECT_THAT(error("week\tday", "weak\tday"), HasSubstr("plan.tsv:1: the columns are"));
  EXPECT_THAT(error("阶段1：6%", "六"), HasSubstr("is no progress"));
  fs::remove_all(folder);
}

TEST(Progress, FollowsThePlansOwnNumbersWeekByWeek) {
  const Plan plan = Plan::read(kPlan);
  Log log = begun();
  const int expected[kWeeks][kStages] = {{20, 0, 0},    {40, 0, 0},    {60, 0, 0},     {100, 0, 0},
                                         {100, 20, 0},  {100, 40, 0},  {100, 60, 0},   {100, 80, 0},
                                         {100, 100, 0}, {100, 100, 0}, {100, 100, 50}, {100, 100, 100}};
  for (int week = 1; week <= kWeeks; ++week) {
    for (int day = 1; day <= kDaysOfWeek; ++day) pass(log, {week, day});
    const Progress p = measure(plan, log, log.calendar().date_of({week, 7}));
    for (size_t stage = 0; stage < kStages; ++stage) {
      EXPECT_EQ(p.stages[stage].percent, expected[week - 1][stage]) << "week " << week;
      EXPECT_EQ(p.stages[stage].due, expected[week - 1][stage]) << "week " << week;
    }
    EXPECT_EQ(p.stages[1].awaiting, week == 9);
    EXPECT_EQ(p.overdue, 0);
    EXPECT_EQ(p.days_done, week * 7);
  }
  EXPECT_EQ(measure(plan, log, parse_date("2026-12-01")).rows_verified, 80);
}

TEST(Progress, StageTwoWaitsForItsAcceptanceByARun) {
  const Plan plan = Plan::read(kPlan);
  Log log = begun();
  for (int i = Day{5, 1}.index(); i <= Day{9, 7}.index(); ++i) pass(log, day_at(i));
  const auto second = [&] {
    return stage_percent(measure(plan, log, parse_date("2026-04-01")).stages[1], Language::kChinese);
  };
  EXPECT_EQ(second(), "100%（待验收）");
  pass(log, kAcceptance, "no time");  // an override does not accept
  EXPECT_EQ(second(), "100%（待验收）");
  pass(log, kAcceptance);
  EXPECT_EQ(second(), "100%");
}

TEST(Progress, OnlyDoneCounts) {
  const Plan plan = Plan::read(kPlan);
  Log log = begun();
  log.at({1, 1}) = {.mark = Mark::kDoing, .date = log.start};
  pass(log, {1, 2}, "reason");
  for (int day = 3; day <= 6; ++day) pass(log, {10, day});
  const Progress p = measure(plan, log, parse_date("2026-01-07"));
  EXPECT_EQ(p.stages[0].percent, 3);
  EXPECT_EQ(p.stages[0].due, 9);
  EXPECT_EQ(p.rows_done, 1);  // week10/day3-7 is one row, and its last day is open
  EXPECT_EQ(p.rows_verified, 0);
  EXPECT_EQ(p.days_done, 5);
  EXPECT_EQ(p.overdue, 1);  // day 1; day 3 is today's
  EXPECT_EQ(row_mark(plan.row_of({10, 3}), log), Mark::kDoing);
  EXPECT_EQ(progress_line(p, Language::kChinese),
            "阶段1：3% · 阶段2：0% · 阶段3：0% · 验证 0/80 行 · 打卡 5/84 天 · 逾期 1 天 · 免验 1 天");
}

TEST(BurnUp, IsWhatWasDoneByEachDate) {
  const Plan plan = Plan::read(kPlan);
  Log log = begun();
  pass(log, {1, 1});
  log.at({1, 1}).minutes = 50;
  pass(log, {1, 2});
  log.at({1, 2}).date = parse_date("2026-01-10"), log.at({1, 2}).late = true;
  const auto points = burn_up(plan, log, parse_date("2026-01-12"));
  ASSERT_EQ(points.size(), 84u);
  EXPECT_EQ(points[0].minutes, 50);
  EXPECT_EQ(points[4].done[0], 3);
  EXPECT_EQ(points[5].done[0], 6);
  EXPECT_EQ(points[6].due[0], 20);
  EXPECT_EQ(points.back().due[2], 100);
  EXPECT_EQ(points.back().done[0], 6);
}

}  // namespace
}  // namespace sedum::course
