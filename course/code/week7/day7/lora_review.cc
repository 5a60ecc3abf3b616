// 第 7 周复盘  人工评估：盲评流畅度和相关性，两个人，加权 κ
//
//   κ = 1 − Σ w_ij o_ij / Σ w_ij e_ij        w_ij = (i − j)² / (k − 1)²，o：两人打的分，e：各打各的、碰巧的
//
// 人打的分要先过三关才能信：不知道哪个是谁（盲）；左右随机，偏心左边的人占不了便宜；两个人各打各的，分数合得上（κ）。
// 这里的分数是造出来的：真正的好坏、每个人的偏心和手抖都事先种下，所以方法对不对可以查。换成真人的分数，程序是同一个：
// 结果的文件夹里有盲评表 sheet.tsv 和答案 key.tsv。 Cohen：Weighted kappa，1968
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/heatmap.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
using Scores = std::vector<int>;  // 1 到 5

constexpr int kPoints = 5;

// weight(i, j)：差一分、差两分……有多严重。
template <class F>
double kappa(const Scores& a, const Scores& b, F weight) {
  std::vector<double> of_a(kPoints + 1), of_b(kPoints + 1);
  double seen = 0, chance = 0;
  for (size_t n = 0; n < a.size(); ++n) ++of_a[size_t(a[n])], ++of_b[size_t(b[n])], seen += weight(a[n], b[n]);
  for (int i = 1; i <= kPoints; ++i)
    for (int j = 1; j <= kPoints; ++j) chance += of_a[size_t(i)] * of_b[size_t(j)] / double(a.size()) * weight(i, j);
  return 1 - seen / chance;
}
double squares(int i, int j) { return double((i - j) * (i - j)) / ((kPoints - 1) * (kPoints - 1)); }
double equal_or_not(int i, int j) { return i == j ? 0 : 1; }

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "人工评估：盲评与 κ",
                 .difficulty = "微调效果评估难",
                 .remedy = "流畅度和相关性各打 1 到 5 分，盲评，两个人，看加权 κ",
                 .bugs = {{"unblinded", "微调后的总放在左边：偏心左边的人给它加了分"},
                          {"agreement", "用“打得一样的百分比”代替 κ：乱打也像合得上"},
                          {"key", "揭盲时答案表错了一行：分数记到了别人头上"}}});
  lesson.exercise("两人打分 (1,1) (1,1) (1,2) (2,2) (2,2) (2,3) (3,3) (3,3)，平方加权的 κ 是多少？", "kappa_by_hand");
  lesson.predict("第二个人总是严一分，其余都一样。不加权的 κ 是多少？", "kappa_plain_fluency");
  const auto agreement = [&](const Scores& a, const Scores& b) {
    if (!lesson.broken("agreement")) return kappa(a, b, squares);
    double same = 0;
    for (size_t i = 0; i < a.size(); ++i) same += a[i] == b[i];
    return same / double(a.size());
  };

  lesson.section("一、κ 的三个已知答案");
  // 三类的例子：看到的差 2 · 1/4 ÷ 8；碰巧的差 20.5/64（行 3 3 2，列 2 3 3）。权重的分母约掉，五类的公式给出同一个数。
  const Scores first = {1, 1, 1, 2, 2, 2, 3, 3}, second = {1, 1, 2, 2, 2, 3, 3, 3};
  const double by_hand = lesson.value("kappa_by_hand", agreement(first, second), "33/41");
  lesson.between("手算的例子：33/41", by_hand, 33.0 / 41 - 1e-12, 33.0 / 41 + 1e-12);
  const Random random(lesson.seed(), Purpose::kTest);
  const size_t many = lesson.quick() ? 2000 : 20000;
  Scores one(many), other(many);
  for (size_t i = 0; i < many; ++i)
    one[i] = 1 + int(random.below(5, 2 * i)), other[i] = 1 + int(random.below(5, 2 * i + 1));
  lesson.value("kappa_random", agreement(one, other), "两个人都乱打");
  // 平方加权的 κ 约等于相关系数，乱打时标准差 1/√n；取五倍。
  lesson.at_most("两个人都乱打：κ 是 0（取绝对值）", std::abs(agreement(one, other)), 5 / std::sqrt(double(many)));
  lesson.equal("两个人打得一样：κ 是 1", kappa(one, one, squares), 1);

  lesson.section("二、盲评：左右随机，偏心的人占不了便宜");
  // 种下的：n 个问题，微调前后两份回答。流畅度微调后高 0.2，相关性高 0.8；两个人都偏心左边 0.6 分；第二个人严一分；手抖 0.5。
  const size_t questions = lesson.quick() ? 400 : 1000;
  const double planted[2] = {0.2, 0.8}, bias = 0.6, shaking = 0.5;
  const char *names[2] = {"流畅度", "相关性"}, *keys[2] = {"fluency", "relevance"};
  std::vector<bool> tuned_left(questions);
  std::string sheet = "question\tside\tfluency\trelevance\n", key = "question\tleft\n";
  for (size_t q = 0; q < questions; ++q) {
    tuned_left[q] = lesson.broken("unblinded") || random.below(2, 1u << 20 | q) == 1;
    if (q < 12) {
      for (const char* side : {"left", "right"}) sheet += fmt::format("{}\t{}\t\t\n", q + 1, side);
      key += fmt::format("{}\t{}\n", q + 1, tuned_left[q] ? "tuned" : "base");
    }
  }
  write_file(lesson.out() / "sheet.tsv", sheet), write_file(lesson.out() / "key.tsv", key);
  report::Table table({"", "种下的差", "量到的差", "± 标准误", "κ（平方加权）", "κ（不加权）"});
  std::vector<report::Heatmap> maps;
  report::Values means, low, high;
  for (int c = 0; c < 2; ++c) {
    Scores by[2];  // 每个人：先左后右，一题一题
    const auto noise = [&](uint64_t index) { return double(random.normal(index + (uint64_t(c) << 40))); };
    for (size_t q = 0; q < questions; ++q)
      for (int side = 0; side < 2; ++side) {
        const bool tuned = tuned_left[q] == (side == 0);
        const double good = 3 + noise(q * 8) + (tuned ? planted[c] : 0);
        for (int rater = 0; rater < 2; ++rater)
          by[rater].push_back(int(std::clamp(std::round(good - rater + (side == 0 ? bias : 0) +
                                                        shaking * noise(q * 8 + 1 + uint64_t(side * 2 + rater))),
                                             1.0, 5.0)));
      }
    // 揭盲：每题微调后减微调前，两个人平均。
    double sum = 0, sum2 = 0;
    for (size_t q = 0; q < questions; ++q) {
      const bool left = tuned_left[lesson.broken("key") ? (q + 1) % questions : q];
      const double left_less_right = (by[0][2 * q] + by[1][2 * q] - by[0][2 * q + 1] - by[1][2 * q + 1]) / 2.0;
      const double d = left ? left_less_right : -left_less_right;
      sum += d, sum2 += d * d;
    }
    const double n = double(questions), mean = sum / n, error = std::sqrt((sum2 / n - mean * mean) / n);
    const double weighted = agreement(by[0], by[1]), plain = kappa(by[0], by[1], equal_or_not);
    lesson.value(fmt::format("difference_{}", keys[c]), mean, "微调后 − 微调前"),
        lesson.value(fmt::format("error_{}", keys[c]), error);
    lesson.value(fmt::format("kappa_{}", keys[c]), weighted, "两人的加权 κ");
    lesson.value(fmt::format("kappa_plain_{}", keys[c]), plain);
    // 五个标准误，再加分数只有 1 到 5：顶到头的分吃掉差的一部分，最多三成（高于 4.5 或低于 1.5 的不到三成）。
    lesson.between(fmt::format("{}：盲评量回种下的差，左边的偏心抵消了", names[c]), mean, 0.7 * planted[c] - 5 * error,
                   planted[c] + 5 * error);
    lesson.claim(fmt::format("{}：只差严一分的两个人，加权 κ 比不加权的高", names[c]), weighted > plain);
    table.row({names[c], fmt::format("{:.1f}", planted[c]), fmt::format("{:.2f}", mean), fmt::format("{:.2f}", error),
               fmt::format("{:.2f}", weighted), fmt::format("{:.2f}", plain)});
    means.push_back(mean), low.push_back(mean - 2 * error), high.push_back(mean + 2 * error);
    std::vector<std::vector<double>> counts(kPoints, std::vector<double>(kPoints));
    for (size_t i = 0; i < by[0].size(); ++i) ++counts[size_t(by[0][i] - 1)][size_t(by[1][i] - 1)];
    maps.emplace_back(fmt::format("{}：两个人的分数，κ = {:.2f}", names[c], weighted), counts);
    maps.back()
        .rows({"1", "2", "3", "4", "5"}, "第一个人")
        .columns({"1", "2", "3", "4", "5"}, "第二个人")
        .cell({44, 34});
  }
  lesson.table(table);
  double lefts = 0;
  for (const bool left : tuned_left) lefts += left;
  lesson.value("left_percent", 100 * lefts / double(questions), "微调后的放在左边的");
  // 二项分布，五个标准差。
  lesson.between("左右各一半", lefts / double(questions), 0.5 - 2.5 / std::sqrt(double(questions)),
                 0.5 + 2.5 / std::sqrt(double(questions)));
  report::Plot bars("微调后 − 微调前（竖线：两个标准误）", "", "分");
  bars.categories({"流畅度", "相关性"}).bars("量到的", means).bars("种下的", {planted[0], planted[1]});
  for (size_t c = 0; c < 2; ++c) bars.line("", {double(c) - 0.2, double(c) - 0.2}, {low[c], high[c]});
  lesson.picture("ratings", report::Figure("", 3).add(maps[0]).add(maps[1]).add(bars.sized({340, 290})));
  return lesson.finish();
}
