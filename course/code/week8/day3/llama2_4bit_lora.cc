// 第 8 周第 3 天  4 位的底座，加 LoRA 才能微调
//
//   y = Q(W) x + (α/r) B (A x)         Q(W)：NF4，16 个值，冻结         A、B：f32，训练
//
// 4 位的权重没有梯度可言：它只有 16 个值，一小步的更新舍入之后等于没走。所以“量化了就不能微调”，除非旁边另有能训练的参数。
// 这里的底座是 Llama-2 的样子、小得多；先预训练，再压成 4 位，再学一件新的事。
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/adapters/lora.h"
#include "model/checkpoint/nf4_factory.h"
#include "report/plot.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

// 把训练好的参数按名字交出来，冻结：预训练过的底座。顺便记下交给上层的每个矩阵，好在训练前后比较它们的位。
class Pretrained : public LayerFactory {
 public:
  explicit Pretrained(const std::vector<Variable>& parameters) {
    for (const Variable& p : parameters) stored_[p.name()] = p.value();
  }
  std::unique_ptr<Linear> linear(const std::string& name, int64_t, int64_t, bool) override {
    return std::make_unique<DenseLinear>(ops::Weight{Variable(stored_.at(name + ".weight"))});
  }
  Variable vector(const std::string& name, int64_t) override { return Variable(stored_.at(name + ".weight")); }
  ops::Weight table(const std::string& name, int64_t, int64_t) override {
    return {Variable(stored_.at(name + ".weight"))};
  }

 private:
  std::map<std::string, Tensor> stored_;
};
class Watching : public LayerFactory {
 public:
  explicit Watching(LayerFactory& base) : base_(base) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out, int64_t in, bool bias) override {
    auto layer = base_.linear(name, out, in, bias);
    seen.push_back(layer->dense().weight().stored.value());
    return layer;
  }
  Variable vector(const std::string& name, int64_t size) override { return base_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return base_.table(name, rows, cols);
  }
  std::vector<Tensor> seen;

 private:
  LayerFactory& base_;
};

// 一行：第一个记号说步长 d，第二个是起点 a，之后每个数 = 前一个 + d（模 29）。预训练学 d 从 1 到 4；微调要学的是步长变了号：每次减 d。
data::Sample row(uint64_t at, int sign, uint64_t seed) {
  const Random random(seed, Purpose::kTest);
  const int a = int(random.below(29, 2 * at)), d = 1 + int(random.below(4, 2 * at + 1));
  data::Sample s;
  s.ids.push_back(29 + d);
  for (int i = 0; i < 12; ++i) s.ids.push_back(((a + sign * d * i) % 29 + 29) % 29);
  s.labels = s.ids;
  s.labels[0] = s.labels[1] = data::kIgnored;  // 起点是随机的，不算损失
  return s;
}
std::vector<data::Sample> rows(int count, int sign, uint64_t seed) {
  std::vector<data::Sample> all;
  for (int i = 0; i < count; ++i) all.push_back(row(uint64_t(i), sign, seed));
  return all;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "4 位的 Llama 加 LoRA",
                 .difficulty = "模型量化后无法微调",
                 .remedy = "底座冻结在 4 位，训练旁边的适配器；配置不合时先拒绝",
                 .bugs = {{"requantise", "训练完把 A、B 合并进 4 位的底座，又存了回去"},
                          {"zero_a", "A 也从 0 开始：A、B 的梯度都是 0，永远学不动"},
                          {"full", "想直接训练 4 位的权重，却没有人拦"}}});
  lesson.predict("4 位底座加 LoRA，最后的损失是 f32 底座加 LoRA 的几倍？", "qlora_over_lora");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 64, sizes.intermediate_size = 128;
  sizes.num_hidden_layers = 2, sizes.num_attention_heads = sizes.num_key_value_heads = 4, sizes.head_dim = 16;
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  const auto train = [&](const CausalModel& model, const std::vector<Variable>& parameters, int sign, int steps,
                         double rate) {
    const data::Loader loader(rows(512, sign, lesson.seed()), {.batch_size = 16, .seed = lesson.seed()});
    const auto optimizer = make_optimizer(ctx, parameters, {});
    const Schedule schedule{.learning_rate = rate, .warmup = 10, .total = steps};
    Tape tape;
    report::Values losses;
    for (int64_t step = 0; step < steps; ++step) {
      const data::StepBatch batch = loader.batch(step);
      losses.push_back(train_on(ctx, tape, model, batch, double(batch.label_tokens), false));
      optimizer->step(ctx, schedule.at(step), clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
    return losses;
  };

  lesson.section("一、底座：预训练，压成 4 位");
  RandomFactory random(runtime.pool, runtime.arena, lesson.seed());
  const auto whole = build_model(sizes, random);
  train(*whole, random.parameters(), +1, lesson.quick() ? 150 : 400, 5e-3);
  const std::vector<data::Sample> old_test = rows(100, +1, lesson.seed() + 77),
                                  test = rows(100, -1, lesson.seed() + 77);
  lesson.value("base_loss", evaluate_loss(ctx, *whole, old_test), "f32 底座，加法，没见过的行");
  Pretrained stored(random.parameters());
  Nf4Factory packed(stored, runtime.pool, runtime.arena);
  Watching watching(packed);
  const auto quantised = build_model(sizes, watching);
  lesson.value("quantised_loss", evaluate_loss(ctx, *quantised, old_test), "4 位底座，加法");
  double f32_bytes = 0, nf4_bytes = 0;
  for (const Tensor& t : watching.seen) f32_bytes += 4 * double(t.count()), nf4_bytes += double(t.bytes());
  lesson.value("f32_kib", f32_bytes / 1024, "两层的矩阵"), lesson.value("nf4_kib", nf4_bytes / 1024);
  // 内存里每 64 个数：32 字节的编号，和一个比例（4 字节）。
  lesson.equal("内存里每个权重 4.5 位", 8 * nf4_bytes / (f32_bytes / 4), 4.5);

  lesson.section("二、不加适配器：没有可以训练的东西");
  struct Attempt {
    std::string recipe, problem;
  };
  std::vector<Attempt> attempts = {{"finetuning_type: qlora\nr: 0", ""},
                                   {"finetuning_type: qlora\ncompute: int8", ""},
                                   {"finetuning_type: full\ncompute: int8", ""},
                                   {"finetuning_type: full\nadapter_name_or_path: a", ""}};
  if (lesson.broken("full")) attempts[2].recipe = "finetuning_type: full\ncompute: f32";
  report::Table table({"配方", "为什么拒绝，怎么改"});
  double refused = 0;
  for (Attempt& a : attempts) {
    try {
      parse_train_config(a.recipe + "\nmodel_name_or_path: m\noutput_dir: o\ndata: {train: [d.jsonl]}", {}, "配方");
    } catch (const Error& e) {
      a.problem = e.problem() + (e.mend().empty() ? "" : " → " + e.mend()), ++refused;
    }
    std::ranges::replace(a.recipe, '\n', ' ');
    table.row({a.recipe, a.problem.empty() ? "没有拦" : a.problem});
  }
  lesson.table(table);
  lesson.equal("不能训练的四种配置，开始之前都拒绝了", refused, double(attempts.size()));
  double parameters = 0;  // 4 位的底座自己：没有一个参数要梯度
  for (const Tensor& t : watching.seen) parameters += Variable(t).needs_gradient();
  lesson.equal("4 位底座自己能训练的参数", parameters, 0);

  lesson.section("三、加 LoRA：学减法");
  const auto adapt = [&](LayerFactory& base, report::Values& losses) {
    LoraFactory lora(base, {.r = 8, .lora_alpha = 16, .target_modules = {"all-linear"}}, runtime.pool, runtime.arena,
                     lesson.seed());
    const auto model = build_model(sizes, lora);
    const double before = evaluate_loss(ctx, *model, test);
    if (lesson.broken("zero_a"))
      for (Variable p : lora.parameters()) std::fill_n(p.value().data<float>(), p.value().count(), 0.0f);
    losses = train(*model, lora.parameters(), -1, lesson.quick() ? 200 : 600, 5e-3);
    return std::pair{before, evaluate_loss(ctx, *model, test)};
  };
  const size_t base_layers = watching.seen.size();
  report::Values plain_losses, losses;
  const auto [plain_before, plain] = adapt(stored, plain_losses);
  const auto [before, after] = adapt(watching, losses);
  watching.seen.erase(watching.seen.begin(), watching.seen.begin() + long(base_layers));  // QLoRA 自己的底座
  if (lesson.broken("requantise")) static_cast<char*>(watching.seen[0].raw())[0] ^= 0x11;
  // 同一份权重再压一次，就是训练之前的位。
  Watching fresh(packed);
  build_model(sizes, fresh);
  double changed = 0;
  for (size_t i = 0; i < base_layers; ++i)
    changed += std::memcmp(fresh.seen[i].raw(), watching.seen[i].raw(), fresh.seen[i].bytes()) != 0;
  lesson.value("lora_loss", plain, "f32 底座加 LoRA，减法，没见过的行"), lesson.value("qlora_loss", after, "4 位底座");
  lesson.value("before_loss", before, "4 位底座，训练之前"), lesson.value("qlora_over_lora", after / plain);
  lesson.at_most("学会了：损失降到开始的几分之一", after / before, 0.2);
  lesson.equal("底座的位变了的矩阵", changed, 0);
  report::Values at;
  for (size_t i = 0; i < losses.size(); ++i) at.push_back(double(i));
  report::Plot plot("底座 4 位还是 32 位：同样的数据，同样的适配器", "步数", "损失（减法）");
  plot.log_y().line("f32 底座 + LoRA", at, plain_losses).line("4 位底座 + LoRA", at, losses).sized({560, 330});
  lesson.picture("curve", plot);
  return lesson.finish();
}
