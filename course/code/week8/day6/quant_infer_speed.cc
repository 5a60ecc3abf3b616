// 第 8 周第 6 天  量化推理：FP16 与 4 位
//
//   写一个字要读的字节 = 每个矩阵一遍（嵌入只读一行）+ 已有的键和值
//   时间 ≥ 字节 ÷ 内存带宽
//
// “提升不明显”有三个常见的原因：把载入算进去了；读提示词（算力说了算）和写字（带宽说了算）混在一起；
// 权重是 4 位，却先解成了 f32 再乘。还有一个：忘了关梯度，每一层的中间结果都留着。
#include <algorithm>
#include <chrono>

#include "course/frame/lesson.h"
#include "infer/local_engine.h"
#include "model/checkpoint/export.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "量化推理的速度",
                 .difficulty = "推理速度提升不明显",
                 .remedy = "载入、首字、写字分开量；算清每个字读多少字节；不留梯度",
                 .bugs = {{"trainable", "推理时权重还是可训练的：每一层的中间结果都留着，等反向来用"},
                          {"whole_table", "把整张嵌入表都算成每个字要读的"}}});
  lesson.exercise("矩阵里每个权重，FP16 要 2 字节。Q4_0：32 个 4 位的数加一个 16 位的比例。每个权重几位？", "q4_bits");
  lesson.predict("写一个字，FP16 读的字节是 4 位文件的几倍？", "bytes_ratio");

  // 参数是随机的：速度只看形状和位数。词表之外都是真的：同样的文件、同样的引擎。
  const int64_t hidden = lesson.quick() ? 256 : 512, feed = lesson.quick() ? 512 : 1536,
                layers = lesson.quick() ? 2 : 8, vocabulary = lesson.quick() ? 1024 : 4096;
  const std::string config_json = fmt::format(
      R"({{"model_type": "llama", "vocab_size": {}, "hidden_size": {}, "intermediate_size": {}, "num_hidden_layers": {},
      "num_attention_heads": {}, "num_key_value_heads": {}, "head_dim": 64, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
      "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 2}})",
      vocabulary, hidden, feed, layers, hidden / 64, hidden / 64);
  const fs::path work = lesson.out() / "work";
  fs::remove_all(work);
  fs::create_directories(work);
  {
    Runtime runtime(1);
    const Checkpoint blank =
        Checkpoint::untrained(config_json, fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama");
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed());
    build_model(blank.config(), factory);
    write_folder(work / "f32", blank, factory.parameters());
    const Checkpoint whole = Checkpoint::open(work / "f32");
    for (const DType type : {DType::kF16, DType::kQ4_0})
      write_gguf(work / (std::string(name(type)) + ".gguf"), whole, type, stored_values(whole));
  }

  lesson.section("一、每个字读多少字节");
  struct Stored {
    double matrices = 0, per_token = 0, weights = 0, embedding = 0;
  };
  const auto count = [&](const fs::path& file) {
    const Checkpoint checkpoint = Checkpoint::open(file);
    Stored s;
    for (const std::string& each : checkpoint.tensor_names()) {
      const Tensor t = checkpoint.tensor(each);
      if (t.shape().rank() < 2) continue;  // 归一化的权重：几 KB，不算
      const bool table = each == "model.embed_tokens.weight";
      s.matrices += double(t.bytes()), s.weights += double(t.count());
      if (table) s.embedding = double(t.count());
      s.per_token +=
          table && !lesson.broken("whole_table") ? double(t.bytes()) / double(vocabulary) : double(t.bytes());
    }
    return s;
  };
  const Stored f16 = count(work / "f16.gguf"), q4 = count(work / "q4_0.gguf");
  lesson.value("q4_bits", 8.0 * double(row_bytes(DType::kQ4_0, 32)) / 32, "4 + 16/32");
  lesson.value("million_weights", f16.weights / 1e6, "矩阵里的权重，百万");
  lesson.value("f16_mib_per_token", f16.per_token / (1 << 20)),
      lesson.value("q4_mib_per_token", q4.per_token / (1 << 20));
  lesson.value("bytes_ratio", f16.per_token / q4.per_token, "不到 16 ÷ 4.5：输出矩阵留了 6 位多");
  const double kv = lesson.value("kv_kib_per_position", 2.0 * 2 * double(layers * hidden) / 1024,
                                 "bf16 的键和值，每个已有的位置再加这么多");
  lesson.equal("FP16：每个字读的 = 2 × (权重 − 嵌入表 + 嵌入的一行)", f16.per_token,
               2 * (f16.weights - f16.embedding + double(hidden)));
  lesson.between("4 位省下的在 1 与 16/4.5 之间", f16.per_token / q4.per_token, 1, 16 / 4.5);

  lesson.section("二、关掉梯度");
  const std::vector<std::vector<int32_t>> prompts = {std::vector<int32_t>(64, 7)};
  const auto forward = [&](CheckpointFactory::Use use, double& kept, double& peak) {  // 留在带子上的算子；多用的内存
    Runtime runtime(1);
    const Checkpoint checkpoint = Checkpoint::open(work / "f16.gguf");
    CheckpointFactory factory(checkpoint, use, runtime.pool, runtime.arena);
    const auto model = build_model(checkpoint.config(), factory);
    Tape tape;
    Context ctx = runtime.context(Compute::kF32);
    ctx.tape = &tape;
    const uint64_t before = runtime.arena.live_bytes();
    runtime.arena.reset_peak();
    const Variable hidden_states = model->hidden_states(ctx, Batch::of_sequences(prompts));
    kept = double(tape.size()), peak = double(runtime.arena.peak_live_bytes() - before) / (1 << 20);
    return double(runtime.arena.live_bytes() - before) - double(hidden_states.value().bytes());  // 结果之外还占着的
  };
  double frozen_entries = 0, frozen_peak = 0, training_entries = 0, training_peak = 0;
  const auto use = lesson.broken("trainable") ? CheckpointFactory::Use::kTrainable : CheckpointFactory::Use::kFrozen;
  const double frozen_left = forward(use, frozen_entries, frozen_peak);
  forward(CheckpointFactory::Use::kTrainable, training_entries, training_peak);
  lesson.value("inference_peak_mib", frozen_peak, "64 个记号，权重冻结"),
      lesson.value("training_peak_mib", training_peak, "同样的前向，权重可训练");
  lesson.value("training_entries", training_entries, "为反向记下的算子");
  lesson.equal("冻结的模型：什么也没有为反向记下", frozen_entries, 0);
  lesson.at_most("结果之外什么也没有留下（字节）", frozen_left, 0);
  lesson.at_most("中间结果用完就还，所以峰值小", frozen_peak / training_peak, 0.8);

  lesson.section("三、载入、首字、写字：分开量（三次，取中位数；轮流来）");
  struct Times {
    std::vector<double> load, first, token;
  };
  struct Way {
    std::string name, file;
    Compute compute;
    Times times = {};
  };
  std::vector<Way> ways = {{"FP16", "f16.gguf", Compute::kBF16},
                           {"4 位，解开再乘", "q4_0.gguf", Compute::kF32},
                           {"4 位，整数乘", "q4_0.gguf", Compute::kInt8}};
  const int tokens = lesson.quick() ? 8 : 64;
  double answers = 0;
  for (int round = 0; round < 3; ++round)
    for (Way& way : ways) {
      Runtime runtime(1);
      const auto start = std::chrono::steady_clock::now();
      const RuntimeModel model(runtime, work / way.file, {.compute = way.compute});
      way.times.load.push_back(seconds_since(start));
      LocalEngine engine(model, {.prefix_cache = false});
      const Generation g = generate(engine, {.prompt = std::vector<int32_t>(128, 7),
                                             .sampling = {.temperature = 0, .max_tokens = tokens, .ignore_end = true}});
      way.times.first.push_back(g.first_token_seconds);
      way.times.token.push_back((g.total_seconds - g.first_token_seconds) / (tokens - 1));
      answers += double(g.ids.size());
    }
  lesson.equal("写出的字一个不少", answers, 9.0 * tokens);
  const auto median = [](std::vector<double> all) {
    std::ranges::sort(all);
    return 1000 * all[all.size() / 2];
  };
  std::vector<report::Values> bars(3);
  std::vector<std::string> names;
  for (const Way& way : ways) {
    bars[0].push_back(median(way.times.load)), bars[1].push_back(median(way.times.first)),
        bars[2].push_back(median(way.times.token));
    names.push_back(way.name);
    lesson.say("  {}：载入 {:.1f} 毫秒，首字 {:.1f}，之后每个字 {:.2f}", way.name, bars[0].back(), bars[1].back(),
               bars[2].back());
  }
  lesson.say("  一个字要读的另有键和值：每个位置 {:.0f} KiB", kv);
  fs::remove_all(work);

  const std::vector<std::string> titles = {"载入（毫秒）", "首字：128 个记号的提示词（毫秒）", "之后每个字（毫秒）"};
  report::Figure figure("", 3);
  for (size_t i = 0; i < 3; ++i) {
    report::Plot plot(titles[i], "", "");
    plot.categories(names).bars("", bars[i]).sized({380, 280});
    figure.add(plot);
  }
  lesson.picture("speed", figure);
  return lesson.finish();
}
