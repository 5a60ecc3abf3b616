// 第 3 周第 2 天  只有编码器的模型（BERT）：填空
//
//   遮住 15 % 的字，看着两边把它们猜回来：损失 = −mean log p(原来的字 | 其余的字)，只在被选中的位置上算
//   被选中的字：80 % 换成 [MASK]，10 % 换成随便一个字，10 % 不动
//
// 没有因果掩码，每个位置看得见整句。所以它不能一个字一个字地写，却能用后文来判断前文：“喜□光的是芦荟”里的空，
// 只看左边是猜不出的。
#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "compute/ops/loss.h"
#include "compute/ops/norm.h"
#include "course/frame/lesson.h"
#include "data/masking.h"
#include "model/architectures/bert.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"

using namespace sedum;
using course::Lesson;
using Ids = std::vector<int32_t>;

// 一个小世界：12 种植物，各有喜欢的光和水。
const std::vector<std::string> kPlants = {"芦荟", "玉露", "石莲", "绿萝", "文竹", "薄荷",
                                          "吊兰", "茉莉", "兰花", "月季", "菊花", "竹芋"};
std::string light(size_t plant) { return plant * 7 / 3 % 2 ? "弱" : "强"; }
std::string water(size_t plant) { return plant * 5 / 2 % 2 ? "少" : "多"; }

std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> all;
  for (const char c : text) {
    if ((uint8_t(c) & 0xC0) != 0x80) all.emplace_back();
    all.back() += c;
  }
  return all;
}

constexpr int32_t kCls = 2, kSep = 3, kMask = 4;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Encoder-only：掩码语言模型",
                 .difficulty = "掩码语言模型任务理解难",
                 .remedy = "训练一个很小的 BERT，看它填空的前五名",
                 .bugs = {{"always_mask", "被选中的字一律换成 [MASK]，没有 80/10/10"},
                          {"all_tokens", "损失算在所有的字上，不只是被选中的"}}});
  lesson.predict("“喜□光、要少水的是芦荟”：空在句首，答案在句尾。BERT 填对这种空的百分比？", "right_context_percent");
  lesson.predict("把句尾的植物也遮住，还能填对百分之几？（强、弱各半）", "without_right_percent");

  lesson.section("数据：24 句，每种植物正着说一句，倒着说一句");
  std::vector<std::string> words = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  std::map<std::string, int32_t> id_of;
  std::vector<std::string> sentences;
  for (size_t p = 0; p < kPlants.size(); ++p) {
    sentences.push_back(kPlants[p] + "喜" + light(p) + "光、要" + water(p) + "水。");
    sentences.push_back("喜" + light(p) + "光、要" + water(p) + "水的是" + kPlants[p] + "。");
  }
  for (const std::string& s : sentences)
    for (const std::string& c : characters(s))
      if (id_of.emplace(c, int32_t(words.size())).second) words.push_back(c);
  const auto encode = [&](const std::string& text) {  // □ 是要填的空
    Ids ids{kCls};
    for (const std::string& c : characters(text)) ids.push_back(c == "□" ? kMask : id_of.at(c));
    ids.push_back(kSep);
    return ids;
  };
  lesson.say("{}  {}", sentences[0], sentences[1]);
  lesson.value("vocabulary", double(words.size()));

  lesson.section("模型：两层 BERT，宽 32");
  ModelConfig config;
  config.model_type = "bert", config.vocab_size = int64_t(words.size()), config.hidden_size = 32;
  config.intermediate_size = 64, config.num_hidden_layers = 2, config.num_attention_heads = 2;
  config.num_key_value_heads = 2, config.head_dim = 16, config.max_position_embeddings = 32;
  config.encoder.head = EncoderConfig::Head::kMaskedLm, config.encoder.prefix = "bert.";
  Runtime runtime(1);
  RandomFactory factory(runtime.pool, runtime.arena, lesson.seed(), false, DType::kF32, Pack::kNone, 0.1f);
  const BertModel model(config, factory);
  lesson.value("parameters", double(config.parameter_count()));

  lesson.section("训练");
  Context ctx = runtime.context(Compute::kF32);
  data::StepBatch batch;  // 每一步看全部 24 句，遮的字每步不同；[CLS] 和 [SEP] 从不遮
  for (size_t s = 0; s < sentences.size(); ++s) {
    data::Sample sample{encode(sentences[s]), encode(sentences[s])};
    sample.labels.front() = sample.labels.back() = data::kIgnored;
    append_sample(batch, sample, uint32_t(s));
  }
  Batch seen = Batch::of_sequences([&] {
    std::vector<Ids> rows;
    for (const std::string& s : sentences) rows.push_back(encode(s));
    return rows;
  }());
  const data::MaskOptions options{
      .share = 0.15, .mask_token = kMask, .vocab_size = config.vocab_size, .seed = lesson.seed()};
  const auto masked_at = [&](int step) {
    data::Masked m = data::mask_tokens(batch, options, step);
    if (lesson.broken("always_mask"))
      for (const int32_t row : m.rows) m.ids[size_t(row)] = kMask;
    return m;
  };
  // 每一行的标签：被选中的是原来的字，其余不算（kIgnored）。
  const auto labels_of = [&](const data::Masked& m) {
    Ids labels(batch.ids.size(), ops::kIgnored);
    for (size_t i = 0; i < m.rows.size(); ++i) labels[size_t(m.rows[i])] = m.labels[i];
    return lesson.broken("all_tokens") ? batch.ids : labels;
  };
  const auto optimizer = make_optimizer(ctx, factory.parameters(), {.beta2 = 0.98f});
  const int steps = lesson.quick() ? 1500 : 3000;
  double candidates = 0, chosen = 0, became_mask = 0, stayed = 0, largest_elsewhere = 0, smallest_chosen = INFINITY;
  report::Values at, losses;
  for (int step = 0; step < steps; ++step) {
    const data::Masked m = masked_at(step);
    candidates += double(batch.label_tokens), chosen += double(m.rows.size());
    for (const int32_t row : m.rows) {
      became_mask += m.ids[size_t(row)] == kMask;
      stayed += m.ids[size_t(row)] == batch.ids[size_t(row)];
    }
    Tape tape;
    Context recording = ctx;
    recording.tape = &tape;
    seen.ids = std::make_shared<const Ids>(m.ids);
    const Variable hidden = model.hidden_states(recording, seen);
    const auto labels = std::make_shared<const Ids>(labels_of(m));
    if (step == 0) {  // 损失对每个位置的状态的梯度：没被选中的应当正好是 0
      Tape own;
      Context alone = ctx;
      alone.tape = &own;
      const Variable states = Variable::parameter(hidden.value(), "states");
      own.backward(alone, ops::cross_entropy(alone, model.masked_lm_logits(alone, states), labels, 1));
      std::vector<bool> is_chosen(batch.ids.size());
      for (const int32_t row : m.rows) is_chosen[size_t(row)] = true;
      for (size_t r = 0; r < batch.ids.size(); ++r) {
        double norm = 0;
        for (int64_t d = 0; d < 32; ++d) norm += std::abs(double(states.gradient().data<float>()[int64_t(r) * 32 + d]));
        if (is_chosen[r]) smallest_chosen = std::min(smallest_chosen, norm);
        if (!is_chosen[r]) largest_elsewhere = std::max(largest_elsewhere, norm);
      }
      optimizer->drop_gradients();
    }
    const Variable loss = ops::cross_entropy(recording, model.masked_lm_logits(recording, hidden), labels,
                                             1 / float(std::max<size_t>(1, m.rows.size())));
    if (step % 10 == 0) at.push_back(step), losses.push_back(double(*loss.value().data<float>()));
    tape.backward(recording, loss);
    const float rate = 4e-3f * std::min(1.0f, float(step + 1) / 50) * (1 - float(step) / float(steps));
    optimizer->step(ctx, rate, clip_scale(optimizer->gradient_norm(ctx), 1), step);
  }
  lesson.equal("没被选中的位置，损失的梯度", largest_elsewhere, 0);
  lesson.at_least("被选中的位置都有梯度", smallest_chosen, 1e-6);

  lesson.section("80/10/10：数一数，与二项分布比");
  // 随便一个字有 1/V 的机会恰好是 [MASK] 或原来的字。四个标准差之外，十万次里只有六次是偶然。
  const auto binomial = [&](const std::string& name, const char* key, double count, double of, double p) {
    lesson.value(key, 100 * count / of);
    const double wide = 4 * std::sqrt(p * (1 - p) / of);
    lesson.between(name, count / of, p - wide, p + wide);
  };
  const double any = 1 / double(config.vocab_size);
  binomial("被选中的比例", "chosen_percent", chosen, candidates, 0.15);
  binomial("其中换成 [MASK] 的", "mask_percent", became_mask, chosen, 0.8 + 0.1 * any);
  binomial("其中不动的", "stay_percent", stayed, chosen, 0.1 + 0.1 * any);

  lesson.section("填空：前五名");
  const auto fill = [&](const std::string& text) {  // 第一个空的概率，从大到小
    const Ids ids = encode(text);
    const auto row = size_t(std::find(ids.begin(), ids.end(), kMask) - ids.begin());
    const Variable logits = model.masked_lm_logits(ctx, model.hidden_states(ctx, Batch::of_sequences({ids})));
    const Variable p = ops::softmax(ctx, logits);
    std::vector<std::pair<double, int32_t>> all;
    for (int64_t v = 0; v < config.vocab_size; ++v)
      all.emplace_back(double(p.value().data<float>()[int64_t(row) * config.vocab_size + v]), int32_t(v));
    std::sort(all.rbegin(), all.rend());
    return all;
  };
  report::Table table({"句子（□ 是空，填第一个）", "第一", "第二", "第三", "第四", "第五"}, "填空的前五名");
  for (const std::string& text :
       {"芦荟喜□光、要" + water(0) + "水。", "喜□光、要" + water(3) + "水的是绿萝。",
        "喜□光、要" + water(3) + "水的是□□。", "喜" + light(5) + "光、要" + water(5) + "水的是□荷。",
        "喜" + light(5) + "光、要" + water(5) + "水的是□□。"}) {
    const auto best = fill(text);
    std::vector<std::string> row{text};
    for (size_t i = 0; i < 5; ++i)
      row.push_back(fmt::format("{} {:.3f}", words[size_t(best[i].second)], best[i].first));
    table.row(row);
  }
  lesson.table(table);
  int right = 0, blind = 0, facts = 0;
  for (size_t p = 0; p < kPlants.size(); ++p) {
    const std::string tail = "光、要" + water(p) + "水的是";
    right += words[size_t(fill("喜□" + tail + kPlants[p] + "。")[0].second)] == light(p);
    blind += words[size_t(fill("喜□" + tail + "□□。")[0].second)] == light(p);
    facts += words[size_t(fill(kPlants[p] + "喜" + light(p) + "光、要□水。")[0].second)] == water(p);
  }
  lesson.value("right_context_percent", 100.0 * right / 12, "答案在空的右边");
  lesson.value("without_right_percent", 100.0 * blind / 12, "右边的植物也遮住");
  lesson.value("left_context_percent", 100.0 * facts / 12, "答案在空的左边");
  lesson.at_least("后文定前文：填对的比例", right / 12.0, 0.95);
  lesson.at_least("前文定后文：填对的比例", facts / 12.0, 0.95);
  lesson.picture("fills", table);
  report::Plot plot("训练：被选中的字的损失", "步数", "−log p");
  plot.line("", at, losses).horizontal(std::log(double(words.size())), "瞎猜").sized({380, 260});
  lesson.picture("training", plot);
  return lesson.finish();
}
