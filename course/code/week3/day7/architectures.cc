// 第 3 周第 7 天  复盘：架构对比表和术语字典
//
// 表里的每一个“是”与“否”都由程序查证：因果的模型，改后文不改前文；双向的，改了就变。字典里的每一个术语都指向一课，
// 那一课的断言通过了，术语才算“懂了”。
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "compute/ops/attention.h"
#include "course/frame/lesson.h"
#include "report/diagram.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

struct Term {
  std::string word, meaning, lesson;  // lesson：week/day/程序，字典查的就是它的 result.json
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "第 3 周复盘：架构与术语",
                 .difficulty = "知识点多易混淆",
                 .remedy = "制作架构对比表和术语字典，每一条都能查证",
                 .bugs = {{"mask", "把编码器也画成因果的"}, {"dead_link", "字典里有一条指向不存在的课"}}});
  lesson.exercise("GPT、BERT、T5 的编码器、T5 的解码器：四者中有几个，后面的字能影响前面的？", "bidirectional");

  lesson.section("看得见谁：用同一个注意力，换掩码");
  // 十个记号；改第 6 个的键和值，看哪些记号的输出变了。
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  constexpr int64_t T = 10, d = 8, changed = 6;
  const Random random(lesson.seed(), Purpose::kTest);
  const auto influence = [&](bool causal) {  // 输出变了的记号
    Tensor q = Tensor::empty(arena, DType::kF32, {T, d}), k = Tensor::empty(arena, DType::kF32, {T, d});
    for (int64_t i = 0; i < T * d; ++i)
      q.data<float>()[i] = random.normal(uint64_t(i)), k.data<float>()[i] = random.normal(uint64_t(i + T * d));
    const AttentionShape shape{.num_heads = 1,
                               .num_key_value_heads = 1,
                               .head_dim = int(d),
                               .scale = 1 / std::sqrt(float(d)),
                               .causal = causal};
    const auto segments =
        std::make_shared<const std::vector<AttentionSegment>>(std::vector<AttentionSegment>{{0, T, 0, T}});
    const Variable before = ops::attention(ctx, Variable(q), Variable(k), Variable(k), shape, segments);
    for (int64_t c = 0; c < d; ++c) k.data<float>()[changed * d + c] += 1;
    const Variable after = ops::attention(ctx, Variable(q), Variable(k), Variable(k), shape, segments);
    std::vector<bool> moved(static_cast<size_t>(T));
    for (int64_t i = 0; i < T * d; ++i)
      moved[size_t(i / d)] = moved[size_t(i / d)] || before.value().data<float>()[i] != after.value().data<float>()[i];
    return moved;
  };
  struct Architecture {
    std::string name, stack, objective, good_at, example;
    bool causal;
  };
  const std::vector<Architecture> architectures = {
      {"GPT、Llama、Qwen", "只有解码器", "猜下一个字", "生成", "3.1 写诗", true},
      {"BERT、RoBERTa", "只有编码器", "填被遮住的字", "分类、检索、标注", "3.2（待开）", lesson.broken("mask")},
      {"T5 的编码器", "编码器", "读懂输入", "翻译、摘要", "3.3（待开）", lesson.broken("mask")},
      {"T5 的解码器", "解码器，加交叉注意力", "看着输入，猜下一个字", "翻译、摘要", "3.3（待开）", true}};
  report::Table table({"模型", "结构", "训练目标", "后文影响前文？", "擅长", "哪一课"}, "三种架构");
  double bidirectional = 0;
  for (const Architecture& a : architectures) {
    const std::vector<bool> moved = influence(a.causal);
    const bool earlier = moved[0] || moved[changed - 1];
    bidirectional += earlier;
    table.row({a.name, a.stack, a.objective, earlier ? "是（双向）" : "否（因果）", a.good_at, a.example});
    lesson.claim(a.name + "：改了的记号之后的都变", moved[changed] && moved[T - 1]);
  }
  lesson.table(table);
  lesson.value("bidirectional", bidirectional, "BERT 和 T5 的编码器");
  lesson.equal("四者中双向的有两个", bidirectional, 2);

  lesson.section("术语字典：每一条指向一课");
  std::vector<Term> terms = {{"词向量 embedding", "每个记号一行数", "week2/day7/data_flow"},
                             {"查询、键、值 Q K V", "问题、标签、内容", "week2/day3/attention_by_hand"},
                             {"多头 multi-head", "几种看法并排", "week2/day4/multihead_attention"},
                             {"位置编码", "告诉注意力先后", "week2/day5/positional_encoding"},
                             {"残差、归一化", "叠深了数也不变大变小", "week2/day6/transformer_encoder"},
                             {"反向传播", "从后往前用链式法则", "week2/day2/backpropagation"},
                             {"自回归", "写一个字，接上，再写", "week3/day1/decoder_only_demo"},
                             {"因果掩码", "后面的字不影响前面的", "week3/day1/decoder_only_demo"},
                             {"键值缓存 KV cache", "前文的 K、V 存起来", "week3/day1/decoder_only_demo"},
                             {"预训练、SFT、DPO", "学语言、学回答、学偏好", "week3/day4/training_stages"},
                             {"LoRA", "只学一个低秩的改变", "week3/day5/lora"},
                             {"上下文窗口", "键值缓存有多长", "week3/day5/lora"},
                             {"6ND", "训练要多少次运算", "week3/day6/model_scale"},
                             {"学习率", "一步迈多大", "week1/day5/sgd_lr_test"},
                             {"Adam", "动量加自适应步长", "week1/day6/adam_optimizer"},
                             {"极大似然", "让数据最可能的参数", "week1/day3/coin_mle_map"},
                             {"特征值", "不被转动的方向拉伸多少", "week1/day1/matrix_eigen"},
                             {"SVD", "任何矩阵都是转、拉、转", "week1/day2/svd_decomposition"}};
  if (lesson.broken("dead_link")) terms.push_back({"困惑度", "平均有几个字可选", "week9/day9/nowhere"});
  report::Table dictionary({"术语", "一句话", "哪一课", "通过"}, "术语字典");
  double closed = 0;
  for (const Term& term : terms) {
    const fs::path result = Lesson::kept_results() / term.lesson / "result.json";
    const bool passed = fs::exists(result) && parse_json(read_file(result)).value("passed", false);
    closed += passed;
    dictionary.row({term.word, term.meaning, term.lesson, passed ? "✓" : "✗"});
  }
  lesson.table(dictionary);
  lesson.value("terms", double(terms.size()));
  lesson.equal("每个术语指向的课都通过了", closed, double(terms.size()));
  lesson.picture("architectures", report::Figure("", 1).add(table).add(dictionary));
  return lesson.finish();
}
