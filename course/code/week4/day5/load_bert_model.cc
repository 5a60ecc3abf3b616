// 第 4 周第 5 天  加载真正的 BERT：镜像、续传、校验、量化
//
//   慢    一处断了，换一处接着下：已有 n 个字节，就从第 n 个要起（HTTP 的 Range），不从头来
//   对    下完算 SHA-256，与公布的一样才算数：少一个字节、错一位，都是另一个数
//   大    权重按块存成 8 位或 4 位，一块 32 个数共用一个尺度：q = round(w / s)，w ≈ s · q
//
// 有 all-MiniLM-L6-v2（SEDUM_TEST_MODELS 指的文件夹里的 minilm）就用它，没有、或者 --quick，就用随机权重的小 BERT。
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/architectures/bert.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

// 线性层的权重编码成 type 再用，别的（表、归一化、偏置）照旧。数一数它们占多少字节。
class EncodingFactory : public LayerFactory {
 public:
  EncodingFactory(LayerFactory& base, DType type, Arena& arena, bool lost_scale)
      : base_(base), type_(type), arena_(arena), lost_scale_(lost_scale) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out, int64_t in, bool bias) override {
    std::unique_ptr<Linear> layer = base_.linear(name, out, in, bias);
    const Tensor& w = layer->dense().weight().stored.value();  // (out, in)，f32
    Tensor encoded = Tensor::empty(arena_, type_, {out, in});
    std::vector<float> row(static_cast<size_t>(in));
    for (int64_t r = 0; r < out; ++r) {
      for (int64_t c = 0; c < in; ++c) row[size_t(c)] = w.data<float>()[r * in + c];
      // 尺度只算了第一块的，别的块也拿它除：大的数被截断，小的数成了 0。
      if (lost_scale_) clip_to_first_block(row);
      encode(type_, row.data(), static_cast<char*>(encoded.raw()) + size_t(r) * row_bytes(type_, in), in);
    }
    bytes += encoded.bytes();
    return std::make_unique<DenseLinear>(ops::Weight{Variable(encoded)}, *layer->dense().bias());
  }
  Variable vector(const std::string& name, int64_t size) override { return base_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return base_.table(name, rows, cols);
  }
  size_t bytes = 0;

 private:
  static void clip_to_first_block(std::vector<float>& row) {
    float top = 0;
    for (size_t c = 0; c < 32; ++c) top = std::max(top, std::abs(row[c]) / 4);
    for (float& v : row) v = std::clamp(v, -top, top);
  }
  LayerFactory& base_;
  DType type_;
  Arena& arena_;
  bool lost_scale_;
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "加载真正的 BERT：镜像、续传、校验、量化",
                 .difficulty = "模型下载慢、显存不足",
                 .remedy = "用国内源，断了接着下，核对校验和；量化加载",
                 .bugs = {{"restart", "续传时从头要了一遍，却接在已有的后面"},
                          {"no_check", "下完没有核对校验和，坏文件也收了"},
                          {"one_scale", "整行只用第一块的尺度：别的块被截断"}}});
  lesson.exercise("8 位的块：32 个数各 1 字节，加 2 字节的尺度。每个权重几位？", "bits_q8_0");
  lesson.predict("4 位的权重，句子向量与 f32 的余弦是多少？", "cosine_q4_0");

  // ---- 模型：真的，或者小的
  const char* models = std::getenv("SEDUM_TEST_MODELS");
  const fs::path real = fs::path(models ? models : "") / "minilm";
  const bool is_real = !lesson.quick() && models && fs::exists(real / "model.safetensors");
  const fs::path golden = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/bert_plain";
  Runtime runtime(1);
  const Checkpoint checkpoint = is_real ? Checkpoint::open(real)
                                        : Checkpoint::untrained(nlohmann::json{{"model_type", "bert"},
                                                                               {"architectures", {"BertModel"}},
                                                                               {"vocab_size", 120},
                                                                               {"hidden_size", 64},
                                                                               {"intermediate_size", 256},
                                                                               {"num_hidden_layers", 3},
                                                                               {"num_attention_heads", 4},
                                                                               {"max_position_embeddings", 64}}
                                                                    .dump(),
                                                                golden);
  lesson.value("real", is_real, "1：all-MiniLM-L6-v2；0：随机权重的小 BERT");
  lesson.value("parameters", double(checkpoint.config().parameter_count()));

  lesson.section("断了接着下");
  const std::string file = read_file((is_real ? real : golden) / "model.safetensors"), published = sha256(file);
  std::string part;
  size_t asked = 0;  // 向两处一共要了多少字节
  // 一处源：从第 from 个字节给起，给到 stop 就断。
  const auto serve = [&](size_t from, size_t stop) { part.append(file, from, stop - from), asked += stop - from; };
  serve(0, file.size() * 2 / 5);  // 第一处给了五分之二
  lesson.say("第一处断了：有了 {} 个字节，共 {} 个", part.size(), file.size());
  serve(lesson.broken("restart") ? 0 : part.size(), file.size());  // 镜像接着给
  lesson.value("megabytes", double(file.size()) / 1e6);
  lesson.equal("接起来的文件，SHA-256 与公布的一样", part.size() == file.size() && sha256(part) == published, 1);
  lesson.equal("一共传了多少，比文件多", double(asked) - double(file.size()), 0);

  lesson.section("校验");
  std::string damaged = file;
  damaged[damaged.size() / 2] = char(damaged[damaged.size() / 2] ^ 1);  // 错了一位
  const bool accepted = lesson.broken("no_check") || sha256(damaged) == published;
  int changed = 0;
  const std::string other = sha256(damaged);
  for (size_t i = 0; i < other.size(); ++i) changed += other[i] != published[i];
  lesson.equal("错了一位的文件被收下", accepted, 0);
  lesson.value("digits_changed", changed, "64 位十六进制里变了的：雪崩，平均 60");
  lesson.at_least("错一位，校验和就面目全非", changed, 40);  // 每位变的概率 15/16：少于 40 的概率小于 1e-14

  lesson.section("量化之后");
  const std::vector<std::string> texts =
      is_real
          ? std::vector<std::string>{"Water it rarely.", "It needs little water.", "The train leaves at nine.",
                                     "How often should a succulent be watered in winter?", "A bright window is best."}
          : std::vector<std::string>{"water the plant", "the soil is dry in winter", "how often", "light in summer"};
  const int64_t width = checkpoint.config().hidden_size;
  // 句子向量：各记号状态的平均，长度归一。
  const auto vectors = [&](const BertModel& model) {
    std::vector<std::vector<double>> all;
    Context ctx = runtime.context(Compute::kF32);
    for (const std::string& text : texts) {
      const std::vector<int32_t> ids = checkpoint.tokenizer()->encode_single(text).ids;
      const Variable hidden = model.hidden_states(ctx, Batch::of_sequences({ids}));
      std::vector<double> v(static_cast<size_t>(width));
      double square = 0;
      for (size_t d = 0; d < v.size(); ++d) {
        for (size_t r = 0; r < ids.size(); ++r) v[d] += double(hidden.value().data<float>()[r * v.size() + d]);
        square += v[d] * v[d];
      }
      for (double& x : v) x /= std::sqrt(square);
      all.push_back(std::move(v));
    }
    return all;
  };
  const auto base = [&]() -> std::unique_ptr<LayerFactory> {
    if (is_real)
      return std::make_unique<CheckpointFactory>(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool,
                                                 runtime.arena);
    return std::make_unique<RandomFactory>(runtime.pool, runtime.arena, lesson.seed(), true, DType::kF32, Pack::kNone,
                                           0.1f);
  };
  const auto exact_factory = base();
  const auto exact = vectors(BertModel(checkpoint.config(), *exact_factory));
  report::Table table({"权重", "每个几位", "MB", "余弦（最小的一句）"}, "线性层的权重存成什么");
  std::vector<double> bits, distances;
  double whole = 0;
  for (const auto& [name, type] : std::vector<std::pair<std::string, DType>>{
           {"f32", DType::kF32}, {"f16", DType::kF16}, {"q8_0", DType::kQ8_0}, {"q4_0", DType::kQ4_0}}) {
    const auto source = base();
    EncodingFactory factory(*source, type, runtime.arena, lesson.broken("one_scale") && type == DType::kQ8_0);
    const auto start = std::chrono::steady_clock::now();
    const BertModel model(checkpoint.config(), factory);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const auto ours = vectors(model);
    double cosine = 1;
    for (size_t i = 0; i < texts.size(); ++i) {
      double product = 0;
      for (size_t d = 0; d < ours[i].size(); ++d) product += ours[i][d] * exact[i][d];
      cosine = std::min(cosine, product);
    }
    if (type == DType::kF32) whole = double(factory.bytes);
    const double each = 32 * double(factory.bytes) / whole;
    lesson.say("{}：{:.2f} MB，加载并编码 {:.2f} 秒", name, double(factory.bytes) / 1e6, seconds);
    lesson.value("megabytes_" + name, double(factory.bytes) / 1e6), lesson.value("bits_" + name, each);
    lesson.value("cosine_" + name, cosine);
    table.row({name, fmt::format("{:.1f}", each), fmt::format("{:.2f}", double(factory.bytes) / 1e6),
               fmt::format("{:.5f}", cosine)});
    bits.push_back(each), distances.push_back(std::max(1e-9, 1 - cosine));
    if (type == DType::kF32) lesson.at_least("f32：余弦", cosine, 1 - 1e-6);  // 同样的数，只差舍入
    // 8 位的误差不超过尺度的一半，块里最大数的 1/254：向量的方向几乎不动。
    if (type == DType::kQ8_0) lesson.at_least("8 位：每句的余弦都不小于 0.99", cosine, 0.99);
  }
  lesson.between("8 位的块：每个权重 8.5 位", bits[2], 8.5, 8.5);
  lesson.between("4 位的块：每个权重 4.5 位", bits[3], 4.5, 4.5);
  lesson.table(table);
  report::Plot plot("位数越少，向量离得越远", "每个权重几位", "1 − 余弦（最差的一句）");
  plot.log_y();
  plot.line("", {bits[1], bits[2], bits[3]}, {distances[1], distances[2], distances[3]});
  plot.horizontal(0.01, "0.99");
  lesson.picture("quantised", plot);
  return lesson.finish();
}
