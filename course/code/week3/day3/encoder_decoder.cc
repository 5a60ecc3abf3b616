// 第 3 周第 3 天  编码器–解码器（T5）：把数字译成汉字
//
//   编码器：读完整个原文，双向，只算一次            H = Encoder(x₁ … x_S)              (S, d)
//   解码器：一个字一个字地写，每写一个字都回头看原文   p(y_t | y₁ … y_{t−1}, H)
//   交叉注意力：查询来自译文，键和值来自原文          softmax(Q_y K_Hᵀ) V_H              (T, S) · (S, d)
//
// 翻译任务：2035 → 二千零三十五。原文四个记号，译文六个字，长短不同，次序也不总对得上（中间的“零”有时写一个，有时不写），
// 所以既要看懂整个原文，又要记得自己写到了哪里：正是编码器和解码器各自的工作。
#include <algorithm>
#include <set>

#include "base/random.h"
#include "compute/ops/loss.h"
#include "course/frame/lesson.h"
#include "infer/seq2seq.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/heatmap.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"

using namespace sedum;
using course::Lesson;
using Ids = std::vector<int32_t>;

// 记号：0 开始，1 结束，2 … 11 数字，12 起是汉字。
const std::vector<std::string> kHan = {"零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "百", "千"};
constexpr int32_t kStart = 0, kEnd = 1, kDigit = 2, kHanFirst = 12;

Ids digits(int n, bool with_end = true) {
  Ids ids;
  for (const char c : std::to_string(n)) ids.push_back(kDigit + c - '0');
  if (with_end) ids.push_back(kEnd);  // T5 的原文也以结束记号收尾：这样才知道一共几位
  return ids;
}

// 读法：每一位“数字 + 位名”，连续的零只读一个，末尾的零不读，10 … 19 读作“十几”。
Ids numeral(int n) {
  Ids ids;
  const std::string text = std::to_string(n);
  bool zero = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const int digit = text[i] - '0', place = int(text.size() - 1 - i);
    if (digit == 0) {
      zero = true;
      continue;
    }
    if (zero) ids.push_back(kHanFirst);
    zero = false;
    if (!(digit == 1 && place == 1 && i == 0)) ids.push_back(kHanFirst + digit);
    if (place > 0) ids.push_back(kHanFirst + 9 + place);
  }
  ids.push_back(kEnd);
  return ids;
}

std::string shown(const Ids& ids) {
  std::string text;
  for (const int32_t id : ids)
    text += id >= kHanFirst ? kHan[size_t(id - kHanFirst)] : id >= kDigit ? std::to_string(id - kDigit) : "";
  return text;
}

// 译文右移一位：解码器看到的是“开始”和前面的字，要猜的是下一个字。
Ids shifted(const Ids& target) {
  Ids ids{kStart};
  ids.insert(ids.end(), target.begin(), target.end() - 1);
  return ids;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Encoder–Decoder：把数字译成汉字",
                 .difficulty = "编解码协作逻辑不清",
                 .remedy = "训练一个很小的 T5，拆开看翻译的每一步",
                 .bugs = {{"shift", "训练时译文没有右移一位：解码器看着答案抄答案"},
                          {"crossed", "训练时译文配错了原文：交叉注意力看的是别人的原文"},
                          {"no_end", "原文没有结束记号：解码器分不清 99 和 9900"}}});
  lesson.predict("2035 译成“二千零三十五”共七步（含结束）。编码器算几次？", "encoder_runs");
  lesson.predict("五分之一的数从不给它看。这些数它能译对百分之几？", "unseen_percent");

  const auto source_of = [&](int n) { return digits(n, !lesson.broken("no_end")); };
  lesson.section("数据：1 … 9999，五分之一留着不看");
  const Random random(lesson.seed(), Purpose::kTest);
  std::vector<int> seen, unseen;
  for (int n = 1; n <= 9999; ++n) (random.below(5, uint64_t(n)) ? seen : unseen).push_back(n);
  std::vector<std::vector<int>> by_length(4);
  for (const int n : seen) by_length[digits(n).size() - 2].push_back(n);
  lesson.say("例：{} → {}，{} → {}，{} → {}", 2035, shown(numeral(2035)), 8003, shown(numeral(8003)), 17,
             shown(numeral(17)));
  lesson.value("seen", double(seen.size())), lesson.value("unseen", double(unseen.size()));

  lesson.section("模型：编码器两层，解码器两层，宽 32，两个头");
  ModelConfig config;
  config.model_type = "t5", config.vocab_size = kHanFirst + 13, config.hidden_size = 32, config.intermediate_size = 64;
  config.num_hidden_layers = config.encoder.num_decoder_layers = 2;
  config.num_attention_heads = config.num_key_value_heads = 2, config.head_dim = 16;
  config.tie_word_embeddings = true, config.encoder.scale_decoder_outputs = true, config.encoder.hidden_act = "relu";
  config.encoder.relative_attention_num_buckets = 16, config.encoder.relative_attention_max_distance = 32;
  config.encoder.decoder_start_token_id = kStart, config.eos_token_id = kEnd;
  Runtime runtime(1);
  RandomFactory factory(runtime.pool, runtime.arena, lesson.seed(), false, DType::kF32, Pack::kNone, 0.04f);
  const T5Model model(config, factory);
  lesson.value("parameters", double(config.parameter_count()));

  lesson.section("训练：教师强制，一次前向得到译文每个位置的预测");
  Context ctx = runtime.context(Compute::kF32);
  const auto optimizer = make_optimizer(ctx, factory.parameters(), {.beta2 = 0.98f});
  const int steps = lesson.quick() ? 1000 : 2000, batch = 32;
  report::Values at, losses;
  for (int step = 0; step < steps; ++step) {
    std::vector<Ids> sources, inputs;
    Ids labels;
    for (int i = 0; i < batch; ++i) {
      // 位数先抽：一位、两位、三位、四位的数一样多，不然短的数见得太少。
      const auto& some = by_length[size_t(i) % 4];
      const int n = some[random.below(some.size(), uint64_t(step * batch + i) + 1000000)];
      const Ids target = numeral(n);
      sources.push_back(source_of(n));
      inputs.push_back(lesson.broken("shift") ? target : shifted(target));
      labels.insert(labels.end(), target.begin(), target.end());
    }
    if (lesson.broken("crossed")) std::rotate(sources.begin(), sources.begin() + 1, sources.end());
    Tape tape;
    Context recording = ctx;
    recording.tape = &tape;
    const Batch from = Batch::of_sequences(sources), to = Batch::of_sequences(inputs);
    const Variable hidden = model.decode(recording, to, model.encode(recording, from), from);
    const Variable loss = ops::cross_entropy_head(recording, hidden, model.head(), std::make_shared<const Ids>(labels),
                                                  1 / float(labels.size()));
    if (step % 20 == 0) at.push_back(step), losses.push_back(double(*loss.value().data<float>()));
    tape.backward(recording, loss);
    const float rate = 4e-3f * std::min(1.0f, float(step + 1) / 50) * (1 - float(step) / float(steps));
    optimizer->step(ctx, rate, clip_scale(optimizer->gradient_norm(ctx), 1), step);
  }
  lesson.value("final_loss", losses.back(), "每个字的平均损失");

  lesson.section("没见过的数");
  const auto translate = [&](int n) { return write_target(ctx, model, source_of(n), {.max_tokens = 12}).at(0).ids; };
  const int asked = lesson.quick() ? 150 : 1000;
  int right = 0;
  for (int i = 0; i < asked; ++i) {
    const int n = unseen[size_t(i) * unseen.size() / size_t(asked)];
    const Ids written = translate(n);
    right += written == numeral(n);
    if (written != numeral(n) && i - right < 3) lesson.say("译错：{} → {}", n, shown(written));
  }
  const double share = 100.0 * right / asked;
  lesson.value("unseen_percent", share, "整句都对才算对");
  lesson.at_least("没见过的数译对的百分比", share, 95);

  lesson.section("一步一步：编码一次，解码多次");
  const int example = 2035;
  int encoder_runs = 0, decoder_runs = 0;
  const Batch source = Batch::of_sequences({source_of(example)});
  const auto encode = [&] { return ++encoder_runs, model.encode(ctx, source); };
  const auto next_logits = [&](const Ids& target, const Variable& encoded) {  // 译文最后一个位置的
    const Variable out = model.logits(ctx, model.decode(ctx, Batch::of_sequences({target}), encoded, source));
    const float* data = out.value().data<float>();
    return std::vector<float>(data + out.value().count() - config.vocab_size, data + out.value().count());
  };
  const Variable encoded = encode();
  Ids target{kStart};
  double again = 0;  // 每一步都重新编码，结果差多少
  while (target.size() < 12 && target.back() != kEnd) {
    const std::vector<float> logits = next_logits(target, encoded);
    ++decoder_runs;
    const std::vector<float> fresh = next_logits(target, model.encode(ctx, source));
    for (size_t i = 0; i < logits.size(); ++i) again = std::max(again, std::abs(double(logits[i]) - double(fresh[i])));
    target.push_back(int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    lesson.say("第 {} 步：看原文 {} 和“{}”，写“{}”", decoder_runs, example, shown({target.begin(), target.end() - 1}),
               target.back() == kEnd ? "（结束）" : shown({target.back()}));
  }
  lesson.value("encoder_runs", encoder_runs), lesson.value("decoder_runs", decoder_runs);
  lesson.equal("编码器只算一次", encoder_runs, 1);
  lesson.equal("每一步都重新编码，结果的差（所以一次就够）", again, 0);
  lesson.claim("一步一步写出的就是 write_target 写出的", Ids(target.begin() + 1, target.end()) == translate(example));

  // 解码器的自注意力是因果的，编码器的不是：改后面的字，前面的变不变？
  const auto first_row = [&](const Variable& v) {
    return std::vector<float>(v.value().data<float>(), v.value().data<float>() + v.value().size(-1));
  };
  const auto decoded = [&](const Ids& t) { return model.decode(ctx, Batch::of_sequences({t}), encoded, source); };
  lesson.claim("改译文后面的字，前面的状态不变",
               first_row(decoded({kStart, 14, 24})) == first_row(decoded({kStart, 20, 21})));
  const auto first_state = [&](int n) { return first_row(model.encode(ctx, Batch::of_sequences({source_of(n)}))); };
  lesson.claim("改原文后面的数字，前面的状态也变", first_state(2035) != first_state(2036));

  lesson.section("交叉注意力：写每个字时看原文的哪一位");
  T5Model::CrossAttention weights;
  const Ids read(target.begin(), target.end() - 1);
  model.decode(ctx, Batch::of_sequences({read}), encoded, source, {}, &weights);
  const size_t T = read.size(), S = source_of(example).size();
  std::vector<std::vector<double>> mean(T, std::vector<double>(S));  // 各层各头的平均
  double worst = 0;
  for (const Tensor& layer : weights)
    for (size_t h = 0; h < 2; ++h)
      for (size_t t = 0; t < T; ++t) {
        double sum = 0;
        for (size_t s = 0; s < S; ++s) {
          const double p = double(layer.data<float>()[(h * T + t) * S + s]);
          mean[t][s] += p / double(2 * weights.size()), sum += p;
        }
        worst = std::max(worst, std::abs(sum - 1));
      }
  lesson.at_most("每一行的权重之和与 1 的差", worst, double(S) * 1.2e-7);  // S 个数相加的舍入
  std::vector<std::string> wrote, columns;
  for (size_t t = 1; t < target.size(); ++t) wrote.push_back(target[t] == kEnd ? "（结束）" : shown({target[t]}));
  for (const int32_t id : source_of(example)) columns.push_back(id == kEnd ? "（结束）" : shown({id}));
  report::Heatmap heat("写每个字时看原文的哪一位（各层各头的平均）", mean);
  heat.rows(wrote, "写出的字").columns(columns, "原文").range(0, 1);
  report::Plot plot("训练", "步数", "每个字的损失");
  plot.line("", at, losses).log_y().sized({360, 260});
  lesson.picture("cross_attention", heat);
  lesson.picture("training", plot);
  return lesson.finish();
}
