// 第 8 周第 2 天  bitsandbytes：四个配置项，文件里的每一位，和一个环境医生
//
//   load_in_4bit                存成 4 位
//   bnb_4bit_quant_type         nf4 或 fp4：16 个值是哪些
//   bnb_4bit_use_double_quant   比例要不要再量化一次（每个权重 4.5 位 → 4.127 位）
//   bnb_4bit_compute_dtype      解开之后用什么算：不影响文件，影响速度和数值
//
// 读一个权重：  w = 值[4 位] × 比例，  比例 = 动态表[8 位] × 二级比例 + 平均
//
// 原来的库要对上 CUDA 的版本才装得上。Sedum 在处理器上读写同样的文件，没有要装的；本课先逐位核对，再看出了毛病会怎么说。
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "compute/dtype/nf4.h"
#include "compute/kernels/isa.h"
#include "course/frame/lesson.h"
#include "formats/safetensors.h"
#include "model/runtime_model.h"
#include "quant/quantised_folder.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

template <class T>
std::vector<T> golden(const std::string& file) {
  const std::string bytes = read_file(fs::path(SEDUM_SOURCE_DIR) / "tests/golden/dtype" / file);
  std::vector<T> all(bytes.size() / sizeof(T));
  std::memcpy(all.data(), bytes.data(), bytes.size());
  return all;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "bitsandbytes 的配置与文件",
                 .difficulty = "库安装失败",
                 .remedy = "不装也能读写同样的文件：逐位核对；环境医生指出毛病",
                 .bugs = {{"nibbles", "一个字节里两个权重的次序弄反了"}, {"offset", "比例忘了加上平均"}}});
  lesson.exercise("4096 × 4096 的矩阵，NF4 带双重量化（4.127 位）。约多少 MiB？", "matrix_mib");
  ThreadPool pool(1);

  lesson.section("一、逐位：与 bitsandbytes 写出的相同");
  // 210 × 448 个数，公式与做标准答案的 Python 相同（tools/golden/dtype_nf4.py）：四个均匀数之和，各行大小不一，一块全 0，一个离群的。
  constexpr int kRows = 210, kCols = 448;
  std::vector<float> weights(size_t(kRows) * kCols);
  uint32_t state = 12345;
  for (size_t i = 0; i < weights.size(); ++i) {
    double sum = 0;
    for (int j = 0; j < 4; ++j)
      state = state * 1664525 + 1013904223, sum += double(float(state >> 8) / float(1 << 24) - 0.5f);
    weights[i] = float(sum * std::exp2(double(int(i) / kCols % 5 - 6)));
  }
  for (int j = 0; j < 64; ++j) weights[7 * kCols + size_t(j)] = 0;
  weights[9 * kCols + 3] = 40;
  const Nf4Quantised q = quantise_nf4(pool, weights.data(), int64_t(weights.size()));
  const auto packed = golden<uint8_t>("nf4.packed"), scales = golden<uint8_t>("nf4.scales");
  auto nested = golden<float>("nf4.nested");
  const float offset = nested.back();
  nested.pop_back();
  const auto different = [](const auto& a, const auto& b) {
    double count = a.size() == b.size() ? 0 : 1e9;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) count += a[i] != b[i];
    return count;
  };
  lesson.value("golden_weights", double(weights.size()));
  lesson.equal("4 位的编号：不同的字节", different(q.packed, packed), 0);
  lesson.equal("8 位的比例：不同的", different(q.scales, scales), 0);
  lesson.equal("二级比例和平均：不同的", different(q.scales_scales, nested) + (q.offset != offset), 0);

  lesson.section("二、自己读回来");
  const auto decoded = golden<float>("nf4.decoded");  // 前 12 行，bitsandbytes 解出来的
  double wrong = 0, error = 0, size = 0;
  for (size_t i = 0; i < decoded.size(); ++i) {
    const bool high = (i % 2 == 0) != lesson.broken("nibbles");  // 偶数的在高 4 位
    const int code = high ? packed[i / 2] >> 4 : packed[i / 2] & 15;
    const float scale =
        dynamic_values()[scales[i / 64]] * nested[i / 64 / 256] + (lesson.broken("offset") ? 0 : offset);
    const float w = kNf4Values[size_t(code)] * scale;
    wrong += w != decoded[i];
    error += std::pow(double(w - weights[i]), 2), size += std::pow(double(weights[i]), 2);
  }
  lesson.equal("三行程序解出的，与 bitsandbytes 解出的不同的", wrong, 0);
  lesson.value("error_percent", 100 * std::sqrt(error / size), "均方根误差；那个离群的数占了大半的大小");
  const double bits = 8.0 * double(packed.size() + scales.size() + 4 * nested.size() + 4) / double(weights.size());
  lesson.value("bits", bits, "这个矩阵：比例的末块不满，所以比 4.127 多一点");
  lesson.value("matrix_mib", 4096.0 * 4096 * (4 + 8 / 64.0 + 32 / (64.0 * 256)) / 8 / (1 << 20));

  lesson.section("三、文件夹里一个矩阵是六个张量");
  const fs::path tiny = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama", work = lesson.out() / "work";
  fs::remove_all(work);
  fs::create_directories(work);
  write_nf4_folder(work / "nf4", Checkpoint::open(tiny), pool);
  const std::map<std::string, std::string> meaning = {{"", "两个 4 位拼一个字节"},
                                                      {".absmax", "每 64 个权重一个 8 位的比例"},
                                                      {".nested_absmax", "每 256 个比例一个 f32"},
                                                      {".nested_quant_map", "256 个动态的数"},
                                                      {".quant_map", "16 个值"},
                                                      {".quant_state.bitsandbytes__nf4", "JSON：形状、块的大小、平均"}};
  report::Table table({"后缀", "类型", "形状", "是什么"}, "mlp.up_proj.weight（64 × 32）在文件里");
  const std::string layer = "model.layers.0.mlp.up_proj.weight";
  double parts = 0;
  const auto source = open_tensors(work / "nf4");
  for (const auto& [suffix, what] : meaning)
    if (const StoredTensor* t = source->find(layer + suffix)) {
      std::string shape;
      for (const int64_t each : t->shape) shape += (shape.empty() ? "" : " × ") + std::to_string(each);
      table.row({suffix.empty() ? "（本身）" : suffix, name(t->dtype), shape, what}), ++parts;
    }
  lesson.table(table);
  lesson.equal("六个都在", parts, 6);
  {
    Runtime runtime(1);
    const RuntimeModel model(runtime, work / "nf4", {.compute = Compute::kF32});
    lesson.claim("写出的文件夹能载入", model.checkpoint().tensor(layer).count() == 64 * 32);
  }

  lesson.section("四、环境医生");
  std::string isas;
  for (const Isa each : available_isas()) isas += std::string(" ") + name(each);
  lesson.say("  这台机器：{} 个核，{:.0f} GiB 内存，指令集{}（用 {}）", usable_cores(),
             double(machine_memory()) / (1 << 30), isas, name(isa()));
  lesson.claim("不需要显卡：可移植的核总是有的", available(Isa::kPortable));
  struct Ailment {
    std::string what, file, from, to, hint;
  };
  const std::vector<Ailment> ailments = {
      {"量化方法不认得", "config.json", "\"bitsandbytes\"", "\"bitsandbites\"", "bitsandbites"},
      {"quant_type 是 fp4", "model.safetensors", "\"quant_type\":\"nf4\"", "\"quant_type\":\"fp4\"", "NF4"},
      {"文件头坏了", "model.safetensors", "\"shape\":[", "\"shape\":{", "JSON"},
      {"少了二级比例", "model.safetensors", ".nested_absmax", ".nestel_absmax", "nested_absmax"},
      {"块的大小不对", "model.safetensors", "\"blocksize\":64", "\"blocksize\":63", "block"}};
  double unnamed = 0;
  for (const Ailment& ailment : ailments) {
    fs::remove_all(work / "ill");
    fs::copy(work / "nf4", work / "ill");
    std::string content = read_file(work / "ill" / ailment.file), problem = "没有报错";
    const size_t at = content.find(ailment.from);
    SEDUM_CHECK(at != std::string::npos, ailment.what);
    write_file(work / "ill" / ailment.file, content.replace(at, ailment.from.size(), ailment.to));
    try {
      Runtime runtime(1);
      RuntimeModel(runtime, work / "ill", {.compute = Compute::kF32});
    } catch (const Error& e) {
      problem = e.what();
    }
    unnamed += problem.find(ailment.hint) == std::string::npos;
    for (size_t path; (path = problem.find(work.string() + "/")) != std::string::npos;)
      problem.erase(path, work.string().size() + 1);
    lesson.say("  {}\n      → {}", ailment.what, problem);
  }
  lesson.value("ailments", double(ailments.size()));
  lesson.equal("没有说中毛病的", unnamed, 0);
  fs::remove_all(work);
  lesson.picture("layout", table);
  return lesson.finish();
}
