// 第 8 周第 4 天  LoRA 与 QLoRA：控制变量
//
//   两次训练的配方只差一个字段（finetuning_type），其余逐字相同：同样的数据、次序、学习率、种子。差了两个，就不比。
//
// 同一个种子的两次训练是一对：先求每一对的差，再看各对的差是不是同一个方向。种子之间的差别比方法之间的大，不成对地比就看不出来。
#include <algorithm>
#include <cmath>

#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "formats/numpy.h"
#include "report/plot.h"
#include "train/planner.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

// (步, 8, 13) 的记号：第一个说步长 d，第二个是起点，之后每个数 = 前一个 + sign · d（模 29）。没有一行重复，所以训练的损失就是没见过的行的损失。
void write_rows(const fs::path& path, int steps, int sign, uint64_t seed) {
  const Random random(seed, Purpose::kTest);
  std::vector<int32_t> ids;
  for (int r = 0; r < steps * 8; ++r) {
    const int a = int(random.below(29, uint64_t(2 * r))), d = 1 + int(random.below(4, uint64_t(2 * r + 1)));
    ids.push_back(29 + d);
    for (int i = 0; i < 12; ++i) ids.push_back(((a + sign * d * i) % 29 + 29) % 29);
  }
  write_npy(path, DType::kI32, {steps, 8, 13}, ids.data());
}

// 两份配方不同的字段。
std::vector<std::string> differences(const TrainConfig& a, const TrainConfig& b) {
  const auto x = parse_json(a.canonical()), y = parse_json(b.canonical());
  std::vector<std::string> keys;
  for (const auto& [key, value] : x.items())
    if (y.at(key) != value) keys.push_back(key);
  return keys;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "LoRA 与 QLoRA",
                 .difficulty = "对比实验设计不严谨",
                 .remedy = "控制变量：配方只差一个字段，成对比较",
                 .bugs = {{"other_rate", "QLoRA 那一边顺手把学习率也改了"}, {"not_checked", "比较之前没有核对配方"}}});
  lesson.predict("底座的内存，QLoRA 是 LoRA（f32）的百分之几？", "base_percent");
  const fs::path folder = fs::temp_directory_path() / fmt::format("sedum-lesson-pair-{}", getpid());
  fs::create_directories(folder);
  const int pretraining = lesson.quick() ? 150 : 600, steps = lesson.quick() ? 80 : 300, seeds = 3;
  write_rows(folder / "add.npy", pretraining, +1, lesson.seed());
  Events quiet;
  TrainConfig base;
  base.stage = "pretrain", base.finetuning_type = "full", base.output_dir = (folder / "base").string();
  base.model = R"({"model_type": "llama", "vocab_size": 34, "hidden_size": 64, "intermediate_size": 128,
                   "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64})";
  base.pretokenized = (folder / "add.npy").string(), base.learning_rate = 5e-3f, base.compute = Compute::kF32;
  base.threads = 1, base.gradient_checkpointing = false, base.cutoff_len = 13;
  base.seed = lesson.seed(), base.success_gate = false;
  lesson.value("base_loss", train(base, quiet).final_loss, "底座：加法");

  lesson.section("一、核对配方，再比");
  const auto arm = [&](const std::string& kind, int seed) {
    TrainConfig c = base;
    c.model = "", c.model_name_or_path = (folder / "base/model").string();
    c.finetuning_type = kind, c.pretokenized = (folder / fmt::format("sub{}.npy", seed)).string();
    c.lora = {.r = 8, .lora_alpha = 16, .target_modules = {"all-linear"}};
    c.learning_rate = 3e-3f, c.seed = lesson.seed() + uint64_t(seed);
    c.output_dir = (folder / fmt::format("{}{}", kind, seed)).string();
    return c;
  };
  // 一对：核对过才训练。不合就说差在哪里。
  const auto checked = [&](const TrainConfig& a, const TrainConfig& b) {
    const std::vector<std::string> keys = differences(a, b);
    if (keys.size() == 1 || lesson.broken("not_checked")) return std::string();
    std::string text = "配方差了：";
    for (const std::string& key : keys) text += key + " ";
    return text;
  };
  TrainConfig changed = arm("qlora", 0);
  changed.learning_rate = 1e-3f, changed.lora.r = 16;
  const std::string refusal = checked(arm("lora", 0), changed);
  lesson.say("  学习率和 r 也改了：{}", refusal.empty() ? "没有拦" : refusal);
  lesson.claim("差了三个字段的一对被拒绝，说出多改的是哪两个",
               refusal.find("learning_rate") != std::string::npos && refusal.find(" r ") != std::string::npos);

  lesson.section("二、三对");
  report::Table table({"种子", "LoRA", "QLoRA", "差"});
  report::Plot curves("一对：种子 1", "步数", "损失（减法）"), pairs("最后的损失，三对", "", "");
  report::Values lora_last, qlora_last, gaps;
  std::vector<std::string> names;
  double fields = 0;
  for (int s = 0; s < seeds; ++s) {
    write_rows(folder / fmt::format("sub{}.npy", s), steps, -1, lesson.seed() + 100 + uint64_t(s));
    TrainConfig second = arm("qlora", s);
    if (lesson.broken("other_rate")) second.learning_rate *= 2;
    fields = std::max(fields, double(differences(arm("lora", s), second).size()));
    const auto run = [&](const TrainConfig& c) {
      report::Values at, losses;
      Events events;
      events.listen([&](const Event& e) {
        if (e.kind == "step") at.push_back(e.data["step"]), losses.push_back(e.data["loss"]);
      });
      train(c, events);
      if (s == 0) curves.line(c.finetuning_type == "lora" ? "LoRA" : "QLoRA", at, losses);
      double last = 0;  // 最后十步的平均
      for (size_t i = losses.size() - 10; i < losses.size(); ++i) last += losses[i] / 10;
      return last;
    };
    lora_last.push_back(run(arm("lora", s))), qlora_last.push_back(run(second));
    gaps.push_back(qlora_last.back() - lora_last.back()), names.push_back(fmt::format("种子 {}", s + 1));
    table.row({std::to_string(s + 1), fmt::format("{:.4f}", lora_last.back()), fmt::format("{:.4f}", qlora_last.back()),
               fmt::format("{:+.4f}", gaps.back())});
    lesson.value(fmt::format("lora_{}", s + 1), lora_last.back());
    lesson.value(fmt::format("qlora_{}", s + 1), qlora_last.back()),
        lesson.value(fmt::format("gap_{}", s + 1), gaps.back());
  }
  lesson.table(table);
  lesson.equal("每一对的配方只差一个字段", fields, 1);
  // 要猜的 12 个记号里，第一个（起点）是随机的，猜不出：损失的底是 ln 29 / 12 = 0.28，两边一样。
  lesson.value("floor", std::log(29.0) / 12, "起点猜不出，损失的底");
  lesson.at_most("两边都学会了：最差的一次",
                 std::max(*std::ranges::max_element(lora_last), *std::ranges::max_element(qlora_last)), 1.5);

  lesson.section("三、内存");
  const double kib = 1024;
  const Plan lora = plan(arm("lora", 0)), qlora = plan(arm("qlora", 0));
  const double tables = 4.0 * (2 * 34 * 64 + 5 * 64);  // 嵌入、输出头、归一化：两边都不压
  lesson.value("lora_base_kib", double(lora.mapped_bytes) / kib - tables / kib, "两层的矩阵，f32（从文件映射）");
  lesson.value("qlora_base_kib", double(qlora.memory[1].bytes) / kib, "NF4");
  lesson.value("base_percent", 100 * double(qlora.memory[1].bytes) / (double(lora.mapped_bytes) - tables));
  lesson.value("adapter_kib", double(lora.memory[0].bytes) / kib),
      lesson.value("states_kib", double(lora.memory[2].bytes) / kib);
  lesson.equal("适配器和它的动量，两边一样大", double(lora.memory[0].bytes + lora.memory[2].bytes),
               double(qlora.memory[0].bytes + qlora.memory[2].bytes));
  pairs.y_range(0, 1.4 * *std::ranges::max_element(lora_last));
  pairs.categories(names).bars("LoRA", lora_last).bars("QLoRA", qlora_last).sized({420, 310});
  lesson.picture("pairs", report::Figure("", 2).add(curves.log_y().sized({420, 310})).add(pairs));
  fs::remove_all(folder);
  return lesson.finish();
}
