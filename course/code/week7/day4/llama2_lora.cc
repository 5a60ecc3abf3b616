// 第 7 周第 4 天  Llama-2-7B 的 LoRA：形状、内存，和加载时的报错
//
//   q、v，r = 8：32 层 × 2 × (4096·8 + 8·4096) = 4,194,304 个参数，是 67 亿的万分之六
//
// 7B 的权重不在这里，也不必在：形状和内存在“只有形状”的模式里走一遍真正的训练步就知道；宽 4096 的一层是真的，训练给你看。
// “加 trust_remote_code=True 就能加载”是把别人的程序放进来运行；Llama 用不着。报错各有各的原因，先看它说什么。
#include <cmath>

#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/adapters/lora.h"
#include "model/checkpoint/nf4_factory.h"
#include "report/plot.h"
#include "train/objective.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

// Llama-2-7B 的尺寸，层数、宽度和词表可以改。
ModelConfig llama2(int layers = 32, int64_t width = 4096, int64_t vocab = 32000) {
  ModelConfig c;
  c.model_type = "llama", c.vocab_size = vocab, c.hidden_size = width, c.intermediate_size = width * 43 / 16;
  c.num_hidden_layers = layers, c.num_attention_heads = c.num_key_value_heads = 32, c.head_dim = width / 32;
  return c;
}
data::StepBatch tokens(int64_t count, int64_t vocab, uint64_t seed) {
  data::Sample s;
  for (int64_t i = 0; i < count; ++i)
    s.ids.push_back(int32_t(Random(seed, Purpose::kTest).below(uint64_t(vocab), uint64_t(i))));
  s.labels = s.ids;
  data::StepBatch batch;
  append_sample(batch, s, 0);
  return batch;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Llama-2-7B 的 LoRA",
                 .difficulty = "模型加载报错",
                 .remedy = "看报错说的是什么；不运行检查点里的程序",
                 .bugs = {{"r_twice", "LoRA 的 r 写成了 16"},
                          {"run_code", "为了能加载，运行了检查点里的程序"},
                          {"swallow", "加载出错时只打印一行，接着训练随机的权重"}}});
  lesson.exercise("q、v，r = 8，LoRA 一共多少个参数？", "lora_parameters");
  lesson.predict("NF4 的底座，1 × 512 个记号，训练的峰值是多少 GiB？", "peak_gib");

  lesson.section("一、形状与内存：一步真的训练，只有地址，没有数");
  const double gib = 1 << 30;
  const auto shape = [&](const LoraConfig& config, bool nf4, int64_t length, double& base, double& peak) {
    Runtime runtime(1);
    Arena shapes(Arena::Backing::kNone);
    RandomFactory random(runtime.pool, shapes, 1, true, DType::kF16);
    Nf4Factory four(random, runtime.pool, shapes);
    LoraFactory lora(nf4 ? static_cast<LayerFactory&>(four) : random, config, runtime.pool, shapes, 1);
    const auto model = build_model(llama2(), lora);
    Context ctx{.pool = &runtime.pool, .arena = &shapes, .compute = Compute::kBF16};
    double count = 0;
    for (const Variable& p : lora.parameters()) count += double(p.value().count());
    base = double(shapes.live_bytes()) - 4 * count;
    if (length > 0) {
      const auto optimizer = make_optimizer(ctx, lora.parameters(), {});
      Tape tape;
      train_on(ctx, tape, *model, tokens(length, 32000, 1), double(length - 1), true);
      peak = double(shapes.peak_live_bytes());
    }
    return count;
  };
  double base_f16 = 0, base_nf4 = 0, peak = 0, ignored = 0;
  const LoraConfig qv{.r = lesson.broken("r_twice") ? 16 : 8, .lora_alpha = 16, .target_modules = {"q_proj", "v_proj"}};
  const double parameters = lesson.value("lora_parameters", shape(qv, false, 0, base_f16, ignored), "q、v，r = 8");
  lesson.equal("q、v，r = 8 的参数", parameters, 4194304);
  lesson.value("all_linear_parameters",
               shape({.r = 16, .lora_alpha = 32, .target_modules = {"all-linear"}}, true, 512, base_nf4, peak),
               "七个矩阵都加，r = 16");
  lesson.value("base_f16_gib", base_f16 / gib, "底座，FP16"),
      lesson.value("base_nf4_gib", base_nf4 / gib, "底座，NF4；嵌入和输出层仍是 FP16");
  lesson.value("peak_gib", peak / gib, "NF4 底座、r = 16、1 × 512，重算激活：底座、适配器、动量、梯度、激活");
  lesson.at_most("QLoRA 的整个 7B 训练，1 × 512，不到 7 GiB", peak / gib, 7);
  // 权重 6,738,415,616 个，每个 2 字节；归一化的 65 个向量是 f32，各多 2 字节。
  lesson.equal("底座是 67 亿个参数", base_f16, 2.0 * 6738415616 + 2.0 * 65 * 4096);

  lesson.section("二、训练真的一层");
  // 完整运行用真正的宽度 4096（2 亿个权重），--quick 用 1024；词表小，底座随机：要看的是只有 A、B 在动。
  report::Values at, losses;
  double moved = 0;
  {
    const int64_t width = lesson.quick() ? 1024 : 4096;
    const ModelConfig sizes = llama2(1, width, 64);
    Runtime runtime(1);
    RandomFactory random(runtime.pool, runtime.arena, lesson.seed(), true, DType::kF16);
    LoraFactory lora(random, qv, runtime.pool, runtime.arena, lesson.seed());
    const auto model = build_model(sizes, lora);
    Context ctx = runtime.context(Compute::kBF16);
    const auto optimizer = make_optimizer(ctx, lora.parameters(), {});
    const data::StepBatch batch = tokens(48, 64, lesson.seed());
    Tape tape;
    const int steps = lesson.quick() ? 12 : 30;
    for (int64_t step = 0; step < steps; ++step) {
      losses.push_back(train_on(ctx, tape, *model, batch, double(batch.label_tokens), false)),
          at.push_back(double(step));
      optimizer->step(ctx, 2e-3f, clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
    for (const Variable& p : lora.parameters())
      if (p.name().find(".lora_B") != std::string::npos)
        for (int64_t i = 0; i < p.value().count(); ++i) moved += p.value().data<float>()[i] != 0;
    lesson.value("first_loss", losses.front(), "开始（一句随机的记号）"),
        lesson.value("last_loss", losses.back(), "训练之后");
    lesson.at_most("这一层学得动：最后的损失 ÷ 开始的", losses.back() / losses.front(), 0.95);
    lesson.at_least("B 离开了 0", moved, 1);
  }

  lesson.section("三、加载时的报错：毛病一样一样种下");
  const fs::path folder = fs::temp_directory_path() / fmt::format("sedum-lesson-llama2-{}", getpid());
  const fs::path good = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama", marker = folder / "code_was_run";
  const auto config = [&](const std::function<void(nlohmann::ordered_json&)>& change) {
    auto document = parse_json<nlohmann::ordered_json>(read_file(folder / "m/config.json"));
    change(document);
    write_file(folder / "m/config.json", document.dump());
  };
  // 一份程序和一个 pickle：谁运行了它们，就会留下一个文件。
  const auto plant_code = [&] {
    write_file(folder / "m/modeling_llama.py", "open(" + nlohmann::json(marker.string()).dump() + ", 'w')\n");
    if (lesson.broken("run_code")) write_file(marker, "");
  };
  const std::string pickle = "cbuiltins\nopen\n(S'" + marker.string() + "'\nS'w'\ntR.";
  struct Ailment {
    const char* name;
    std::function<void()> plant;
    bool loads = false;  // 毛病不在权重里，照样该能加载
  };
  const std::vector<Ailment> ailments = {
      {"没有毛病", [] {}, true},
      {"auto_map 指着检查点里的程序",
       [&] {
         config([](auto& c) {
           c["auto_map"] = {{"AutoModelForCausalLM", "modeling_llama.LlamaForCausalLM"}};
         }),
             plant_code();
       },
       true},
      {"只有程序认得的 model_type",
       [&] { config([](auto& c) { c["model_type"] = "my_llama", c["architectures"] = {"MyLlama"}; }), plant_code(); }},
      {"只有 pickle 的权重",
       [&] { fs::remove(folder / "m/model.safetensors"), write_file(folder / "m/pytorch_model.bin", pickle); }},
      {"没有 config.json", [&] { fs::remove(folder / "m/config.json"); }},
      {"下载断了：权重短了一截",
       [&] { fs::resize_file(folder / "m/model.safetensors", fs::file_size(folder / "m/model.safetensors") / 2); }},
      {"权重与 config 的尺寸不合", [&] { config([](auto& c) { c["intermediate_size"] = 96; }); }},
      {"少了一层", [&] { config([](auto& c) { c["num_hidden_layers"] = 9; }); }},
      {"位置编码的写法不认得", [&] { config([](auto& c) { c["rope_parameters"]["rope_type"] = "brand_new"; }); }}};
  report::Table table({"毛病", "结果", "说什么，怎么改"});
  double wrong = 0, silent = 0, refused = 0;
  for (const Ailment& a : ailments) {
    fs::remove_all(folder / "m");
    fs::create_directories(folder);
    fs::copy(good, folder / "m", fs::copy_options::recursive);
    a.plant();
    std::string said;
    try {
      Runtime runtime(1);
      const RuntimeModel model(runtime, folder / "m", {.compute = Compute::kF32});
    } catch (const Error& e) {
      said = lesson.broken("swallow") ? "" : e.problem() + (e.mend().empty() ? "" : " → " + e.mend());
      silent += !said.empty() && e.mend().empty();
    }
    if (const size_t place = said.find(folder.string()); place != std::string::npos)
      said.replace(place, folder.string().size() + 1, "");
    wrong += said.empty() != a.loads, refused += !said.empty();
    table.row({a.name, said.empty() ? "加载" : "拒绝", said});
  }
  lesson.table(table);
  lesson.equal("有毛病的拒绝，没有毛病的加载：弄错的", wrong, 0);
  lesson.equal("每一次拒绝都说了怎么改：没有说的", silent, 0);
  lesson.claim("检查点里的程序和 pickle 一次也没有运行", !fs::exists(marker));
  lesson.value("ailments_refused", refused);
  fs::remove_all(folder);

  report::Plot bars("Llama-2-7B：内存", "", "GiB"), curve("真的一层：只有 A、B 在动", "步数", "损失");
  bars.categories({"FP16 底座", "NF4 底座", "QLoRA 峰值"})
      .bars("", {base_f16 / gib, base_nf4 / gib, peak / gib})
      .horizontal(7, "7 GiB");
  curve.line("", at, losses);
  lesson.picture("llama2", report::Figure("", 2).add(bars.sized({400, 310})).add(curve.sized({400, 310})));
  return lesson.finish();
}
