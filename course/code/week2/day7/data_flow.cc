// 第 2 周第 7 天  复盘：Transformer 里的数据流
//
// 库有一种“只算形状”的方式：内存不分配，数不计算，每个算子只说出自己结果的形状。用它走一遍模型，就得到数据流图上的维度；
// 再真的算一遍，两者必须一样。图不是手画的，所以不会画错。
#include <cmath>
#include <map>

#include "base/random.h"
#include "compute/ops/attention.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "compute/ops/norm.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/diagram.h"

using namespace sedum;
using course::Lesson;

// 解码器的一层，每一步的名字和结果的形状。T 个记号，宽 C，h 个头，k 个键值头，前馈宽 F，词表 V。
struct Sizes {
  int64_t T, C, h, k, F, V;
  int64_t d() const { return C / h; }
};
using Shapes = std::vector<std::pair<std::string, Shape>>;

Shapes trace(Context ctx, const Sizes& s, bool forget_groups) {
  Shapes shapes;
  const auto see = [&](const std::string& name, const Variable& v) {
    shapes.emplace_back(name, v.shape());
    return v;
  };
  const auto weight = [&](int64_t n, int64_t k) { return ops::Weight{Variable(ctx.zeros(DType::kF32, {n, k}))}; };
  const auto ones = [&](int64_t n) { return Variable(ctx.zeros(DType::kF32, {n})); };
  const auto ids = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>(size_t(s.T), 0));
  const int64_t kv = forget_groups ? s.h : s.k;
  const Variable x = see("词向量", ops::embedding(ctx, weight(s.V, s.C).stored, ids));
  const Variable n1 = see("归一化 1", ops::rms_norm(ctx, x, ones(s.C), 1e-6f));
  const Variable q = see("Q", ops::linear(ctx, n1, weight(s.h * s.d(), s.C)));
  const Variable k = see("K", ops::linear(ctx, n1, weight(kv * s.d(), s.C)));
  const Variable v = see("V", ops::linear(ctx, n1, weight(kv * s.d(), s.C)));
  const AttentionShape shape{.num_heads = int(s.h),
                             .num_key_value_heads = int(kv),
                             .head_dim = int(s.d()),
                             .scale = 1 / std::sqrt(float(s.d()))};
  const auto segments =
      std::make_shared<const std::vector<AttentionSegment>>(std::vector<AttentionSegment>{{0, s.T, 0, s.T}});
  const Variable mixed = see("注意力", ops::attention(ctx, q, k, v, shape, segments));
  const Variable o = see("W_O", ops::linear(ctx, mixed, weight(s.C, s.h * s.d())));
  const Variable mid = see("残差 1", ops::add(ctx, x, o));
  const Variable n2 = see("归一化 2", ops::rms_norm(ctx, mid, ones(s.C), 1e-6f));
  const Variable gate = see("门", ops::linear(ctx, n2, weight(s.F, s.C))),
                 up = see("上", ops::linear(ctx, n2, weight(s.F, s.C)));
  const Variable inner = see("silu(门)·上", ops::swiglu(ctx, gate, up));
  const Variable down = see("下", ops::linear(ctx, inner, weight(s.C, s.F)));
  const Variable out = see("残差 2", ops::add(ctx, mid, down));
  see("logits", ops::linear(ctx, out, weight(s.V, s.C)));
  return shapes;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "第 2 周复盘：数据流",
                 .difficulty = "模块间数据流不清晰",
                 .remedy = "画数据流图，标注张量维度变化",
                 .bugs = {{"groups", "忘了键值头比查询头少：K、V 画成和 Q 一样宽"}}});
  lesson.exercise("SmolLM2：宽 576，9 个头，3 个键值头。K 有多宽？", "k_width");
  ThreadPool pool(1);
  Arena none(Arena::Backing::kNone), memory;
  const Sizes smol{.T = 16, .C = 576, .h = 9, .k = 3, .F = 1536, .V = 49152},
      tiny{.T = 4, .C = 24, .h = 6, .k = 2, .F = 48, .V = 40};

  lesson.section("只算形状：SmolLM2 的一层，16 个记号");
  const Shapes shapes = trace({.pool = &pool, .arena = &none}, smol, lesson.broken("groups"));
  report::Table table({"一步", "形状", "数的个数"});
  std::map<std::string, Shape> named;
  double values = 0;
  for (const auto& [name, shape] : shapes) {
    table.row({name, shape.text(), std::to_string(shape.count())});
    named[name] = shape, values += double(shape.count());
  }
  lesson.table(table);
  lesson.value("k_width", double(named["K"][1]), "3 个键值头 × 64");
  lesson.value("activations", values, "一层和输出一共产生的数");
  lesson.value("peak_bytes", double(none.peak_bytes()), "如果真的算，最多同时占的字节");
  lesson.equal("K 和 V 一样宽", double(named["K"][1]), double(named["V"][1]));
  lesson.equal("库里模型的 k_proj 也这么宽", double(named["K"][1]), double(smol.k * smol.d()));

  lesson.section("真的算一遍：小尺寸，形状必须相同");
  const Shapes planned = trace({.pool = &pool, .arena = &none}, tiny, false),
               run = trace({.pool = &pool, .arena = &memory}, tiny, false);
  double different = 0;
  for (size_t i = 0; i < run.size(); ++i) different += !(planned[i].second == run[i].second);
  lesson.equal("步数相同", double(planned.size()), double(run.size()));
  lesson.equal("形状不同的步", different, 0);
  // 整个模型也一样：库里的 LlamaModel 在没有内存的区里走一遍。
  Runtime runtime(1);
  ModelConfig config;
  config.model_type = "llama", config.vocab_size = tiny.V, config.hidden_size = tiny.C,
  config.intermediate_size = tiny.F;
  config.num_hidden_layers = 2, config.num_attention_heads = tiny.h, config.num_key_value_heads = tiny.k,
  config.head_dim = tiny.d();
  RandomFactory factory(runtime.pool, none, 1), real_factory(runtime.pool, runtime.arena, 1);
  const auto model = build_model(config, factory), real = build_model(config, real_factory);
  const Batch batch = Batch::of_sequences({{1, 2, 3, 4}});
  Context plan{.pool = &runtime.pool, .arena = &none}, compute = runtime.context(Compute::kF32);
  const Variable planned_logits = model->logits(plan, model->hidden_states(plan, batch)),
                 logits = real->logits(compute, real->hidden_states(compute, batch));
  lesson.claim("整个模型：形状与真的算出来的相同", planned_logits.shape() == logits.shape());
  lesson.claim("logits 是 (4, 40)：每个记号，词表里每个字一个分数", logits.shape() == Shape{4, 40});

  using Look = report::Diagram::Look;
  report::Diagram flow("SmolLM2 的一层，16 个记号：方框里是张量的形状");
  const auto label = [&](const std::string& name) { return name + "\n" + named[name].text(); };
  const std::vector<std::tuple<std::string, double, double, Look>> boxes = {
      {"词向量", 0, 1, Look::kPlain}, {"归一化 1", 1, 1, Look::kSoft}, {"Q", 2, 0, Look::kStrong},
      {"K", 2, 1, Look::kStrong},     {"V", 2, 2, Look::kStrong},      {"注意力", 3, 1, Look::kPlain},
      {"W_O", 4, 1, Look::kStrong},   {"残差 1", 5, 1, Look::kPlain},  {"归一化 2", 5, 4, Look::kSoft},
      {"门", 4, 3.5, Look::kStrong},  {"上", 4, 4.5, Look::kStrong},   {"silu(门)·上", 3, 4, Look::kPlain},
      {"下", 2, 4, Look::kStrong},    {"残差 2", 1, 4, Look::kPlain},  {"logits", 0, 4, Look::kStrong}};
  for (const auto& [name, column, row, look] : boxes) flow.box(name, label(name), column, row, look);
  flow.arrow("词向量", "归一化 1")
      .arrow("归一化 1", "Q")
      .arrow("归一化 1", "K")
      .arrow("归一化 1", "V")
      .arrow("Q", "注意力")
      .arrow("K", "注意力");
  flow.arrow("V", "注意力")
      .arrow("注意力", "W_O")
      .arrow("W_O", "残差 1")
      .arrow("残差 1", "归一化 2")
      .arrow("归一化 2", "门")
      .arrow("归一化 2", "上");
  flow.arrow("门", "silu(门)·上")
      .arrow("上", "silu(门)·上")
      .arrow("silu(门)·上", "下")
      .arrow("下", "残差 2")
      .arrow("残差 2", "logits");
  lesson.picture("data_flow", flow);
  return lesson.finish();
}
