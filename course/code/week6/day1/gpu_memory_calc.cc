// 第 6 周第 1 天  训练要多少内存：一行一行预报，再量
//
//   AdamW，f32：  权重 4Ψ + 两个动量 8Ψ + 梯度 4Ψ + 激活（随记号数长）       Ψ：参数个数
//
// 只按权重算，总是不够。预报是把训练的一步在“只有形状”的模式里走一遍：地址照分，数不算，所以连分配的碎片都在内。
// 然后真的训练，量进程自己的内存，与预报比。
#include <cmath>

#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "course/frame/lesson.h"
#include "report/plot.h"
#include "train/planner.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

int main(int argc, char** argv) {
  // 量的时候要一个干净的进程：本程序再起一个自己，只训练，说出峰值。
  if (argc == 3 && std::string(argv[1]) == "--measure") {
    Events events;
    fmt::print("peak {}\n", train(read_train_config(argv[2], {}), events).peak_bytes);
    return 0;
  }
  Lesson lesson(argc, argv,
                {.title = "训练要多少内存",
                 .difficulty = "显存计算结果与实际不符",
                 .remedy = "梯度、优化器、激活都算上，逐行预报，再量",
                 .bugs = {{"weights_only", "只算了权重"}, {"no_states", "忘了优化器的两个动量"}}});
  lesson.exercise("Ψ 个参数，f32 的 AdamW：权重、动量、梯度一共几倍 Ψ 字节？", "bytes_per_parameter");
  lesson.predict("“只算权重”的预报是实际的百分之几？", "weights_only_percent");
  const fs::path folder = fs::temp_directory_path() / fmt::format("sedum-lesson-memory-{}", getpid());
  fs::create_directories(folder);
  std::string rows;
  for (int i = 0; i < 64; ++i)
    rows += fmt::format("{{\"instruction\": \"{} succulents, and how much water?\", \"output\": \"{}\"}}\n", i,
                        std::string(size_t(20 + i % 7 * 30), char('a' + i % 20)));
  write_file(folder / "rows.jsonl", rows);
  // 模型从随机参数开始，大小写在配方里；切分用测试的小分词器。
  const fs::path golden = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama";
  const int width = lesson.quick() ? 192 : 384;
  const auto recipe = [&](int batch, bool recompute) {
    return fmt::format(
        "finetuning_type: full\ntokenizer_name_or_path: {}\n"
        "model: {{model_type: llama, vocab_size: 320, hidden_size: {}, intermediate_size: {}, num_hidden_layers: 4,\n"
        "        num_attention_heads: 6, max_position_embeddings: 512}}\n"
        "output_dir: {}\ndata: {{train: [{}]}}\ncutoff_len: 512\nper_device_train_batch_size: {}\nmax_steps: 3\n"
        "compute: f32\nthreads: 1\ngradient_checkpointing: {}\noverwrite_output_dir: true\nsuccess_gate: false\n",
        golden.string(), width, 3 * width, (folder / "run").string(), (folder / "rows.jsonl").string(), batch,
        recompute ? "true" : "false");
  };
  const auto measure = [&] {
    const ProcessResult done =
        run_process({fs::canonical("/proc/self/exe").string(), "--measure", (folder / "recipe.yaml").string()});
    const size_t at = done.output.rfind("peak ");
    if (done.exit_code != 0 || at == std::string::npos) throw Error("the run failed: " + done.output);
    return double(std::stoull(done.output.substr(at + 5)));
  };

  const double mib = 1 << 20;
  const std::vector<std::string> names = {"权重",        "冻结的权重",   "优化器的动量", "梯度和激活",
                                          "int8 的权重", "内核的工作区", "分词器、数据", "程序"};
  struct Case {
    std::string name, key;
    int batch;
    bool recompute;
  };
  report::Values weights_only, forecasts, measured;
  report::Table table({"批次", "权重", "动量", "梯度和激活", "其余", "预报 (MiB)", "实测 (MiB)", "差 (%)"});
  for (const Case& c : std::vector<Case>{
           {"1 行", "1", 1, false}, {"8 行", "8", 8, false}, {"8 行，重算激活", "8_recompute", 8, true}}) {
    write_file(folder / "recipe.yaml", recipe(c.batch, c.recompute));
    const Plan p = plan(read_train_config(folder / "recipe.yaml", {}));
    double forecast = 0, rest = 0;
    for (size_t i = 0; i < p.memory.size(); ++i) {
      if (c.key == "8") lesson.say("  {:<14}{:>9.2f} MiB", names[i], double(p.memory[i].bytes) / mib);
      if (lesson.broken("weights_only") && i != 0) continue;
      if (lesson.broken("no_states") && i == 2) continue;
      forecast += double(p.memory[i].bytes);
      rest += i == 0 || i == 2 || i == 3 ? 0 : double(p.memory[i].bytes);
    }
    const double weights = double(p.memory[0].bytes), peak = measure();
    lesson.value("forecast_mib_" + c.key, std::round(forecast / mib)),
        lesson.value("weights_mib_" + c.key, weights / mib);
    lesson.value(c.key == "8" ? "weights_only_percent" : "weights_only_percent_" + c.key,
                 std::round(100 * weights / peak), "只算权重，是实测的");
    lesson.equal(c.name + "：两个动量是权重的两倍", double(p.memory[2].bytes), 2 * weights);
    lesson.between(c.name + "：预报与实测之比", forecast / peak, 0.95, 1.05);
    lesson.at_most(c.name + "：“只算权重”差得远", weights / peak, 0.5);
    table.row({c.name, fmt::format("{:.1f}", weights / mib), fmt::format("{:.1f}", double(p.memory[2].bytes) / mib),
               fmt::format("{:.1f}", double(p.memory[3].bytes) / mib), fmt::format("{:.1f}", rest / mib),
               fmt::format("{:.1f}", forecast / mib), fmt::format("{:.1f}", peak / mib),
               fmt::format("{:+.1f}", 100 * (forecast / peak - 1))});
    weights_only.push_back(weights / mib), forecasts.push_back(forecast / mib), measured.push_back(peak / mib);
  }
  lesson.table(table);
  lesson.value("bytes_per_parameter", 4 + 8 + 4, "激活还在外面");
  report::Plot plot("训练的内存：预报与实测", "", "MiB");
  plot.categories({"1 行", "8 行", "8 行，重算激活"})
      .bars("只算权重", weights_only)
      .bars("逐行预报", forecasts)
      .bars("实测", measured)
      .sized({560, 330});
  lesson.picture("memory", plot);
  fs::remove_all(folder);
  return lesson.finish();
}
