// 第 11 周第 5 天  编译与增量编译：只重做改了的
//
// TensorRT-LLM 把模型编译成一台显卡的引擎：选核、排权重、存盘；几分钟，换一个参数又是几分钟。CPU 上的“编译”也是这三件事：
// 把权重排成核最喜欢的次序，量出怎样切块最快，存成文件，下次直接映射。要省时间，就要认得出什么没有变：
//
//   钥匙 = 内容的摘要 + 形状 + 类型 + 排法的版本          钥匙相同，结果就可以拿来用；少写一样，迟早用到过时的
#include <algorithm>
#include <chrono>
#include <map>

#include "base/digest.h"
#include "base/random.h"
#include "compute/kernels/products_tune.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/export.h"
#include "model/runtime_model.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::span<const std::byte> bytes_of(const Tensor& t) { return {static_cast<const std::byte*>(t.raw()), t.bytes()}; }

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "编译与增量编译",
                 .difficulty = "编译模型耗时久",
                 .remedy = "增量编译：按内容认，复用没有变的",
                 .bugs = {{"by_name", "钥匙只有张量的名字：内容变了也认不出"},
                          {"by_file", "钥匙是整个文件的摘要：改一层，全部重来"}}});
  const int64_t hidden = lesson.quick() ? 128 : 512, layers = lesson.quick() ? 4 : 12, changed_layer = layers / 2;
  const std::string config_json = fmt::format(
      R"({{"model_type": "llama", "vocab_size": 512, "hidden_size": {}, "intermediate_size": {}, "num_hidden_layers": {},
      "num_attention_heads": {}, "num_key_value_heads": {}, "head_dim": 64, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
      "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 2}})",
      hidden, 3 * hidden, layers, hidden / 64, hidden / 64);
  const fs::path work = lesson.out() / "work", file = work / "model.gguf";
  fs::remove_all(work);
  fs::create_directories(work);
  Runtime runtime(1);
  // 随机的参数，Q4_0。changed：这一层的权重都乘 1.25，别的一个字节也不动。
  const auto write_model = [&](int64_t changed) {
    const Checkpoint blank =
        Checkpoint::untrained(config_json, fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama");
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed());
    build_model(blank.config(), factory);
    for (Variable p : factory.parameters())
      if (p.name().find(fmt::format("layers.{}.", changed)) != std::string::npos)
        for (int64_t i = 0; i < p.value().count(); ++i) p.value().data<float>()[i] *= 1.25f;
    write_folder(work / "f32", blank, factory.parameters());
    write_gguf(file, Checkpoint::open(work / "f32"), DType::kQ4_0, stored_values(Checkpoint::open(work / "f32")));
  };
  lesson.exercise(fmt::format("{} 层，每层 7 个矩阵，另有一张词表。改了一层，要重排几个矩阵？", layers),
                  "packed_changed");
  lesson.predict("改了一层之后，从已有的文件里能拿来用的矩阵占百分之几？", "reused_percent");

  lesson.section("一、二十行的增量编译");
  using Cache = std::map<std::string, std::shared_ptr<const PackedMatrix>>;
  Cache cache;
  struct Build {
    int matrices = 0, packed = 0, stale = 0;
    double ms = 0;
  };
  const auto compile = [&] {
    const Checkpoint model = Checkpoint::open(file);
    const std::string whole = digest(file, Checksum::Kind::kSha256);
    Build build;
    const auto start = Clock::now();
    std::vector<std::pair<Tensor, std::shared_ptr<const PackedMatrix>>> used;
    for (const std::string& name : model.tensor_names()) {
      if (!model.has(name)) continue;
      const Tensor w = model.tensor(name);
      if (w.shape().rank() != 2) continue;
      std::string key = fmt::format("{:016x} {} {} v{}", quick_sum(bytes_of(w)), w.shape().text(),
                                    sedum::name(w.dtype()), kPanelLayout);
      if (lesson.broken("by_name")) key = name;
      if (lesson.broken("by_file")) key = whole + name;
      auto& panels = cache[key];
      if (!panels) {
        panels = pack_int8(runtime.pool, {w.dtype(), w.raw(), w.size(0), w.size(1), row_bytes(w.dtype(), w.size(1))});
        ++build.packed;
      }
      ++build.matrices;
      used.emplace_back(w, panels);
    }
    build.ms = milliseconds_since(start);
    // 查：拿来用的，与现在重排一遍的，一个字节也不差。
    for (const auto& [w, panels] : used) {
      const auto fresh =
          pack_int8(runtime.pool, {w.dtype(), w.raw(), w.size(0), w.size(1), row_bytes(w.dtype(), w.size(1))});
      const auto a = packed_int8_panels(*fresh).bytes, b = packed_int8_panels(*panels).bytes;
      build.stale += !std::equal(a.begin(), a.end(), b.begin(), b.end());
    }
    return build;
  };
  write_model(-1);
  const Build cold = compile(), warm = compile();
  write_model(changed_layer);
  const Build one = compile();
  report::Table table({"", "矩阵", "重排", "过时的", "毫秒"}, "第一次、第二次、改了一层");
  report::Values packed, milliseconds;
  for (const auto& [what, build] : {std::pair{"第一次", cold}, {"第二次", warm}, {"改了一层", one}}) {
    table.row({what, std::to_string(build.matrices), std::to_string(build.packed), std::to_string(build.stale),
               fmt::format("{:.1f}", build.ms)});
    packed.push_back(build.packed), milliseconds.push_back(build.ms);
  }
  lesson.table(table);
  lesson.value("matrices", cold.matrices, "全部矩阵"), lesson.value("packed_changed", one.packed, "改了一层后重排的");
  lesson.value("reused_percent", 100.0 * (one.matrices - one.packed) / one.matrices);
  lesson.equal("第一次：全部重排", cold.packed, double(7 * layers + 1));
  lesson.equal("第二次：一个也不重排", warm.packed, 0);
  lesson.equal("改了一层：只重排这一层的 7 个", one.packed, 7);
  lesson.equal("三次里过时的", cold.stale + warm.stale + one.stale, 0);

  lesson.section("二、真的：存盘、映射、sedum compile");
  const PackCacheOptions kept{.folder = work / "packed", .smallest = 0};
  const auto logits_with = [&](const PackCacheOptions& options, double* added, double* ms) {
    const auto start = Clock::now();
    const RuntimeModel model(runtime, file, {.compute = Compute::kInt8, .pack_cache = options});
    if (ms) *ms = milliseconds_since(start);
    if (added) *added = double(model.packed_store()->added());
    Context ctx = runtime.context(Compute::kInt8);
    const Variable out =
        model.model().logits(ctx, model.model().hidden_states(ctx, Batch::of_sequences({{1, 5, 9, 87, 300}})));
    return std::vector<float>(out.value().data<float>(), out.value().data<float>() + out.value().count());
  };
  double first_added = 0, second_added = 0, first_ms = 0, second_ms = 0;
  const auto right = logits_with({}, nullptr, nullptr);
  const auto first = logits_with(kept, &first_added, &first_ms), second = logits_with(kept, &second_added, &second_ms);
  lesson.say("  排好并存盘 {:.1f} 毫秒，第二次映射 {:.1f} 毫秒；几个进程共用这些页", first_ms, second_ms);
  lesson.equal("第一次排的矩阵", first_added, double(7 * layers + 1));
  lesson.equal("第二次排的矩阵", second_added, 0);
  lesson.claim("有没有缓存，logits 逐位相同", first == right && second == right);
  write_model(-1);  // 同一个路径，另一个内容：sedum compile 从旧文件里拿没有变的
  double packed_again = 0, taken = 0;
  {
    const Checkpoint checkpoint = Checkpoint::open(file);
    PackedStore store(checkpoint, kept, 1);
    if (!store.verify()) store.reuse_from_older();
    CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena, Pack::kForward,
                              &store);
    build_model(checkpoint.config(), factory);
    packed_again = double(store.added() - store.reused()), taken = double(store.reused());
    store.save();
  }
  lesson.value("store_reused", taken, "从旧文件拿来的"), lesson.value("store_packed", packed_again, "重排的");
  lesson.equal("改了一层：真的缓存也只重排 7 个", packed_again, 7);
  lesson.claim("用的是新的内容", logits_with(kept, nullptr, nullptr) == logits_with({}, nullptr, nullptr));

  lesson.section("三、切块：量出来，不猜");
  // 切法只改先后，不改任何一个和：结果逐位相同，所以可以放心地量。
  const int64_t n = 3 * hidden, k = hidden, rows = 64;
  std::vector<float> weights(size_t(n * k)), x(size_t(rows * k));
  const Random random(lesson.seed(), Purpose::kTest);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = random.normal(i);
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.normal(weights.size() + i);
  const auto panels = pack_int8(runtime.pool, {DType::kF32, weights.data(), n, k, size_t(k) * 4});
  double different = 0, tried = 0;
  std::vector<float> reference;
  for (const ProductCut cut : {ProductCut{}, {0, 1}, {0, 64}, {0, 4096}, {1, 0}, {2, 8}}) {
    set_product_cut(*panels, cut);
    std::vector<float> y(size_t(rows * n));
    product_packed_int8(runtime.pool, {DType::kF32, x.data(), rows, k, size_t(k) * 4}, *panels,
                        {DType::kF32, y.data(), rows, n, size_t(n) * 4});
    if (reference.empty()) reference = y;
    different += y != reference, ++tried;
  }
  lesson.value("cuts_tried", tried);
  lesson.equal("切法不同而结果不同的", different, 0);
  const ProductTuning tuned = tune_product(runtime.pool, *panels, rows, lesson.quick() ? 3 : 9);
  const std::string best = tuned.gain <= 1           ? "原来的切法最好"
                           : tuned.cut.block_kib > 0 ? fmt::format("一块 {} KiB", tuned.cut.block_kib)
                                                     : fmt::format("一次 {} 行", tuned.cut.tile_rows);
  lesson.say("  这台机器上：{}（{:.2f} 倍）。快不到 2 % 就不换：那是邻居和时钟的涨落。", best, tuned.gain);
  fs::remove_all(work);
  report::Plot work_plot("重排的矩阵", "", "个"), time_plot("用时", "", "毫秒");
  work_plot.categories({"第一次", "第二次", "改了一层"}).bars("重排", packed);
  time_plot.categories({"第一次", "第二次", "改了一层"}).bars("毫秒", milliseconds);
  lesson.picture("incremental", report::Figure("", 2).add(work_plot).add(time_plot));
  return lesson.finish();
}
