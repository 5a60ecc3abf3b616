// 第 8 周第 7 天  量化复盘：方法对比表，每个数都是量出来的
//
// 比较量化方法要固定三样：同一个模型、同一段没见过的文字、数得清的位数（比例也算）。误差用 KL(原来 ‖ 量化)：
// 每个位置上，两个模型对下一个字的看法差多少纳特。困惑度可能碰巧变好，KL 不会。
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "eval/divergence.h"
#include "model/checkpoint/export.h"
#include "quant/gptq_model.h"
#include "quant/quantised_folder.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

std::string write_text(uint64_t seed, int sentences) {  // 与第 5 天相同的小世界
  const std::vector<std::string> plants = {"aloe", "jade", "sedum", "fern", "mint", "ivy", "palm", "lily"};
  const std::vector<std::string> seasons = {"spring", "summer", "autumn", "winter"};
  const Random random(seed, Purpose::kTest, 1);
  std::string text;
  for (uint64_t i = 0; i < uint64_t(sentences); ++i) {
    const size_t p = random.below(8, 2 * i), s = random.below(4, 2 * i + 1);
    text += fmt::format("The {} in {} wants {} light and water every {} days.\n", plants[p], seasons[s],
                        p * 5 % 3 ? "full" : "soft", 2 + (p * 3 + s * s) % 8);
  }
  return text;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "量化方法对比",
                 .difficulty = "不同量化方法适用场景",
                 .remedy = "同一个模型、同一段文字、数清位数，量出一张表",
                 .bugs = {{"itself", "拿量化的模型和它自己比"}, {"no_scales", "数位数时忘了比例"}}});
  lesson.predict("约 4.5 位的几种方法，KL 最大的是最小的几倍？", "spread_4_bits");
  const fs::path work = lesson.out() / "work";
  fs::remove_all(work);
  fs::create_directories(work);
  // 宽 256：K 量化的一块是 256 个数。
  const std::string config_json =
      R"({"model_type": "llama", "vocab_size": 320, "hidden_size": 256, "intermediate_size": 256,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 2})";
  const Checkpoint blank = Checkpoint::untrained(config_json, fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama");
  const auto encode = [&](uint64_t seed, int n) { return blank.tokenizer()->encode(write_text(seed, n)); };
  Runtime runtime(1);
  {
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed(), false, DType::kF32, Pack::kNone, 0.05f);
    const auto model = build_model(blank.config(), factory);
    Context ctx = runtime.context(Compute::kF32);
    const std::vector<int32_t> ids = encode(lesson.seed(), 400);
    std::vector<data::Sample> samples;
    for (size_t at = 0; at + 64 <= ids.size(); at += 64)
      samples.push_back({{&ids[at], &ids[at] + 64}, {&ids[at], &ids[at] + 64}});
    const data::Loader loader(samples, {.batch_size = 4, .seed = lesson.seed()});
    const auto optimizer = make_optimizer(ctx, factory.parameters(), {});
    Tape tape;
    const int steps = lesson.quick() ? 50 : 400;
    for (int step = 0; step < steps; ++step) {
      const data::StepBatch batch = loader.batch(step);
      train_on(ctx, tape, *model, batch, double(batch.label_tokens), false);
      const double rate = 2e-3 * (1 + std::cos(3.14159265 * step / steps)) / 2;
      optimizer->step(ctx, float(rate), clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
    write_folder(work / "model", blank, factory.parameters());
  }
  const Checkpoint checkpoint = Checkpoint::open(work / "model");
  write_file(work / "calibration.txt", write_text(lesson.seed() + 2000, 100));
  const Calibration rows = read_calibration(work / "calibration.txt", checkpoint, {.window = 128, .max_windows = 8});
  const std::vector<int32_t> held_out = encode(lesson.seed() + 1000, lesson.quick() ? 30 : 100);

  struct Method {
    std::string key, shown, calibration, fits;
    double bits = 0, kl = 0, perplexity = 0, same_best = 0;
  };
  std::vector<Method> methods = {
      {"q8_0", "Q8_0", "不要", "几乎无损；内存够时"}, {"q6_k", "Q6_K", "不要", "很稳"},
      {"q5_k_m", "Q5_K_M", "可选", "质量优先"},       {"q4_k_m", "Q4_K_M", "可选", "本地推理的常用选择"},
      {"q4_0", "Q4_0", "不要", "最简单，最快"},       {"int8", "LLM.int8", "不要", "显卡上，8 位微调"},
      {"nf4", "NF4", "不要", "QLoRA 的底座"},         {"rtn", "就近舍入 4 位", "不要", "对照"},
      {"gptq", "GPTQ 4 位", "要", "显卡上服务"},      {"awq", "AWQ 4 位", "要", "显卡上服务；激活有离群的列"}};
  const RuntimeModel original(runtime, work / "model", {.compute = Compute::kF32});
  const std::vector<std::string> layers = linear_layers(checkpoint);
  for (Method& m : methods) {
    fs::path path = work / m.key;
    if (m.key[0] == 'q') {
      path += ".gguf";
      std::string name = m.key;  // llama.cpp 的写法：q4_K_M
      std::ranges::replace(name, 'k', 'K'), std::ranges::replace(name, 'm', 'M');
      write_gguf(path, checkpoint, gguf_mixture(name, checkpoint.config()), stored_values(checkpoint), runtime.pool);
    } else if (m.key == "nf4") {
      write_nf4_folder(path, checkpoint, runtime.pool);
    } else if (m.key == "int8") {
      write_int8_folder(path, checkpoint);
    } else if (m.key == "rtn") {
      quantise_nearest(runtime, checkpoint, {.group_size = 32}, path);
    } else {
      quantise_gptq(runtime, checkpoint, rows, {.group_size = 32, .awq = m.key == "awq"}, path);
    }
    // 线性层在文件里的字节：本身和比例；各矩阵相同的小表（16 个值、状态）不算。
    const Checkpoint stored = Checkpoint::open(path);
    const auto source = open_tensors(path);
    double bytes = 0, weights = 0;
    for (const std::string& layer : layers) {
      weights += double(checkpoint.tensor(layer + ".weight").count());
      if (stored.is_gguf()) {
        bytes += double(stored.tensor(layer + ".weight").bytes());
        continue;
      }
      for (const std::string& name : source->names()) {
        const bool scales =
            name.ends_with("scales") || name.ends_with("qzeros") || name.ends_with("absmax") || name.ends_with("SCB");
        const bool small =
            name.find("quant_") != std::string::npos || name.ends_with("g_idx") || name.ends_with("format");
        if (name.starts_with(layer + ".") && !small && !(scales && lesson.broken("no_scales")))
          bytes += double(source->get(name).bytes);
      }
    }
    m.bits = 8 * bytes / weights;
    const RuntimeModel model(runtime, path, {.compute = Compute::kF32});
    Context ctx = runtime.context(Compute::kF32), own = runtime.context(Compute::kF32);
    const CausalModel& reference = lesson.broken("itself") ? model.model() : original.model();
    const Divergence d = divergence(own, reference, ctx, model.model(), held_out, {.window = 128});
    m.kl = d.kl, m.perplexity = d.perplexity, m.same_best = 100 * d.same_best;
    if (&m == &methods[0]) lesson.value("perplexity", d.original_perplexity, "没有量化");
    lesson.value("bits_" + m.key, m.bits), lesson.value("kl_milli_" + m.key, 1000 * m.kl);
    lesson.value("perplexity_" + m.key, m.perplexity), lesson.value("same_best_percent_" + m.key, m.same_best);
  }
  std::ranges::stable_sort(methods, {}, &Method::kl);
  report::Table table({"方法", "位", "KL（毫纳特）", "困惑度", "最可能的字相同", "校准", "适合"},
                      "同一个模型，同一段没见过的文字（按 KL 排）");
  double not_positive = 0, best_4 = INFINITY, worst_4 = 0;
  report::Plot plot("位数与误差", "每个权重的位", "KL（毫纳特，对数）");
  report::Values bits, kls;
  for (const Method& m : methods) {
    table.row({m.shown, fmt::format("{:.2f}", m.bits), fmt::format("{:.3f}", 1000 * m.kl),
               fmt::format("{:.3f}", m.perplexity), fmt::format("{:.1f} %", m.same_best), m.calibration, m.fits});
    not_positive += !(m.kl > 0);
    if (m.bits < 4.9) best_4 = std::min(best_4, m.kl), worst_4 = std::max(worst_4, m.kl);
    bits.push_back(m.bits), kls.push_back(1000 * m.kl);
    plot.note({m.bits + 0.04, 1000 * m.kl * (m.key == "rtn" ? 1.25 : m.key == "q4_0" ? 0.8 : 1)}, m.shown);
  }
  lesson.table(table);
  lesson.value("spread_4_bits", worst_4 / best_4, "不到 4.9 位的几种，KL 最大的 ÷ 最小的");
  const auto of = [&](const std::string& key) { return *std::ranges::find(methods, key, &Method::key); };
  lesson.equal("量化总要改变一点：KL 不大于 0 的方法", not_positive, 0);
  lesson.at_most("同一族里位多的误差小：Q6_K ÷ Q4_0 的 KL", of("q6_k").kl / of("q4_0").kl, 0.5);
  lesson.at_most("Q8_0 ÷ Q6_K 的 KL", of("q8_0").kl / of("q6_k").kl, 1);
  lesson.equal("Q4_0 的位：4 + 16/32", of("q4_0").bits, 4.5);
  lesson.between("NF4 的位：4.127，末块不满多一点", of("nf4").bits, 4.126, 4.14);
  lesson.equal("GPTQ 与就近舍入是同样的格子，同样的位", of("gptq").bits, of("rtn").bits);
  fs::remove_all(work);
  plot.log_y().scatter("", bits, kls).x_range(4, 9).sized({620, 420});
  lesson.picture("methods", report::Figure("", 1).add(table).add(plot));
  return lesson.finish();
}
