// 第 7 周第 3 天  PEFT 的文件夹：读进来，写出去，合并
//
//   adapter_config.json        r、lora_alpha、target_modules …         adapter_model.safetensors       每层一个 A、一个 B
//
// 库之间“不兼容”有三种：名字对不上、公式对不上（alpha / r 还是 alpha / √r）、配置里有不认识的字段。
// 前两种用 PEFT 自己算出的结果对照；第三种分两类：不影响结果的列出来，影响结果的拒绝，不能悄悄忽略。
#include <algorithm>
#include <cmath>

#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "course/frame/lesson.h"
#include "formats/numpy.h"
#include "model/checkpoint/merge.h"
#include "report/plot.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

// 一批句子的 logits，(记号, 词表) 排成一列。
std::vector<float> logits_of(const fs::path& model, const fs::path& adapter, const NpyArray& batches) {
  Runtime runtime(1);
  const RuntimeModel loaded(runtime, model, {.compute = Compute::kF32, .adapter = adapter});
  const auto ids = batches.values<int32_t>();
  const auto rows = size_t(batches.shape[1]), length = size_t(batches.shape[2]);
  std::vector<std::vector<int32_t>> sequences;
  for (size_t r = 0; r < rows; ++r)
    sequences.emplace_back(ids.begin() + long(r * length), ids.begin() + long((r + 1) * length));
  Context ctx = runtime.context(Compute::kF32);
  const Variable out = loaded.model().logits(ctx, loaded.model().hidden_states(ctx, Batch::of_sequences(sequences)));
  return {out.value().data<float>(), out.value().data<float>() + out.value().count()};
}

// 最大的差，以最大的 logit 为 1。
template <class A, class B>
double difference(const A& a, const B& b) {
  double most = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(double(a[i]) - double(b[i]))), size = std::max(size, std::abs(double(b[i])));
  return a.size() == b.size() ? most / size : INFINITY;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "LoRA 实现：PEFT 的文件夹",
                 .difficulty = "PEFT 库与 Transformers 兼容问题",
                 .remedy = "读 PEFT 写的，写 PEFT 能读的，用 PEFT 的结果对照",
                 .bugs = {{"factor", "把 alpha / r 写成了 alpha / √r：配置里的 use_rslora 弄错了"},
                          {"start", "训练完忘了存：读回来的还是开始时的适配器"},
                          {"silent", "会改变结果的字段也悄悄忽略了"}}});
  lesson.exercise("lora_alpha = 16，r = 4。ΔW = 几倍的 B A？", "factor_example");
  lesson.value("factor_example", double(LoraConfig{.r = 4, .lora_alpha = 16}.factor("q_proj")), "alpha / r");
  lesson.predict("合并前后的 logits 差多少（以最大的 logit 为 1）？", "merged_difference");
  const fs::path golden = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/train", base = golden / "model";
  const fs::path folder = fs::temp_directory_path() / fmt::format("sedum-lesson-peft-{}", getpid());
  fs::remove_all(folder);
  const NpyArray batches = read_npy(golden / "batches.npy"), expected = read_npy(golden / "lora.logits.npy");
  // 两边都是 f32，求和的次序不同：一层最多 80 项，两层、残差、归一化叠起来，取 √80 · ε 的四十倍。
  const double rounding = 40 * std::sqrt(80.0) * 6e-8;

  lesson.section("一、读 PEFT 写的文件夹");
  // 测试的文件夹里有 PEFT 训练之后的适配器，和 PEFT 自己算的 logits。
  fs::create_directories(folder / "theirs");
  auto document = parse_json<nlohmann::ordered_json>(read_file(golden / "lora_end/adapter_config.json"));
  if (lesson.broken("factor")) document["use_rslora"] = true;
  write_file(folder / "theirs/adapter_config.json", document.dump(2));
  fs::copy_file(golden / "lora_end/adapter_model.safetensors", folder / "theirs/adapter_model.safetensors");
  const double theirs = difference(logits_of(base, folder / "theirs", batches), expected.values<float>());
  const double without = difference(logits_of(base, "", batches), expected.values<float>());
  lesson.value("peft_difference", theirs, "与 PEFT 的 logits 最大的差"), lesson.value("base_difference", without);
  lesson.at_most("PEFT 的适配器给出 PEFT 的 logits", theirs, rounding);
  lesson.at_least("不装适配器就差得远：这个对照看得出错误", without / rounding, 100);

  lesson.section("二、从同一个开头训练：与 PEFT 的曲线逐步对照");
  const auto curve = parse_json(read_file(golden / "lora.json"));
  TrainConfig config;
  config.stage = "pretrain", config.model_name_or_path = base.string(), config.output_dir = (folder / "run").string();
  config.adapter_name_or_path = (golden / "lora_start").string();
  config.pretokenized = (golden / "batches.npy").string(), config.cutoff_len = 24;
  config.learning_rate = curve["peak_learning_rate"], config.weight_decay = curve["weight_decay"];
  config.max_grad_norm = curve["max_grad_norm"], config.warmup_steps = curve["warmup_steps"];
  config.compute = Compute::kF32, config.threads = 1;
  report::Values at, ours, peft;
  double apart = 0;
  Events events;
  events.listen([&](const Event& e) {
    if (e.kind != "step") return;
    at.push_back(e.data["step"]), ours.push_back(e.data["loss"]), peft.push_back(curve["loss"][at.size() - 1]);
    apart = std::max(apart, std::abs(ours.back() / peft.back() - 1));
  });
  train(config, events);
  lesson.value("steps", double(at.size())), lesson.value("first_loss", ours.front());
  lesson.value("last_loss", ours.back()), lesson.value("curve_difference", apart, "每一步的损失，最大的相对差");
  // 一步的舍入约 1e-6；五十步里它会被放大，留一百倍。
  lesson.at_most("五十步，每一步的损失都与 PEFT 的相同", apart, 1e-4);
  lesson.at_most("学到了：最后的损失与开始之比", ours.back() / ours.front(), 0.95);

  lesson.section("三、写出去，再读回来；合并进底座");
  const fs::path written = lesson.broken("start") ? golden / "lora_start" : folder / "run/adapter";
  const std::vector<float> trained = logits_of(base, written, batches);
  const double again = difference(trained, expected.values<float>());
  lesson.value("trained_difference", again, "自己训练的适配器与 PEFT 训练的");
  lesson.at_most("自己写的文件夹读回来，logits 与 PEFT 训练的相近", again, 100 * rounding);
  {
    Runtime runtime(1);
    const Checkpoint checkpoint = Checkpoint::open(base);
    write_folder(folder / "merged", checkpoint, DType::kF32,
                 merged_values(checkpoint, read_adapter(folder / "run/adapter", runtime.arena), runtime));
  }
  const double merged = difference(logits_of(folder / "merged", "", batches), trained);
  lesson.value("merged_difference", merged, "W + (α/r) B A 与 W x + (α/r) B (A x)");
  lesson.at_most("合并前后只差舍入", merged, rounding);

  lesson.section("四、不认识的字段");
  const auto outcome = [&](const std::string& key, const nlohmann::json& value) -> std::pair<std::string, std::string> {
    auto changed = parse_json<nlohmann::ordered_json>(read_file(golden / "lora_end/adapter_config.json"));
    if (!(lesson.broken("silent") && key == "lora_bias")) changed[key] = value;
    fs::create_directories(folder / "changed");
    write_file(folder / "changed/adapter_config.json", changed.dump());
    std::vector<std::string> unknown;
    try {
      read_adapter_config(folder / "changed", &unknown);
    } catch (const Error& e) {
      return {"拒绝", e.mend()};
    }
    const bool listed = std::ranges::find(unknown, key) != unknown.end();
    return {listed ? "列出" : "接受", ""};
  };
  report::Table table({"字段", "值", "怎么办", "说什么"});
  double refused = 0, listed = 0, accepted = 0;
  const std::vector<std::pair<std::string, nlohmann::json>> fields = {
      {"peft_version", "9.9.9"},        {"inference_mode", false}, {"brand_new_option", 3},
      {"corda_config", nullptr},        {"lora_bias", true},       {"layers_to_transform", {0}},
      {"trainable_token_indices", {5}}, {"peft_type", "IA3"}};
  for (const auto& [key, value] : fields) {
    const auto [what, said] = outcome(key, value);
    table.row({key, value.dump(), what, said});
    refused += what == "拒绝", listed += what == "列出", accepted += what == "接受";
  }
  lesson.table(table);
  lesson.equal("会改变结果的四个字段都拒绝了", refused, 4);
  lesson.equal("没见过的字段列出来，不装作没看见", listed, 1);
  lesson.equal("只说来历的字段，和关着的功能，照常接受", accepted, 3);
  lesson.value("fields_refused", refused), lesson.value("fields_listed", listed);

  report::Plot plot("同一个开头，两个库", "步数", "损失"),
      bars("logits 与 PEFT 训练之后的差", "", "以最大的 logit 为 1");
  report::Values sparse_at, sparse;
  for (size_t i = 0; i < at.size(); i += 3) sparse_at.push_back(at[i]), sparse.push_back(peft[i]);
  plot.line("Sedum", at, ours).scatter("PEFT", sparse_at, sparse).sized({420, 310});
  bars.categories({"不装适配器", "PEFT 写的", "自己训练的", "合并之后"})
      .log_y()
      .bars("",
            {without, theirs, again, difference(logits_of(folder / "merged", "", batches), expected.values<float>())})
      .horizontal(rounding, "舍入的界")
      .sized({420, 310});
  lesson.picture("peft", report::Figure("", 2).add(plot).add(bars));
  fs::remove_all(folder);
  return lesson.finish();
}
