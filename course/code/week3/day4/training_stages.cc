// 第 3 周第 4 天  预训练 → 指令微调 → 偏好对齐
//
//   预训练 (PT)：  −log p(下一个字 | 前文)，每个字都算。学会语言和事实
//   指令微调 (SFT)：同一个损失，只在回答上算。学会“被问到就回答”
//   偏好 (DPO)：   −log σ(β [log π(好)/π₀(好) − log π(差)/π₀(差)])。学会两种回答里更喜欢哪一种
//
// 三个阶段是同一个模型、同一套参数，换的只是数据和损失。对照：没有预训练，直接从随机参数开始微调。
#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> all;
  for (const char c : text) {
    if ((uint8_t(c) & 0xC0) != 0x80) all.emplace_back();
    all.back() += c;
  }
  return all;
}

// 一个小世界：12 种植物，各有喜欢的光和水。
const std::vector<std::string> kPlants = {"芦荟", "玉露", "石莲", "绿萝", "文竹", "薄荷",
                                          "吊兰", "茉莉", "兰花", "月季", "菊花", "竹芋"};
const std::vector<std::string> kLight = {"强", "弱"}, kWater = {"多", "少"};
std::string fact(int plant, int kind) {  // kind 0：光，1：水
  return kind == 0 ? kLight[size_t(plant * 7 / 3 % 2)] : kWater[size_t(plant * 5 / 2 % 2)];
}

// 记号表、模型、优化器放在一起：三个阶段都在它上面继续。
struct Learner {
  Learner(const std::map<std::string, int32_t>& vocabulary, uint64_t seed)
      : runtime(1), factory(runtime.pool, runtime.arena, seed), ids(vocabulary) {
    ModelConfig c;
    c.model_type = "llama", c.vocab_size = int64_t(ids.size()), c.hidden_size = 32, c.intermediate_size = 64;
    c.num_hidden_layers = 2, c.num_attention_heads = 2, c.num_key_value_heads = 2, c.head_dim = 16;
    model = build_model(c, factory);
  }
  // prompt 之后的 answer 上有损失；prompt 为空就是每个字都有。
  data::StepBatch encode(const std::vector<std::pair<std::string, std::string>>& rows) const {
    data::StepBatch batch;
    for (const auto& [prompt, answer] : rows) {
      const auto text = characters(prompt + answer);
      const size_t free = characters(prompt).size();
      batch.segments.push_back({int32_t(batch.ids.size()), int32_t(text.size())});
      for (size_t i = 0; i < text.size(); ++i) {
        batch.ids.push_back(ids.at(text[i])), batch.positions.push_back(int32_t(i));
        const bool labelled = i + 1 < text.size() && i + 1 >= std::max<size_t>(free, 1);
        batch.targets.push_back(labelled ? ids.at(text[i + 1]) : data::kIgnored);
        batch.label_tokens += labelled;
      }
    }
    return batch;
  }
  double loss(const std::pair<std::string, std::string>& row) {  // −log p(回答)，各字之和
    const data::StepBatch batch = encode({row});
    data::Sample sample{batch.ids, batch.ids};
    for (size_t i = 0; i < batch.ids.size(); ++i)
      sample.labels[i] = i > 0 && batch.targets[i - 1] != data::kIgnored ? batch.ids[i] : data::kIgnored;
    Context ctx = runtime.context(Compute::kF32);
    return evaluate_loss(ctx, *model, {sample}) * double(batch.label_tokens);
  }
  // 梯度 weight · ∇Σ(−log p)：weight 可以为负，那就是让它变得更不可能。
  double gather(const data::StepBatch& batch, double weight) {
    Context ctx = runtime.context(Compute::kF32);
    return train_on(ctx, tape, *model, batch, 1 / weight, false);
  }
  void step(Optimizer& optimizer, float rate, int64_t at) {
    Context ctx = runtime.context(Compute::kF32);
    optimizer.step(ctx, rate, clip_scale(optimizer.gradient_norm(ctx), 1), at);
  }
  std::unique_ptr<Optimizer> optimizer() {
    Context ctx = runtime.context(Compute::kF32);
    return make_optimizer(ctx, factory.parameters(), {});
  }
  Runtime runtime;
  RandomFactory factory;
  std::map<std::string, int32_t> ids;
  std::unique_ptr<CausalModel> model;
  Tape tape;
};

int main(int argc, char** argv) {
  Lesson lesson(
      argc, argv,
      {.title = "预训练、微调、对齐",
       .difficulty = "预训练与微调的关系混淆",
       .remedy = "同一个小模型走完三个阶段，与从零微调对照",
       .bugs = {{"swapped", "DPO 把好的和差的弄反了"}, {"fresh", "微调前忘了载入预训练的参数：从随机参数开始"}}});
  lesson.predict("预训练过的模型，微调到同样的损失，步数是从零开始的几分之一（小数）？", "steps_ratio");

  // 三种数据。预训练：陈述句；微调：问答，干脆和啰嗦的回答各一半；偏好：同一个问题，干脆的好，啰嗦的差。
  const auto statement = [](int p) { return kPlants[size_t(p)] + "光" + fact(p, 0) + "水" + fact(p, 1) + "。"; };
  const auto question = [](int p, int kind) { return "问" + kPlants[size_t(p)] + (kind ? "水" : "光") + "答"; };
  const auto brief = [](int p, int kind) { return fact(p, kind) + "。"; };
  const auto wordy = [](int p, int kind) { return fact(p, kind) + "啊啊。"; };
  std::map<std::string, int32_t> ids;
  for (int p = 0; p < 12; ++p)
    for (const std::string& c : characters(statement(p) + question(p, 0) + question(p, 1) + wordy(p, 0)))
      ids.emplace(c, int32_t(ids.size()));

  const int pretraining = lesson.quick() ? 150 : 300, tuning = lesson.quick() ? 200 : 400,
            seeds = lesson.quick() ? 1 : 3;
  const double target = 0.75;  // 每个回答的字的平均损失。两种回答各一半，所以到不了 0：有 ln 2 分在两三个字上
  report::Values ratios, stage_steps, stage_losses, scratch_steps, scratch_losses;
  double before_margin = 0, after_margin = 0, preferred = 0, forgotten = 0;
  for (int s = 0; s < seeds; ++s) {
    const uint64_t seed = lesson.seed() + uint64_t(s);
    const Random random(seed, Purpose::kTest);
    const auto pick = [&](int step, int i) { return int(random.below(12, uint64_t(step * 8 + i))); };

    // 第一阶段：预训练。
    Learner pretrained(ids, seed), scratch(ids, seed);
    const auto first = pretrained.optimizer();
    for (int step = 0; step < pretraining; ++step) {
      std::vector<std::pair<std::string, std::string>> rows;
      for (int i = 0; i < 8; ++i) rows.emplace_back("", statement(pick(step, i)) + statement(pick(step + 7777, i)));
      const data::StepBatch batch = pretrained.encode(rows);
      const double loss = pretrained.gather(batch, 1 / double(batch.label_tokens));
      pretrained.step(*first, 5e-3f, step);
      if (s == 0) stage_steps.push_back(step), stage_losses.push_back(loss);
    }

    // 第二阶段：微调。两个模型看同样的问答、用同样的学习率；reached：损失到了目标的步数。
    const auto tune = [&](Learner& learner, report::Values& at, report::Values& losses, double begin) {
      const auto optimizer = learner.optimizer();
      double reached = tuning, recent = 3;
      for (int step = 0; step < tuning; ++step) {
        std::vector<std::pair<std::string, std::string>> rows;
        for (int i = 0; i < 8; ++i) {
          const int p = pick(step + 20000, i), kind = i % 2;
          rows.emplace_back(question(p, kind),
                            random.below(2, uint64_t(step * 8 + i) + 900000) ? brief(p, kind) : wordy(p, kind));
        }
        const data::StepBatch batch = learner.encode(rows);
        const double loss = learner.gather(batch, 1 / double(batch.label_tokens));
        learner.step(*optimizer, 2e-3f, step);
        recent = 0.8 * recent + 0.2 * loss;
        if (recent <= target && reached == tuning) reached = step + 1;
        if (s == 0) at.push_back(begin + step), losses.push_back(loss);
      }
      return reached;
    };
    Learner& tuned = lesson.broken("fresh") ? scratch : pretrained;
    const double with = tune(tuned, stage_steps, stage_losses, pretraining);
    Learner control(ids, seed);
    const double without = tune(control, scratch_steps, scratch_losses, pretraining);
    lesson.say("种子 {}：预训练过的 {:.0f} 步，从零开始的 {:.0f} 步到达 {}", seed, with, without, target);
    ratios.push_back(with / without);

    // 第三阶段：DPO（Rafailov 等，2023）。π₀ 是微调之后的模型，它的 log p 先算好。d/dθ 损失 = −β σ(−βΔ) ∇(log π(好) − log π(差))：
    // 就是两个加权的交叉熵，差的那个权重为负。
    const double beta = 0.5;
    struct Pair {
      std::pair<std::string, std::string> good, bad;
      double reference;
    };
    std::vector<Pair> pairs;
    for (int p = 0; p < 12; ++p)
      for (int kind = 0; kind < 2; ++kind) {
        Pair pair{{question(p, kind), brief(p, kind)}, {question(p, kind), wordy(p, kind)}, 0};
        if (lesson.broken("swapped")) std::swap(pair.good, pair.bad);
        pair.reference = tuned.loss(pair.bad) - tuned.loss(pair.good);  // log π₀(好) − log π₀(差)
        pairs.push_back(pair);
      }
    const auto margin = [&] {  // 平均的 log π(干脆) − log π(啰嗦)
      double sum = 0;
      for (int p = 0; p < 12; ++p)
        for (int kind = 0; kind < 2; ++kind)
          sum += tuned.loss({question(p, kind), wordy(p, kind)}) - tuned.loss({question(p, kind), brief(p, kind)});
      return sum / 24;
    };
    const double before = margin();
    const auto third = tuned.optimizer();
    for (int step = 0; step < (lesson.quick() ? 20 : 40); ++step) {
      double total = 0;
      for (int i = 0; i < 6; ++i) {
        const Pair& pair = pairs[random.below(24, uint64_t(step * 6 + i) + 5000000)];
        const double delta = tuned.loss(pair.bad) - tuned.loss(pair.good) - pair.reference;
        const double weight = beta / (1 + std::exp(beta * delta)) / 6;  // β σ(−βΔ)，对六对取平均
        tuned.gather(tuned.encode({pair.good}), weight), tuned.gather(tuned.encode({pair.bad}), -weight);
        total += std::log1p(std::exp(-beta * delta)) / 6;
      }
      tuned.step(*third, 5e-4f, step);
      if (s == 0) stage_steps.push_back(pretraining + tuning + step), stage_losses.push_back(total);
    }
    double right = 0, known = 0;
    for (int p = 0; p < 12; ++p)
      for (int kind = 0; kind < 2; ++kind) {
        right += tuned.loss({question(p, kind), brief(p, kind)}) < tuned.loss({question(p, kind), wordy(p, kind)});
        const std::string other = fact(p, kind) == "强"   ? "弱"
                                  : fact(p, kind) == "弱" ? "强"
                                  : fact(p, kind) == "多" ? "少"
                                                          : "多";
        known += tuned.loss({question(p, kind), fact(p, kind)}) < tuned.loss({question(p, kind), other});
      }
    before_margin += before / seeds, after_margin += margin() / seeds;
    preferred += right / 24 / seeds, forgotten += (1 - known / 24) / seeds;
  }
  std::sort(ratios.begin(), ratios.end());
  lesson.section("结果");
  lesson.value("steps_ratio", ratios[ratios.size() / 2],
               fmt::format("{} 个种子的中位数：预训练过的步数 / 从零开始的步数", seeds));
  lesson.at_most("预训练过的先到达目标", ratios[ratios.size() / 2], 0.8);
  lesson.value("margin_before", before_margin, "微调之后：log p(干脆) − log p(啰嗦)");
  lesson.value("margin_after", after_margin, "DPO 之后");
  lesson.at_least("DPO 之后更偏向干脆的回答", after_margin - before_margin, 1);
  lesson.value("preferred_percent", 100 * preferred);
  lesson.at_least("问题中，干脆的回答更可能的比例", preferred, 0.9);
  lesson.value("forgotten_percent", 100 * forgotten, "DPO 之后答错的事实：对齐也会忘");

  report::Plot plot("三个阶段，一个模型", "步数", "该阶段的损失");
  plot.line("预训练 → 微调 → DPO", stage_steps, stage_losses).line("从零微调", scratch_steps, scratch_losses);
  plot.vertical(pretraining, "微调开始").vertical(pretraining + tuning, "DPO 开始").sized({640, 340});
  lesson.picture("stages", plot);
  return lesson.finish();
}
