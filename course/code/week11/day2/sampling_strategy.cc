// 第 11 周第 2 天  采样：温度、top-k、top-p
//
//   p_i ∝ exp(logit_i / T)      top-k：只留最大的 k 个      top-p：从大到小留，直到加起来够 p
//
// 温度把分布压平或削尖，次序不变；top-k 和 top-p 把尾巴剪掉。“采样结果不稳定”有两种：本来就是随机的（换种子就变），
// 和不该变的变了（同样的种子却不同）。后一种是错误。
#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "infer/sampler.h"
#include "report/heatmap.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "采样策略",
                 .difficulty = "采样结果不稳定",
                 .remedy = "画出分布随温度的变化，检验抽出来的确实是那个分布",
                 .bugs = {{"same_step", "每一步都用同一个随机数：第二个字总是跟着第一个"},
                          {"inverted", "乘以温度，而不是除以温度"}}});
  lesson.exercise("四个字的概率是 0.5、0.3、0.15、0.05，top_p = 0.7。留下几个？", "top_p_example");
  const int vocabulary = 40;
  std::vector<float> logits(vocabulary);
  const Random random(lesson.seed(), Purpose::kTest);
  for (int i = 0; i < vocabulary; ++i) logits[size_t(i)] = 2 * random.normal(uint64_t(i));
  // 库的采样器给出它要抽的分布：(概率, 字)。
  const auto distribution = [&](SamplingParams params) {
    if (lesson.broken("inverted") && params.temperature > 0) params.temperature = 1 / params.temperature;
    std::vector<float> copy = logits;
    return Sampler(params).distribution(copy, {});
  };
  const auto entropy = [](const auto& all) {
    double sum = 0;
    for (const auto& [p, id] : all) sum -= p > 0 ? double(p) * std::log(double(p)) : 0;
    return sum;
  };
  {
    std::vector<float> example = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
    lesson.value("top_p_example", double(Sampler({.top_p = 0.7f}).distribution(example, {}).size()),
                 "0.5 不够 0.7，0.5 + 0.3 够了");
  }

  lesson.section("温度 × top-k：熵（越大越平）");
  const std::vector<double> temperatures = {0.25, 0.5, 1, 2, 4};
  const std::vector<int> ks = {0, 20, 10, 5, 2};
  std::vector<std::vector<double>> entropies;
  for (const double t : temperatures) {
    entropies.emplace_back();
    for (const int k : ks) entropies.back().push_back(entropy(distribution({.temperature = float(t), .top_k = k})));
  }
  double not_rising = 0, above = 0;
  for (size_t i = 0; i < temperatures.size(); ++i)
    for (size_t j = 0; j < ks.size(); ++j) {
      if (i > 0) not_rising += entropies[i][j] < entropies[i - 1][j];
      if (ks[j] > 0) above += entropies[i][j] > std::log(double(ks[j])) + 1e-6;
    }
  lesson.equal("温度越高，熵越大：不成立的格子", not_rising, 0);
  lesson.equal("top-k 的熵不超过 ln k：不成立的格子", above, 0);
  lesson.value("entropy_t1", entropies[2][0]);
  lesson.value("entropy_t025", entropies[0][0]);
  lesson.value("entropy_t4", entropies[4][0], "上限是 ln 40 = 3.689");

  lesson.section("抽出来的确实是那个分布：χ² 检验");
  // χ² = Σ (看到的 − 应当的)² / 应当的。自由度 d 时平均 d，标准差 √(2d)；超过 d + 5√(2d) 的机会不到百万分之一。
  const int draws = lesson.quick() ? 5000 : 100000;
  report::Table table({"温度", "top_k", "top_p", "留下", "熵", "χ²", "上限", "不同的字（100 次）"});
  for (const SamplingParams& base :
       {SamplingParams{.temperature = 1}, SamplingParams{.temperature = 0.7f, .top_p = 0.9f},
        SamplingParams{.temperature = 1.5f, .top_k = 10},
        SamplingParams{.temperature = 1, .top_k = 20, .top_p = 0.8f}}) {
    SamplingParams params = base;
    params.seed = lesson.seed();
    std::map<int32_t, double> expected, seen;
    for (const auto& [p, id] : distribution(params)) expected[id] = double(p) * draws;
    Sampler sampler(params);
    double outside = 0, pairs_equal = 0;
    int32_t previous = -1;
    std::map<int32_t, int> first_hundred;
    for (int i = 0; i < draws; ++i) {
      std::vector<float> copy = logits;
      const int32_t id = sampler.sample(copy, {}, lesson.broken("same_step") ? 0 : uint64_t(i));
      seen[id] += 1, outside += expected.count(id) == 0, pairs_equal += id == previous, previous = id;
      if (i < 100) first_hundred[id] += 1;
    }
    double chi = 0, degrees = -1;
    for (const auto& [id, count] : expected)
      if (count >= 5) chi += std::pow(seen[id] - count, 2) / count, degrees += 1;  // 太少的格子不适用
    const double limit = degrees + 5 * std::sqrt(2 * degrees);
    table.row({fmt::format("{}", params.temperature), fmt::format("{}", params.top_k), fmt::format("{}", params.top_p),
               std::to_string(expected.size()), fmt::format("{:.3f}", entropy(distribution(params))),
               fmt::format("{:.1f}", chi), fmt::format("{:.1f}", limit), std::to_string(first_hundred.size())});
    const std::string name =
        fmt::format("T = {}，top_k = {}，top_p = {}", params.temperature, params.top_k, params.top_p);
    lesson.at_most(name + "：χ²", chi, limit);
    lesson.equal(name + "：抽到被剪掉的字", outside, 0);
  }
  lesson.table(table);

  lesson.section("同样的种子，同样的结果");
  const auto answer = [&](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<int32_t> ids;
    for (uint64_t i = 0; i < 50; ++i) {
      std::vector<float> copy = logits;
      ids.push_back(sampler.sample(copy, {}, i));
    }
    return ids;
  };
  lesson.claim("种子相同：五十个字都相同", answer(7) == answer(7));
  lesson.claim("种子不同：不同", answer(7) != answer(8));
  std::vector<float> greedy = logits;
  lesson.equal("温度 0：总是最大的那个", double(Sampler({.temperature = 0}).sample(greedy, {}, 0)),
               double(argmax(logits)));

  std::vector<std::string> rows, columns;
  for (const double t : temperatures) rows.push_back("T = " + report::short_number(t));
  for (const int k : ks) columns.push_back(k ? std::to_string(k) : "全部");
  report::Heatmap heat("熵", entropies);
  heat.rows(rows).columns(columns, "top_k");
  report::Plot plot("温度削尖或压平，次序不变", "按概率排的名次", "概率");
  for (const double t : {0.5, 1.0, 2.0}) {
    auto all = distribution({.temperature = float(t)});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    report::Values rank, p;
    for (size_t i = 0; i < 20; ++i) rank.push_back(double(i + 1)), p.push_back(double(all[i].first));
    plot.line("T = " + report::short_number(t), rank, p);
  }
  lesson.picture("sampling", report::Figure("", 2).add(plot).add(heat));
  return lesson.finish();
}
