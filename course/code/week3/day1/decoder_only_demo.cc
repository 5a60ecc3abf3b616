// 第 3 周第 1 天  只有解码器的模型（GPT）：一个字一个字地写
//
//   p(x₁ … x_T) = ∏ p(x_t | x₁ … x_{t−1})
//
// 自回归：模型只会一件事，看着前文，给出下一个字的概率。写文章就是反复做这件事，把写出的字接到前文后面。
// 要让训练时一次算完整句、生成时一个字一个字算，两者结果相同，靠的是因果掩码：后面的字不影响前面的。
#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "compute/ops/norm.h"
#include "course/frame/lesson.h"
#include "infer/paged_cache.h"
#include "infer/sampler.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/heatmap.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

// 按字切分：每个不同的字是一个记号。UTF-8 的后续字节以 10 开头，不另起一个字。
std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> all;
  for (const char c : text) {
    if ((uint8_t(c) & 0xC0) != 0x80) all.emplace_back();
    all.back() += c;
  }
  return all;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Decoder-only：自回归生成",
                 .difficulty = "自回归生成原理模糊",
                 .remedy = "训练一个很小的 GPT，看它一个字一个字地写",
                 .bugs = {{"shift", "目标没有错开一位：学的是抄写当前的字，不是猜下一个"},
                          {"position", "用缓存生成时，新字的位置总是 0"}}});
  lesson.predict("句中“粒”出现两次，后面一次跟“粒”，一次跟“皆”。训练到底，平均每个字的损失能到 0 吗（猜一个数）？",
                 "final_loss");

  lesson.section("数据：一首诗，每个字一个记号");
  const std::string poem = "锄禾日当午，汗滴禾下土。谁知盘中餐，粒粒皆辛苦。";
  std::map<std::string, int32_t> id_of;
  std::vector<std::string> text_of;
  std::vector<int32_t> ids;
  for (const std::string& c : characters(poem)) {
    if (id_of.emplace(c, int32_t(text_of.size())).second) text_of.push_back(c);
    ids.push_back(id_of[c]);
  }
  const int64_t length = int64_t(ids.size()), vocabulary = int64_t(text_of.size());
  lesson.value("characters", double(length)), lesson.value("vocabulary", double(vocabulary));

  lesson.section("模型：两层，宽 32，两个头");
  ModelConfig config;
  config.model_type = "llama", config.vocab_size = vocabulary, config.hidden_size = 32, config.intermediate_size = 64;
  config.num_hidden_layers = 2, config.num_attention_heads = 2, config.num_key_value_heads = 2, config.head_dim = 16;
  Runtime runtime(1);
  RandomFactory factory(runtime.pool, runtime.arena, lesson.seed());
  const auto model = build_model(config, factory);
  lesson.value("parameters", double(config.parameter_count()));
  Context ctx = runtime.context(Compute::kF32);

  // 训练：输入 x₁ … x_{T−1}，目标 x₂ … x_T。因果掩码使一次前向就得到 T − 1 个预测。
  data::StepBatch batch;
  batch.ids = ids, batch.segments = {{0, int32_t(length)}}, batch.label_tokens = length - 1;
  for (int64_t i = 0; i < length; ++i) {
    batch.positions.push_back(int32_t(i));
    const int64_t next = lesson.broken("shift") ? i : i + 1;
    batch.targets.push_back(next < length && i + 1 < length ? ids[size_t(next)] : data::kIgnored);
  }
  const auto optimizer = make_optimizer(ctx, factory.parameters(), {});
  Tape tape;
  report::Values steps, losses;
  const int total = lesson.quick() ? 120 : 300;
  for (int step = 0; step < total; ++step) {
    losses.push_back(train_on(ctx, tape, *model, batch, double(batch.label_tokens), false)), steps.push_back(step);
    optimizer->step(ctx, 5e-3f, clip_scale(optimizer->gradient_norm(ctx), 1), step);
  }
  lesson.value("first_loss", losses.front(),
               fmt::format("接近 ln {} = {:.3f}：开始时每个字一样可能", vocabulary, std::log(double(vocabulary))));
  lesson.value("final_loss", losses.back(), "前文更长，两个“粒”就分得清，所以能到 0");
  lesson.between("开始时的损失在瞎猜附近", losses.front(), std::log(double(vocabulary)) - 0.7,
                 std::log(double(vocabulary)) + 0.7);
  lesson.at_most("训练之后", losses.back(), 0.1);

  lesson.section("生成：看着“锄”，一个字一个字地写");
  // logits (T, V)：第 t 行只用到 x₁ … x_t。
  const auto logits_of = [&](const std::vector<int32_t>& text) {
    const Variable out = model->logits(ctx, model->hidden_states(ctx, Batch::of_sequences({text})));
    return std::vector<float>(out.value().data<float>(), out.value().data<float>() + out.value().count());
  };
  std::vector<int32_t> written = {ids[0]};
  std::string shown = text_of[size_t(ids[0])];
  std::vector<std::vector<double>> probabilities;  // 每一步：所有字的概率
  while (int64_t(written.size()) < length) {
    const std::vector<float> all = logits_of(written);
    const std::span<const float> last(all.data() + all.size() - size_t(vocabulary), size_t(vocabulary));
    const int32_t next = argmax(last);
    double sum = 0;
    for (const float l : last) sum += std::exp(double(l) - double(last[size_t(next)]));
    probabilities.emplace_back();
    for (const float l : last) probabilities.back().push_back(std::exp(double(l) - double(last[size_t(next)])) / sum);
    if (written.size() <= 6) lesson.say("  {} → {}（概率 {:.3f}）", shown, text_of[size_t(next)], 1 / sum);
    written.push_back(next), shown += text_of[size_t(next)];
  }
  lesson.say("  {}", shown);
  double wrong = 0;
  for (size_t i = 0; i < ids.size(); ++i) wrong += written[i] != ids[i];
  lesson.equal("从一个字出发写出了整首诗，写错的字", wrong, 0);

  lesson.section("后面的字从不改变前面的");
  const std::vector<float> before = logits_of(ids);
  double changed = 0;
  for (int64_t t = 1; t < length; ++t) {  // 把第 t 个字起的后文全部换掉
    std::vector<int32_t> other = ids;
    for (int64_t i = t; i < length; ++i) other[size_t(i)] = int32_t((ids[size_t(i)] + 7) % vocabulary);
    const std::vector<float> after = logits_of(other);
    for (int64_t i = 0; i < t * vocabulary; ++i) changed += after[size_t(i)] != before[size_t(i)];
  }
  lesson.equal("前文的 logits 中变了的（逐位比较）", changed, 0);

  lesson.section("有缓存与没有缓存，结果相同");
  // 键和值存起来：写第 t 个字只算一行，而不是 t 行。
  PagedCache cache(runtime.arena, config, DType::kF32, 4);
  PagedSequence sequence;
  double largest = 0, spread = 0;
  bool room = true;
  for (int64_t t = 0; t < length; ++t) {
    room = room && cache.reserve(sequence, 1);
    PagedStep step(cache, {{&sequence, 1}});
    Batch one;
    one.ids = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{ids[size_t(t)]});
    one.positions = {lesson.broken("position") ? 0 : int32_t(t)}, one.state = &step;
    const Variable out = model->logits(ctx, model->hidden_states(ctx, one));
    step.commit();
    for (int64_t v = 0; v < vocabulary; ++v) {
      largest = std::max(largest,
                         std::abs(double(out.value().data<float>()[v]) - double(before[size_t(t * vocabulary + v)])));
      spread = std::max(spread, std::abs(double(before[size_t(t * vocabulary + v)])));
    }
  }
  lesson.claim("键和值都有地方存", room);
  // 每一行的和都按同样的次序相加，差别最多是注意力分块时的舍入：几个 ε 乘上 logits 的大小。
  lesson.value("cached_difference", largest, "logits 的最大差");
  lesson.at_most("缓存 = 不用缓存（以 logits 的大小计）", largest / spread, 1e-5);
  lesson.value("work_without_cache", double(length * (length + 1) / 2), "不用缓存要算的行数：1 + 2 + … + T");
  lesson.value("work_with_cache", double(length), "用缓存：T");

  std::vector<std::string> row_names, column_names;
  std::vector<std::vector<double>> shown_cells;
  for (size_t i = 0; i < 11; ++i) {
    row_names.push_back(text_of[size_t(written[i])]);
    shown_cells.emplace_back(probabilities[i].begin(), probabilities[i].begin() + 12);
  }
  for (size_t v = 0; v < 12; ++v) column_names.push_back(text_of[v]);
  report::Plot plot("训练：猜下一个字", "步数", "损失");
  plot.line("每个字的损失", steps, losses).horizontal(std::log(double(vocabulary)), "瞎猜");
  report::Heatmap heat("每一步，下一个字的概率", shown_cells);
  heat.rows(row_names, "刚写出的字").columns(column_names, "下一个字").cell({34, 24}).digits(1);
  lesson.picture("poem", report::Figure("", 2).add(plot).add(heat));
  return lesson.finish();
}
