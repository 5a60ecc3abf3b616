// 第 8 周第 5 天  GPTQ：一列一列地舍入，误差交给后面的列去补
//
//   要最小的不是 ‖W − Q‖，而是输出的误差 ‖(W − Q) X‖² = Σ_行 (w − q) H (w − q)ᵀ，H = X Xᵀ
//   U 是 H⁻¹ 的 Cholesky 因子（上三角）。第 j 列舍入之后：e = (w_j − q_j) / U_jj，后面的列 w_k ← w_k − e · U_jk
//
// 就近舍入 (RTN) 只看权重；GPTQ 还看这一层平时收到什么输入，所以要一些校准的文字。各行互不相干，可以分给几个线程；
// 一行之内有先后，不能分。所以线程再多，结果一位也不变。
#include <algorithm>
#include <cmath>
#include <map>

#include "base/file.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "eval/perplexity.h"
#include "model/checkpoint/export.h"
#include "quant/awq.h"
#include "quant/gptq_model.h"
#include "quant/quantised_folder.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

// 一个小世界：植物和季节是随机的，光和水由它们决定。
std::string write_text(uint64_t seed, int sentences) {
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

// 没有分块、没有线程的 GPTQ：一行，K 列，每 group 列一个比例。
void naive_row(float* w, int64_t k, const float* u, int64_t group, bool feedback, uint8_t* codes) {
  float scale = 1;
  for (int64_t j = 0; j < k; ++j) {
    if (j % group == 0) {
      float most = 0;
      for (int64_t i = j; i < std::min(j + group, k); ++i) most = std::max(most, std::abs(w[i]));
      scale = f16_to_f32(f32_to_f16(2 * most / 15));
    }
    const float q = std::clamp(std::nearbyint(w[j] / scale) + 8, 0.0f, 15.0f);
    const float error = (scale * (q - 8) - w[j]) / u[j * k + j];
    codes[j] = uint8_t(q);
    for (int64_t i = j + 1; feedback && i < k; ++i) w[i] += error * u[j * k + i];
  }
}

int main(int argc, char** argv) {
  Lesson lesson(
      argc, argv,
      {.title = "GPTQ 量化",
       .difficulty = "量化速度慢",
       .remedy = "弄清哪些能并行：行可以，列不可以；逐层与就近舍入比较",
       .bugs = {{"no_feedback", "舍入的误差没有交给后面的列"}, {"identity", "海森矩阵用了单位阵：校准的文字白读了"}}});
  lesson.predict("4 位，同样的分组：GPTQ 的输出误差是就近舍入的百分之几？", "error_share_percent");
  const fs::path work = lesson.out() / "work";
  fs::remove_all(work);
  fs::create_directories(work);

  lesson.section("一、一个会说八种植物的小模型");
  const std::string config_json =
      R"({"model_type": "llama", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 2})";
  const Checkpoint blank = Checkpoint::untrained(config_json, fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama");
  const auto encode = [&](uint64_t seed, int sentences) {
    return blank.tokenizer()->encode(write_text(seed, sentences));
  };
  Runtime runtime(1);
  {
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed(), false, DType::kF32, Pack::kNone, 0.1f);
    const auto model = build_model(blank.config(), factory);
    Context ctx = runtime.context(Compute::kF32);
    const std::vector<int32_t> ids = encode(lesson.seed(), 400);
    std::vector<data::Sample> samples;
    for (size_t at = 0; at + 64 <= ids.size(); at += 64)
      samples.push_back({{&ids[at], &ids[at] + 64}, {&ids[at], &ids[at] + 64}});
    const data::Loader loader(samples, {.batch_size = 8, .seed = lesson.seed()});
    const auto optimizer = make_optimizer(ctx, factory.parameters(), {});
    Tape tape;
    const int steps = lesson.quick() ? 120 : 500;
    for (int step = 0; step < steps; ++step) {
      const data::StepBatch batch = loader.batch(step);
      train_on(ctx, tape, *model, batch, double(batch.label_tokens), false);
      const double rate = 6e-3 * (1 + std::cos(3.14159265 * step / steps)) / 2;
      optimizer->step(ctx, float(rate), clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
    write_folder(work / "model", blank, factory.parameters());
  }
  const Checkpoint checkpoint = Checkpoint::open(work / "model");
  const std::vector<int32_t> held_out = encode(lesson.seed() + 1000, 60);
  const auto perplexity_of = [&](const fs::path& folder) {
    const RuntimeModel model(runtime, folder, {.compute = Compute::kF32});
    Context ctx = runtime.context(Compute::kF32);
    return perplexity(ctx, model.model(), held_out, {.window = 128}).value();
  };

  lesson.section("二、每一层：同样的格子，两种舍入");
  write_file(work / "calibration.txt", write_text(lesson.seed() + 2000, 100));
  const Calibration rows = read_calibration(work / "calibration.txt", checkpoint, {.window = 128, .max_windows = 8});
  std::map<std::string, std::vector<float>> hessians;  // H = X Xᵀ (K, K)
  observe_inputs(runtime, checkpoint, rows, [&](const std::string& name, const Tensor& x) {
    const int64_t k = x.shape()[x.shape().rank() - 1], count = x.count() / k;
    std::vector<float>& h = hessians[name];
    h.resize(size_t(k * k));
    for (int64_t r = 0; r < count; ++r)
      for (int64_t i = 0; i < k; ++i)
        for (int64_t j = 0; j < k; ++j) h[size_t(i * k + j)] += x.data<float>()[r * k + i] * x.data<float>()[r * k + j];
  });
  const GptqOptions options{.bits = 4, .group_size = 32};
  double sum_gptq = 0, sum_nearest = 0, codes_differ = 0, worse_weights = 0;
  report::Values layer, nearest_errors, gptq_errors;
  for (const std::string& name : linear_layers(checkpoint)) {
    const Tensor stored = checkpoint.tensor(name + ".weight");
    const int64_t n = stored.shape()[0], k = stored.shape()[1];
    const std::vector<float> w(stored.data<float>(), stored.data<float>() + stored.count()), &h = hessians.at(name);
    std::vector<float> used = h;
    if (lesson.broken("identity"))
      for (int64_t i = 0; i < k * k; ++i) used[size_t(i)] = i % (k + 1) == 0;
    const HessianFactor factor(runtime.pool, used, k, options);
    const GroupQuantised clever = gptq(runtime.pool, w, n, k, factor, options);
    const GroupQuantised nearest = round_to_nearest(runtime.pool, w, n, k, options);
    const auto errors = [&](const GroupQuantised& q) {  // 输出的误差，权重的误差，都以不量化的大小计
      std::vector<float> d = q.values(runtime.pool);
      double weights = 0, size = 0;
      for (size_t i = 0; i < d.size(); ++i)
        d[i] -= w[i], weights += std::pow(double(d[i]), 2), size += std::pow(double(w[i]), 2);
      return std::pair(weighted_error(runtime.pool, d, n, k, h) / weighted_error(runtime.pool, w, n, k, h),
                       weights / size);
    };
    const auto [output_gptq, weights_gptq] = errors(clever);
    const auto [output_nearest, weights_nearest] = errors(nearest);
    sum_gptq += output_gptq, sum_nearest += output_nearest, worse_weights += weights_gptq > weights_nearest;
    layer.push_back(double(layer.size() + 1)), gptq_errors.push_back(100 * output_gptq),
        nearest_errors.push_back(100 * output_nearest);
    std::vector<float> left = w;
    std::vector<uint8_t> codes(w.size());
    for (int64_t r = 0; r < n; ++r)
      naive_row(&left[size_t(r * k)], k, factor.upper(), 32, !lesson.broken("no_feedback"), &codes[size_t(r * k)]);
    for (size_t i = 0; i < codes.size(); ++i) codes_differ += codes[i] != clever.q[i];
  }
  const double layers = lesson.value("layers", double(layer.size()), "量化的矩阵");
  lesson.value("nearest_error_percent", 100 * sum_nearest / layers, "就近舍入：输出的误差占输出的，各层平均");
  lesson.value("gptq_error_percent", 100 * sum_gptq / layers);
  lesson.value("error_share_percent", 100 * sum_gptq / sum_nearest);
  lesson.value("worse_weights", worse_weights, "权重本身离得反而更远的层：它要的是输出对，不是权重像");
  lesson.at_most("各层输出误差之和：GPTQ ÷ 就近舍入", sum_gptq / sum_nearest, 0.9);
  lesson.equal("二十行的 GPTQ 与库的：不同的编号", codes_differ, 0);

  lesson.section("三、整个模型：困惑度，和线程");
  report::Values perplexities = {perplexity_of(work / "model")};
  lesson.value("perplexity", perplexities[0], "没有见过的句子");
  for (const int bits : {4, 2}) {
    const GptqOptions choice{.bits = bits, .group_size = 32};
    const std::string key = std::to_string(bits);
    quantise_nearest(runtime, checkpoint, choice, work / ("nearest" + key));
    quantise_gptq(runtime, checkpoint, rows, choice, work / ("gptq" + key));
    perplexities.push_back(
        lesson.value("perplexity_nearest_" + key, perplexity_of(work / ("nearest" + key)), key + " 位，就近舍入"));
    perplexities.push_back(
        lesson.value("perplexity_gptq_" + key, perplexity_of(work / ("gptq" + key)), key + " 位，GPTQ"));
  }
  double files_differ = 0;
  for (const int threads : {2, 3}) {
    Runtime other(threads);
    quantise_gptq(other, checkpoint, rows, options, work / "again");
    files_differ += read_file(work / "again/model.safetensors") != read_file(work / "gptq4/model.safetensors");
    fs::remove_all(work / "again");
  }
  lesson.equal("1、2、3 个线程：不同的文件", files_differ, 0);
  // 一个大些的矩阵，看线程省多少时间。时间每次不同，不进 result.json。
  const int64_t big = lesson.quick() ? 192 : 1024;
  std::vector<float> w(size_t(big * big)), h(w.size());
  const Random random(lesson.seed(), Purpose::kTest, 2);
  for (size_t i = 0; i < w.size(); ++i) w[i] = random.normal(i), h[i] = i % size_t(big + 1) == 0 ? 4.0f : 1.0f;
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    const auto start = std::chrono::steady_clock::now();
    gptq(pool, w, big, big, HessianFactor(pool, h, big, options), options);
    lesson.say("  {} × {}，{} 个线程：{:.2f} 秒", big, big, threads,
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  fs::remove_all(work);

  report::Plot by_layer("4 位：每一层输出的误差", "第几个矩阵", "误差 ÷ 输出（%）"),
      whole("没见过的句子的困惑度", "", "困惑度");
  by_layer.line("就近舍入", layer, nearest_errors).line("GPTQ", layer, gptq_errors).log_y();
  whole.categories({"f32", "4 位就近", "4 位 GPTQ", "2 位就近", "2 位 GPTQ"}).bars("", perplexities);
  lesson.picture("gptq", report::Figure("", 2).add(by_layer).add(whole));
  return lesson.finish();
}
