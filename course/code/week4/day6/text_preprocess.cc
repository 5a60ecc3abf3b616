// 第 4 周第 6 天  文本预处理：切分、截断、补齐
//
//   切分  文字 → 记号 → 编号，两头加上 [CLS] 和 [SEP]
//   截断  超过 max_length 就从尾部去掉，但 [SEP] 要留着
//   补齐  短的补 [PAD] 到一样长，attention_mask 记下哪些是真的（1）、哪些是补的（0）
//
// 补齐只是为了把几句话装进一个矩形，绝不应当改变结果：补的记号谁也不许看，求平均时也不算。忘了掩码，
// 同一句话放在不同的批里就会得到不同的向量，而且不会报错。
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "course/frame/lesson.h"
#include "model/architectures/bert.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/table.h"

using namespace sedum;
using course::Lesson;
using Ids = std::vector<int32_t>;
using Rows = std::vector<Ids>;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "文本预处理：切分、截断、补齐",
                 .difficulty = "分词器使用不熟练",
                 .remedy = "练习 tokenize、截断、填充，逐个编号核对",
                 .bugs = {{"cut", "截断时直接砍到 max_length，[SEP] 也砍掉了"},
                          {"no_mask", "没有 attention_mask：补的记号也被看见"},
                          {"mean_all", "求平均时把补的位置也算了进去"}}});
  lesson.exercise("四句话最长 15 个记号，补成 4 × 15 的矩形。补的占百分之几？（四句共 35 个）", "padding_percent");
  lesson.predict("忘了 attention_mask，句子向量与正确的相差多少（余弦距离）？", "cosine_without_mask");

  const std::filesystem::path golden = std::filesystem::path(SEDUM_SOURCE_DIR) / "tests/golden";
  const auto expected = parse_json(read_file(golden / "course/wordpiece.json"));
  const auto texts = expected["texts"].get<std::vector<std::string>>();
  const Checkpoint checkpoint = Checkpoint::open(golden / "models/bert_plain");
  const Tokenizer& tokenizer = *checkpoint.tokenizer();

  lesson.section("切分");
  std::vector<Encoding> encoded;
  double wrong = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    encoded.push_back(tokenizer.encode_single(texts[i]));
    std::string shown;
    for (const int32_t id : encoded[i].ids) shown += std::string(tokenizer.token_bytes(id)) + " ";
    lesson.say("{:<40}{}", texts[i], shown);
    wrong += encoded[i].ids != expected["ids"][i].get<Ids>();
  }
  lesson.equal("编号与 Hugging Face 的 tokenizers 不同的句子", wrong, 0);
  lesson.value("vocabulary", tokenizer.vocab_size());
  double wrong_pairs = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const Encoding pair = tokenizer.encode_pair(texts[i], texts[(i + 1) % texts.size()]);
    wrong_pairs +=
        pair.ids != expected["pair_ids"][i].get<Ids>() || pair.type_ids != expected["pair_types"][i].get<Ids>();
  }
  lesson.equal("两句一对：编号或类型（0 是前一句，1 是后一句）不同的", wrong_pairs, 0);

  lesson.section("截断到 10");
  double wrong_cuts = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    Truncation truncation;
    truncation.max_length = 10;
    Ids cut = tokenizer.encode_single(texts[i], truncation).ids;
    if (lesson.broken("cut")) cut = encoded[i].ids, cut.resize(std::min<size_t>(10, cut.size()));
    wrong_cuts += cut != expected["cut_ids"][i].get<Ids>();
    lesson.say("{} → {} 个，最后一个是 {}", encoded[i].ids.size(), cut.size(), tokenizer.token_bytes(cut.back()));
  }
  lesson.equal("截断之后编号不同的句子", wrong_cuts, 0);

  lesson.section("补齐");
  std::vector<Encoding> padded = encoded;
  tokenizer.pad(padded, Padding{});  // 到最长的一句
  double wrong_pads = 0, tokens = 0;
  report::Table table({"句子", "attention_mask"}, "补齐：1 是真的，0 是补的");
  for (size_t i = 0; i < texts.size(); ++i) {
    wrong_pads += padded[i].ids != expected["padded_ids"][i].get<Ids>() ||
                  padded[i].attention_mask != expected["attention_mask"][i].get<Ids>();
    std::string mask;
    for (const int32_t m : padded[i].attention_mask) mask += m ? "1 " : "0 ";
    table.row({texts[i], mask}), tokens += double(encoded[i].ids.size());
  }
  lesson.equal("补齐之后编号或掩码不同的句子", wrong_pads, 0);
  const size_t length = padded[0].ids.size();
  lesson.value("longest", double(length)), lesson.value("tokens", tokens);
  lesson.value("padding_percent", 100 * (1 - tokens / double(length * texts.size())), "白算的：矩形里补的那些");

  lesson.section("补齐不改变结果");
  Runtime runtime(1);
  CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena);
  const BertModel model(checkpoint.config(), factory);
  Context ctx = runtime.context(Compute::kF32);
  const auto width = size_t(checkpoint.config().hidden_size);
  // 矩形的一批：每一行 length 个查询，能看见的键只有真的那些。with_mask 为假：补的也看得见。
  const auto rectangle = [&](bool with_mask) {
    Rows rows;
    for (const Encoding& e : padded) rows.push_back(e.ids);
    Batch batch = Batch::of_sequences(rows);
    auto segments = std::make_shared<std::vector<AttentionSegment>>();
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto real = std::count(padded[i].attention_mask.begin(), padded[i].attention_mask.end(), 1);
      segments->push_back(
          {int64_t(i * length), int64_t(length), int64_t(i * length), with_mask ? real : int64_t(length)});
    }
    batch.segments = segments;
    return model.hidden_states(ctx, batch);
  };
  // 句子向量：前 count 行的平均，长度归一。
  const auto mean = [&](const float* rows, size_t count) {
    std::vector<double> v(width);
    double square = 0;
    for (size_t d = 0; d < width; ++d) {
      for (size_t r = 0; r < count; ++r) v[d] += double(rows[r * width + d]);
      square += v[d] * v[d];
    }
    for (double& x : v) x /= std::sqrt(square);
    return v;
  };
  const Variable masked = rectangle(!lesson.broken("no_mask")), unmasked = rectangle(false);
  double state_difference = 0, vector_difference = 0, cosine_distance = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const size_t real = encoded[i].ids.size();
    const Variable alone = model.hidden_states(ctx, Batch::of_sequences({encoded[i].ids}));
    const float *a = alone.value().data<float>(), *b = masked.value().data<float>() + i * length * width;
    for (size_t v = 0; v < real * width; ++v)
      state_difference = std::max(state_difference, std::abs(double(a[v]) - double(b[v])));
    const auto own = mean(a, real), in_batch = mean(b, lesson.broken("mean_all") ? length : real),
               careless = mean(unmasked.value().data<float>() + i * length * width, real);
    double cosine = 0;
    for (size_t d = 0; d < width; ++d)
      vector_difference = std::max(vector_difference, std::abs(own[d] - in_batch[d])), cosine += own[d] * careless[d];
    cosine_distance = std::max(cosine_distance, 1 - cosine);
  }
  lesson.equal("每个记号的状态：单独算与在补齐的批里算，最大的差", state_difference, 0);
  lesson.equal("句子向量：最大的差", vector_difference, 0);
  lesson.value("cosine_without_mask", cosine_distance, "忘了掩码：同一句话的向量变了这么多");
  lesson.at_least("忘了掩码，结果确实会变", cosine_distance, 1e-3);
  lesson.picture("padding", table);
  return lesson.finish();
}
