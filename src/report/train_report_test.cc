#include "report/train_report.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::report {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Runs : public testing::Test {
 protected:
  Runs() : folder_(fs::temp_directory_path() / ("sedum_report_" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~Runs() override { fs::remove_all(folder_); }
  fs::path run(const std::string& name, const std::string& metrics, const std::string& lineage = "") {
    fs::create_directories(folder_ / name);
    write_file(folder_ / name / "metrics.jsonl", metrics);
    if (!lineage.empty()) write_file(folder_ / name / "run.json", lineage);
    return folder_ / name;
  }
  fs::path sample(const std::string& name, double rate) {
    std::string metrics = "{\"step\":0,\"eval_loss\":4.5,\"eval_perplexity\":90}\n";
    for (int step = 1; step <= 20; ++step)
      metrics += "{\"step\":" + std::to_string(step) + ",\"loss\":" + std::to_string(4 - step * rate) +
                 ",\"grad_norm\":" + (step == 3 ? "null" : "1.5") +
                 ",\"learning_rate\":0.001,\"tokens\":512,\"tokens_seen\":" + std::to_string(512 * step) +
                 ",\"tokens_per_second\":900}\n";
    return run(name, metrics + "{\"step\":20,\"eval_loss\":2.25,\"eval_perplexity\":9.5}\n",
               "{\"base_model\":\"/models/tiny.gguf\",\"config\":{\"learning_rate\":" + std::to_string(rate) +
                   ",\"adam_beta1\":0.8999999761581421,\"weight_decay\":0.1,\"stage\":\"sft\",\"data\":{\"train\":[\"a."
                   "jsonl\"]}},\"instruction_set\":\"avx2\","
                   "\"data\":{\"parameters\":1500000},\"result\":{\"peak_bytes\":3000000}}");
  }
  std::string problem(const fs::path& folder) {
    try {
      read_run(folder);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  fs::path folder_;
};

TEST_F(Runs, AreReadAsTheyWereWritten) {
  const RunRecord run = read_run(sample("a", 0.1));
  EXPECT_EQ(run.name, "a");
  EXPECT_EQ(run.series.at("loss").xs.size(), 20u);
  EXPECT_TRUE(std::isnan(run.series.at("grad_norm").ys[2]));
  EXPECT_EQ(run.last("eval_loss"), 2.25);
  EXPECT_EQ(run.smallest("eval_loss"), std::pair(20.0, 2.25));
  EXPECT_EQ(run.median("tokens_per_second"), 900);
  EXPECT_EQ(run.config.at("data.train"), "[\"a.jsonl\"]");
  EXPECT_EQ(run.config.at("adam_beta1"), "0.9");  // of a float
  EXPECT_EQ(run.config.at("weight_decay"), "0.1");
  EXPECT_EQ(run.figure("result.peak_bytes"), 3e6);
  EXPECT_TRUE(std::isnan(run.figure("instruction_set")));
  EXPECT_TRUE(std::isnan(run.last("nothing")));
  EXPECT_EQ(read_run(folder_ / "a" / "").name, "a");
}

TEST_F(Runs, BrokenOnesAreRefusedWithTheLine) {
  EXPECT_THAT(problem(folder_ / "none"), HasSubstr("metrics.jsonl is missing"));
  EXPECT_THAT(problem(run("empty", "")), HasSubstr("no step yet"));
  EXPECT_THAT(problem(run("bad", "{\"step\":1,\"loss\":2}\nnot json\n")), HasSubstr("metrics.jsonl:2"));
  EXPECT_THAT(problem(run("list", "[1]\n")), HasSubstr("metrics.jsonl:1"));
  EXPECT_THAT(problem(run("text_step", "{\"step\":\"x\"}\n")), HasSubstr("metrics.jsonl:1"));
  EXPECT_THAT(problem(run("lineage", "{\"step\":1,\"loss\":2}\n", "[]")), HasSubstr("run.json"));
  EXPECT_EQ(problem(run("growing", "{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo")), "");
}

TEST(Thinned, KeepsMeans) {
  RunSeries series;
  for (int i = 0; i < 1000; ++i) series.xs.push_back(i), series.ys.push_back(2 * i);
  const RunSeries thin = thinned(series, 10);
  ASSERT_EQ(thin.xs.size(), 10u);
  EXPECT_DOUBLE_EQ(thin.xs[0], 49.5);
  EXPECT_DOUBLE_EQ(thin.ys[9], 2 * 949.5);
  EXPECT_EQ(thinned(series, 2000).xs.size(), 1000u);
}

TEST_F(Runs, ReportNamesWhatDiffers) {
  const std::vector<RunRecord> runs{read_run(sample("a", 0.1)), read_run(sample("b", 0.15))};
  const Document report = train_report(runs, "A <b>");
  report.save(folder_ / "r.md");
  const std::string text = read_file(folder_ / "r.md");
  EXPECT_THAT(
      text,
      HasSubstr(
          "| a | 20 | 10.2 K | 2.05 | 4.5 → 2.25 | 2.25 (20) | 900 | 3.00 MB |"));  // the last tenth: steps 19, 20
  EXPECT_THAT(text, HasSubstr("| learning_rate | 0.1 | 0.15 |"));
  EXPECT_THAT(text, testing::Not(HasSubstr("| stage | sft")));  // the same in both
  EXPECT_TRUE(fs::exists(folder_ / "r_files" / "curves.svg"));
  const std::string html = report.html();
  EXPECT_THAT(html, HasSubstr("<h1>A &lt;b&gt;</h1>"));
  EXPECT_THAT(html, HasSubstr("data:image/svg+xml;base64,PD94bWwg"));  // "<?xml "
  EXPECT_TRUE(report.pdf().starts_with("%PDF-"));
  EXPECT_TRUE(report.pdf() == report.pdf());
  EXPECT_THROW(report.save(folder_ / "r.doc"), Error);
}

TEST_F(Runs, LongTablesTakeSeveralPages) {
  Document document("long");
  Table table({"key", "value"});
  for (int i = 0; i < 90; ++i) table.row({"key " + std::to_string(i), std::string(20, 'x')});
  document.table(table);
  EXPECT_TRUE(document.pdf().find("/Count 3") != std::string::npos);
}

}  // namespace
}  // namespace sedum::report
