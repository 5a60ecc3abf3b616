// 第 7 周第 5 天  损失曲线为什么抖：学习率、批次，和 TensorBoard
//
//   g_b = 一小批 b 行的梯度的平均        E‖g_b − g‖² = σ² / b        所以噪声 ∝ 1/√b
//
// 曲线抖有两个来源：批次小，梯度本身就不准；学习率大，同样的噪声走得更远。前一个有公式，先验证它；再用 3 × 3 的格子看两者合起来，
// 每一条曲线都写成 TensorBoard 的文件，再逐条记录读回来，校验和一个不差。
#include <cmath>
#include <cstring>

#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "formats/tensorboard.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/heatmap.h"
#include "report/plot.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

// 第一个记号说步长 d，第二个是起点，之后每个数 = 前一个 + d（模 29）；一成的标签是错的，损失降不到 0，一直有噪声。
data::Sample row(uint64_t r, uint64_t seed) {
  const Random random(seed, Purpose::kTest);
  const uint64_t at = r * 64;
  const int a = int(random.below(29, at)), d = 1 + int(random.below(4, at + 1));
  data::Sample s;
  s.ids.push_back(29 + d);
  for (int i = 0; i < 12; ++i) s.ids.push_back((a + d * i) % 29);
  s.labels = s.ids;
  s.labels[0] = s.labels[1] = data::kIgnored;
  for (size_t i = 2; i < s.labels.size(); ++i)
    if (random.below(10, at + 8 + i) == 0) s.labels[i] = int32_t(random.below(29, at + 32 + i));
  return s;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "微调监控：损失曲线",
                 .difficulty = "损失曲线波动大",
                 .remedy = "先验证噪声 ∝ 1/√批次，再看学习率 × 批次的格子",
                 .bugs = {{"summed", "小批的梯度加起来没有平均：批次越大噪声越大"}, {"torn", "文件写坏了一个字节"}}});
  lesson.exercise("批次从 4 加到 64，梯度的噪声变成原来的几分之一（小数）？", "noise_4_to_64");
  lesson.value("noise_4_to_64", std::sqrt(4.0 / 64));
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 32, sizes.intermediate_size = 64;
  sizes.num_hidden_layers = 2, sizes.num_attention_heads = sizes.num_key_value_heads = 2, sizes.head_dim = 16;
  std::vector<data::Sample> all;
  for (uint64_t r = 0; r < 512; ++r) all.push_back(row(r, lesson.seed()));

  lesson.section("一、梯度的噪声与批次");
  Runtime runtime(1);
  RandomFactory factory(runtime.pool, runtime.arena, lesson.seed());
  const auto model = build_model(sizes, factory);
  Context ctx = runtime.context(Compute::kF32);
  Tape tape;
  const auto gradient = [&](const std::vector<size_t>& rows) {
    data::StepBatch batch;
    for (const size_t r : rows) append_sample(batch, all[r], uint32_t(r));
    train_on(ctx, tape, *model, batch, lesson.broken("summed") ? 11 : double(batch.label_tokens), false);
    std::vector<float> g;
    for (const Variable& p : factory.parameters()) {
      g.insert(g.end(), p.gradient().data<float>(), p.gradient().data<float>() + p.gradient().count());
      p.gradient() = Tensor();
    }
    return g;
  };
  const Random random(lesson.seed(), Purpose::kSampling);
  const int draws = lesson.quick() ? 64 : 256;
  report::Values batches, noise;
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (const size_t b : {size_t(1), size_t(4), size_t(16), size_t(64)}) {
    // 有放回地抽；同一批大小的各次之间，两两相减的一半就是方差，不必知道真正的梯度。
    double squares = 0;
    std::vector<float> before;
    for (int k = 0; k < draws; ++k) {
      std::vector<size_t> rows;
      for (size_t i = 0; i < b; ++i) rows.push_back(size_t(random.below(512, (uint64_t(k) * 4 + b) * 4096 + i)));
      std::vector<float> g = gradient(rows);
      if (k % 2)
        for (size_t i = 0; i < g.size(); ++i) squares += std::pow(double(g[i]) - double(before[i]), 2) / draws;
      before = std::move(g);
    }
    batches.push_back(double(b)), noise.push_back(std::sqrt(squares));
    lesson.value(fmt::format("noise_{}", b), noise.back(), "‖g_b − g‖ 的均方根");
    const double x = std::log(double(b)), y = std::log(noise.back());
    sx += x, sy += y, sxx += x * x, sxy += x * y;
  }
  const double slope = lesson.value("slope", (4 * sxy - sx * sy) / (4 * sxx - sx * sx), "双对数坐标的斜率，理论 −1/2");
  // 每点由 32 对以上的差估计，最坏（只有一个方向有噪声）时相对误差 √(2/32)/2 = 13 %；四点的斜率约差 0.13/3.1 = 0.04，取三倍。
  lesson.between("噪声 ∝ 1/√批次", slope, -0.5 - 0.125, -0.5 + 0.125);

  lesson.section("二、学习率 × 批次；曲线写成 TensorBoard 的文件");
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("sedum-lesson-board-{}", getpid());
  const std::vector<double> rates = {0.003, 0.01, 0.03};
  const std::vector<int> sizes_of_batch = {2, 8, 32};
  const int steps = lesson.quick() ? 60 : 300;
  std::vector<std::vector<double>> jitter, last;
  report::Plot curves("批次 2 与 32（学习率 0.01）", "步数", "损失");
  double records = 0, good = 0;
  for (const double rate : rates) {
    jitter.emplace_back(), last.emplace_back();
    for (const int b : sizes_of_batch) {
      Runtime own(1);
      RandomFactory fresh(own.pool, own.arena, lesson.seed());
      const auto trained = build_model(sizes, fresh);
      Context c = own.context(Compute::kF32);
      const auto optimizer = make_optimizer(c, fresh.parameters(), {});
      const data::Loader loader(all, {.batch_size = b, .seed = lesson.seed()});
      const std::string name = fmt::format("lr{}_batch{}", rate, b);
      TensorboardWriter board(folder / name);
      Tape t;
      report::Values at, losses;
      for (int64_t step = 0; step < steps; ++step) {
        const data::StepBatch batch = loader.batch(step);
        losses.push_back(train_on(c, t, *trained, batch, double(batch.label_tokens), false)),
            at.push_back(double(step));
        optimizer->step(c, float(rate), clip_scale(optimizer->gradient_norm(c), 1), step);
        board.scalar("train/loss", losses.back(), step + 1);
      }
      // 抖动：最后三分之一里，相邻两步之差的均方根除以 √2，趋势就消掉了。
      double squares = 0, mean = 0;
      const size_t from = losses.size() * 2 / 3, count = losses.size() - from - 1;
      for (size_t i = from + 1; i < losses.size(); ++i)
        squares += std::pow(losses[i] - losses[i - 1], 2) / 2 / double(count), mean += losses[i] / double(count);
      jitter.back().push_back(std::sqrt(squares)), last.back().push_back(mean);
      const std::string key = fmt::format("{:.0f}_{}", rate * 1000, b);
      lesson.value("jitter_" + key, jitter.back().back()), lesson.value("loss_" + key, mean);
      if (rate == 0.01 && b != 8) curves.line(fmt::format("批次 {}", b), at, losses);
      // 读回来：长度 (8 字节)、长度的校验和、内容、内容的校验和。校验和转过 15 位再加一个常数（TFRecord 的规定）。
      std::string bytes = read_file(board.path());
      if (lesson.broken("torn")) bytes[bytes.size() / 2] ^= 1;
      const auto masked = [](std::string_view part) {
        const uint32_t crc = crc32c(part);
        return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
      };
      for (size_t place = 0; place + 16 <= bytes.size();) {
        uint64_t length = 0;
        uint32_t head = 0, tail = 0;
        std::memcpy(&length, &bytes[place], 8), std::memcpy(&head, &bytes[place + 8], 4);
        if (head != masked({&bytes[place], 8}) || length > bytes.size() - place - 16) break;
        std::memcpy(&tail, &bytes[place + 12 + length], 4);
        ++records, good += tail == masked({&bytes[place + 12], length});
        place += 16 + length;
      }
    }
  }
  // 每个文件第一条说版本，之后一步一条。
  lesson.equal("九个文件，每一步都有一条记录", records, double(9 * (steps + 1)));
  lesson.equal("每条记录的校验和都对", good, records);
  lesson.value("records", records);
  report::Plot law("梯度的噪声", "批次", "‖g_b − g‖");
  report::Values ideal;
  for (const double b : batches) ideal.push_back(noise[0] / std::sqrt(b));
  law.log_x().log_y().scatter("实测", batches, noise).line("1/√b", batches, ideal).sized({360, 300});
  report::Heatmap grid("最后三分之一的抖动", jitter);
  grid.rows({"0.003", "0.01", "0.03"}, "学习率").columns({"2", "8", "32"}, "批次").digits(3).cell({64, 44});
  lesson.picture("monitor", report::Figure("", 3).add(law).add(curves.sized({420, 300})).add(grid));
  std::filesystem::remove_all(folder);
  return lesson.finish();
}
