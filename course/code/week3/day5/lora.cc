// 第 3 周第 5 天  LoRA：低秩适配；上下文窗口的代价
//
//   y = W x + (α/r) · B (A x)        W (n, k) 冻结，A (r, k)、B (n, r) 可训练，r 远小于 n 和 k
//
// 微调要学的改变 ΔW 往往“秩很低”：真正有用的方向只有几个。LoRA 就只学这几个方向。
// 本课：先推导参数个数，再用一个秩已知的 ΔW 验证“r 够了就能学会，不够就差一截”，最后算键值缓存要多少字节。
#include <cmath>

#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "course/frame/lesson.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"

using namespace sedum;
using course::Lesson;

Tensor normal(Arena& arena, const Shape& shape, float deviation, uint64_t seed, uint32_t stream) {
  Tensor t = Tensor::empty(arena, DType::kF32, shape);
  const Random random(seed, Purpose::kTest, stream);
  for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = deviation * random.normal(uint64_t(i));
  return t;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "LoRA、Q-LoRA、上下文窗口",
                 .difficulty = "LoRA 低秩适配原理模糊",
                 .remedy = "推导低秩分解，数参数，学一个秩已知的 ΔW",
                 .bugs = {{"both_random", "B 没有从 0 开始：训练还没开始，模型就变了"},
                          {"one_matrix", "数参数时只数了 A，忘了 B"},
                          {"no_values", "键值缓存只算了键，忘了值"}}});
  lesson.exercise("Llama-2-7B，q 和 v 两种矩阵（4096 × 4096，32 层），r = 8。LoRA 有多少参数？", "lora_parameters");
  lesson.exercise("同一个模型，fp16 的键和值，每个记号占多少 KiB？", "kv_kib_per_token");

  lesson.section("参数个数：r (n + k)，不是 n k");
  // 每个矩阵：A 有 r·k 个，B 有 n·r 个。Llama-2-7B：n = k = 4096，每层 q、v 两个，32 层。
  const auto lora_parameters = [&](double n, double k, double r) {
    return r * k + (lesson.broken("one_matrix") ? 0 : n * r);
  };
  const double lora = lesson.value("lora_parameters", 32 * 2 * lora_parameters(4096, 4096, 8));
  const double full = lesson.value("full_parameters", 32 * 2 * 4096.0 * 4096.0, "同样这些矩阵全部微调");
  lesson.value("lora_share_percent", 100 * lora / full);
  lesson.equal("Llama-2-7B，q 和 v，r = 8", lora, 4194304);
  report::Table table({"r", "参数", "占这些矩阵的百分比"});
  for (const int r : {1, 2, 4, 8, 16, 32, 64, 128})
    table.row({std::to_string(r), fmt::format("{:.0f}", 64 * lora_parameters(4096, 4096, r)),
               fmt::format("{:.3f}", 6400 * lora_parameters(4096, 4096, r) / full)});
  lesson.table(table);

  lesson.section("学一个秩为 4 的 ΔW");
  // 老师：y = (W + ΔW) x，ΔW = U V，U (n, 4)，V (4, k)。学生：W 冻结，只学 A 和 B。r ≥ 4 时误差能到 0；r < 4 时剩下的误差
  // 不可能低于 ΔW 的后几个奇异值（Eckart–Young）。
  const int64_t n = 24, k = 32, rank = 4, rows = 128;
  const int steps = lesson.quick() ? 400 : 1500;
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const Variable w(normal(arena, {n, k}, 1 / std::sqrt(float(k)), lesson.seed(), 0));
  const Variable x(normal(arena, {rows, k}, 1, lesson.seed(), 1));
  const Variable u(normal(arena, {n, rank}, 0.5f, lesson.seed(), 2)),
      v(normal(arena, {rank, k}, 0.3f, lesson.seed(), 3));
  const Variable target = ops::lora_linear(ctx, x, {w}, nullptr, v, u, 1);  // W x + U (V x)
  const Variable base = ops::linear(ctx, x, {w});
  const auto distance = [&](const Variable& a, const Variable& b) {  // 均方误差
    double sum = 0;
    for (int64_t i = 0; i < a.value().count(); ++i)
      sum += std::pow(double(a.value().data<float>()[i]) - double(b.value().data<float>()[i]), 2);
    return sum / double(a.value().count());
  };
  const double start = lesson.value("loss_before", distance(base, target), "ΔW 还没学时的误差");

  report::Plot plot("学一个秩为 4 的 ΔW：r 够了，误差才到 0", "步数", "均方误差 / 开始时的误差");
  plot.log_y();
  for (const int64_t r : {1, 2, 3, 4, 8}) {
    const Variable a = Variable::parameter(normal(arena, {r, k}, 1 / std::sqrt(float(k)), lesson.seed(), 4), "A");
    const Variable b = Variable::parameter(lesson.broken("both_random") ? normal(arena, {n, r}, 0.3f, lesson.seed(), 5)
                                                                        : Tensor::zeros(arena, DType::kF32, {n, r}),
                                           "B");
    const float factor = 16.0f / float(r);
    lesson.equal(fmt::format("r = {}：训练之前与原模型完全相同", r),
                 distance(ops::lora_linear(ctx, x, {w}, nullptr, a, b, factor), base), 0);
    const auto optimizer = make_optimizer(ctx, {a, b}, {});
    report::Values at, losses;
    double loss = 0;
    for (int step = 0; step < steps; ++step) {
      Tape tape;
      Context recording = ctx;
      recording.tape = &tape;
      const Variable y = ops::lora_linear(recording, x, {w}, nullptr, a, b, factor);
      const Variable error = ops::add(recording, y, ops::scale(ctx, target, -1));
      const Variable squares = ops::sum(recording, ops::multiply(recording, error, error));
      loss = double(*squares.value().data<float>()) / double(rows * n);
      if (step % 10 == 0) at.push_back(step), losses.push_back(loss / start);
      tape.backward(recording, squares);
      // 学习率按余弦降到 0：不降的话，Adam 在最低点附近来回跳。
      const double rate = 0.01 * (1 + std::cos(3.14159265 * step / steps)) / 2;
      optimizer->step(ctx, float(rate), 1 / float(rows * n), step);
    }
    plot.line(fmt::format("r = {}", r), at, losses);
    lesson.value(fmt::format("loss_share_r{}", r), loss / start);
    if (r >= rank)
      lesson.at_most(fmt::format("r = {} ≥ 4：学会了，剩下的误差", r), loss / start, 1e-3);
    else
      lesson.at_least(fmt::format("r = {} < 4：学不全，剩下的误差", r), loss / start, 0.02);
  }
  lesson.picture("rank", plot);

  lesson.section("上下文窗口：键和值要多少内存");
  // 每个记号、每层存一个键和一个值，各 num_key_value_heads · head_dim 个数，fp16 每个 2 字节。
  struct Shape {
    const char* name;
    double layers, kv_heads, head_dim;
  };
  const auto bytes = [&](const Shape& s) {
    return s.layers * (lesson.broken("no_values") ? 1 : 2) * s.kv_heads * s.head_dim * 2;
  };
  report::Table kv({"模型", "层", "键值头", "每个记号 (KiB)", "4096 个记号 (GiB)", "32768 个 (GiB)"});
  for (const Shape& s :
       {Shape{"Llama-2-7B", 32, 32, 128}, Shape{"Llama-2-13B", 40, 40, 128}, Shape{"Llama-2-70B", 80, 8, 128},
        Shape{"Qwen2.5-0.5B", 24, 2, 64}, Shape{"SmolLM2-135M", 30, 3, 64}})
    kv.row({s.name, fmt::format("{}", s.layers), fmt::format("{}", s.kv_heads), fmt::format("{}", bytes(s) / 1024),
            fmt::format("{:.3f}", bytes(s) * 4096 / (1 << 30)), fmt::format("{:.3f}", bytes(s) * 32768 / (1 << 30))});
  lesson.table(kv);
  const double seven = lesson.value("kv_kib_per_token", bytes({"", 32, 32, 128}) / 1024, "32 层 × 2 × 4096 × 2 字节");
  lesson.value("kv_gib_4096", bytes({"", 32, 32, 128}) * 4096 / (1 << 30));
  lesson.value("kv_kib_70b", bytes({"", 80, 8, 128}) / 1024, "70B 用 8 个键值头，比 7B 还少");
  lesson.equal("Llama-2-7B：每个记号 512 KiB", seven, 512);
  return lesson.finish();
}
