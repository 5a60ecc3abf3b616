// 第 1 周第 7 天  复盘：按“矩阵 → 概率 → 优化”整理成一张思维导图
//
// 导图不是手画的：叶子是本周各课在 result.json 里留下的断言。一课没有通过，或者没有结果，导图就画不出来：
// 知道一件事，意思是说得出它，也验得了它。
#include <filesystem>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "course/frame/lesson.h"
#include "report/diagram.h"

using namespace sedum;
using course::Lesson;

// 课的位置，和它在图上的几个要点：每个要点是一条断言名字里的一段，断言成立，要点才能上图。
struct Topic {
  std::string place, name;
  std::vector<std::pair<std::string, std::string>> points;  // 图上的字，断言里的字
};
struct Branch {
  std::string name;
  std::vector<Topic> topics;
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "第 1 周复盘：数学基础思维导图",
                 .difficulty = "知识点零散，没有逻辑",
                 .remedy = "按“矩阵 → 概率 → 优化”梳理，每个叶子都连到一节通过了的课",
                 .bugs = {{"leaf", "图上多了一片叶子，没有哪条断言支持它"}, {"place", "一节课的位置写错了"}}});
  std::vector<Branch> branches = {
      {"矩阵",
       {{"week1/day1/matrix_eigen",
         "特征值分解 A v = λ v",
         {{"对称 → 特征向量垂直", "对称矩阵的特征向量互相垂直"},
          {"亏损 → 方向不够", "亏损矩阵只有一个方向"},
          {"Σλ = 迹", "特征值之和等于迹"}}},
        {"week1/day2/svd_decomposition",
         "奇异值分解 A = U Σ Vᵀ",
         {{"U (m,m)，V (n,n)", "V 是 3×3"},
          {"换序得 Aᵀ", "得到的却是 Aᵀ"},
          {"A_k 是最好的秩 k 近似", "没有随机子空间胜过"}}}}},
      {"概率",
       {{"week1/day3/coin_mle_map",
         "极大似然与贝叶斯",
         {{"3/3 正面 → 极大似然 1", "极大似然是 1"},
          {"Beta(2,2) → 均值 5/7", "后验均值是 5/7"},
          {"n 大时一致", "两种估计之差"}}},
        {"week1/day4/moments",
         "期望与方差",
         {{"换元、对称、分部积分", "第三步（分部积分）"},
          {"E = np，Var = np(1−p)", "方差 = n p (1 − p)"},
          {"蒙特卡罗 ∝ 1/√N", "样本均值与 μ"}}}}},
      {"优化",
       {{"week1/day5/sgd_lr_test",
         "梯度下降与 SGD",
         {{"η < 2/λmax", "试出来的界限"}, {"小批量无偏", "无偏"}, {"太大 → 发散", "0.1 发散"}}},
        {"week1/day6/adam_optimizer",
         "Adam = 动量 + RMSProp",
         {{"偏差修正 m̂ = g", "有修正"}, {"β₁ = 0 → RMSProp", "逐位相同"}, {"与梯度尺度无关", "路径不变"}}}}}};
  if (lesson.broken("leaf"))
    branches[0].topics[0].points.push_back({"任何矩阵都有 n 个特征向量", "任何矩阵都可对角化"});
  if (lesson.broken("place")) branches[1].topics[1].place = "week1/day4/momnets";

  report::Idea root{"第 1 周\n数学基础"};
  int leaves = 0, supported = 0, passed = 0, topics = 0;
  for (const Branch& branch : branches) {
    report::Idea trunk{branch.name};
    for (const Topic& topic : branch.topics) {
      ++topics;
      // 完整运行留下的结果；--quick 也读它，因为笔记引用的就是它。
      const std::filesystem::path file = lesson.kept_results() / topic.place / "result.json";
      const auto result = std::filesystem::exists(file) ? try_parse_json(read_file(file)) : nlohmann::json();
      const bool good = result.is_object() && result.value("passed", false);
      passed += good;
      if (!good) lesson.say("  {} 没有通过的结果：先运行它", topic.place);
      report::Idea idea{topic.name + "\n" + topic.place};
      for (const auto& [text, claim] : topic.points) {
        ++leaves;
        bool holds = false;
        if (good)
          for (const auto& entry : result["claims"])
            holds =
                holds || (entry["holds"] == true && entry["name"].get<std::string>().find(claim) != std::string::npos);
        supported += holds;
        if (!holds) lesson.say("  “{}” 没有成立的断言支持", text);
        idea.parts.push_back({text});
      }
      trunk.parts.push_back(idea);
    }
    root.parts.push_back(trunk);
  }
  lesson.value("topics", topics);
  lesson.value("leaves", leaves);
  lesson.equal("每节课都有通过的结果", passed, topics);
  lesson.equal("每片叶子都有一条成立的断言", supported, leaves);
  lesson.picture("mind_map", report::MindMap(root));
  return lesson.finish();
}
