// 第 11 周第 1 天  贪心与束搜索
//
//   贪心：    每一步取概率最大的字
//   束搜索：  每一步留下 k 条最好的半句，比的是整条的 Σ log p(x_t | x_<t)，不是这一步的 p
//   穷举：    全部 V^L 句都算一遍，取最大的。只有很小的例子做得到
//
// 束宽越大，找到的句子一般越“可能”；可是最可能的句子不一定是好句子：人写的话平均每个字有一个熵那么多的意外，
// 贪心和束搜索写的远远低于它，还爱打转。所以翻译、抄写这类有标准答案的用束，聊天用采样。
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "infer/beam_search.h"
#include "report/diagram.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

// 一个语言模型，小到能写在一张表里：logits[x] 是“前一个字是 x”时下一个字的 logits。
using Language = std::vector<std::vector<float>>;
using Ids = std::vector<int32_t>;
struct Sentence {
  Ids ids;
  double log_p = 0;
};

double log_p(const Language& language, int32_t last, int32_t next) {
  return double(language[size_t(last)][size_t(next)]) - log_sum_exp(language[size_t(last)]);
}

// 自己写一遍。k 条半句，各接上 V 个字，k·V 条里留 k 条最好的。
std::vector<Sentence> beam_search(const Lesson& lesson, const Language& language, int32_t start, int length, size_t k) {
  std::vector<Sentence> beams = {{{start}, 0}};
  for (int t = 0; t < length; ++t) {
    std::vector<Sentence> longer;
    for (const Sentence& beam : beams) {
      std::vector<Sentence> own;
      for (int32_t next = 0; next < int32_t(language.size()); ++next) {
        Sentence s = beam;
        s.log_p = (lesson.broken("last_only") ? 0 : beam.log_p) + log_p(language, beam.ids.back(), next);
        s.ids.push_back(next);
        own.push_back(s);
      }
      if (lesson.broken("one_each")) own = {*std::ranges::max_element(own, {}, &Sentence::log_p)};
      longer.insert(longer.end(), own.begin(), own.end());
    }
    std::ranges::stable_sort(longer, std::greater{}, &Sentence::log_p);
    longer.resize(std::min(k, longer.size()));
    beams = std::move(longer);
  }
  for (Sentence& s : beams) {  // 分数重新算一遍：整句的 log p
    s.log_p = 0;
    for (size_t i = 1; i < s.ids.size(); ++i) s.log_p += log_p(language, s.ids[i - 1], s.ids[i]);
  }
  return beams;
}

// 库里的束搜索。引擎每一步替它算各条半句的 logits；这里由表来给。
struct Library {
  Arena arena;
  Tokenizer tokenizer{[] {
    TokenizerSpec spec;
    spec.pre_tokenizer = "gpt-2";
    for (char c = 'A'; c <= 'L'; ++c) spec.tokens.emplace_back(1, c);
    return spec;
  }()};
  PagedCache cache{arena,
                   [] {
                     ModelConfig tiny;
                     tiny.num_hidden_layers = tiny.num_key_value_heads = tiny.head_dim = 1;
                     return tiny;
                   }(),
                   DType::kF32, 4096};
  Sentence search(const Language& language, int32_t start, int length, int k, float penalty = 0, Ids ends = {}) {
    Sentence answer{{start}, 0};
    SamplingParams sampling{.temperature = 0, .max_tokens = length, .stop_ids = std::move(ends), .num_beams = k};
    sampling.length_penalty = penalty;  // 分数 = Σ log p / 长度^penalty；0 就是 Σ log p
    BeamSearch beams({tokenizer, cache, 1024, int64_t(language.size()), 1}, {.prompt = {start}, .sampling = sampling},
                     [&](const GenerationUpdate& update) {
                       if (update.id >= 0) answer.ids.push_back(update.id);
                       answer.log_p = double(update.score);
                     });
    while (!beams.finished()) {
      Unit& unit = beams.units().front();
      std::vector<std::vector<float>> logits;
      for (const auto& line : unit.lines) logits.push_back(language[size_t(line->tokens.back())]);
      std::vector<Computed> computed;
      for (size_t i = 0; i < logits.size(); ++i) {
        Line& line = *unit.lines[i];
        SEDUM_CHECK(cache.reserve(line.state, line.pending()));
        line.state.length = int64_t(line.tokens.size());
        computed.push_back({&line, line.state.length - 1, 1, nullptr, logits[i]});
      }
      beams.advance(unit, computed);
    }
    return answer;
  }
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "贪心与束搜索",
                 .difficulty = "束搜索 beam size 选择难",
                 .remedy = "束宽 1、2、4、8 各找一遍，看概率、重复、像不像人写的",
                 .bugs = {{"last_only", "比的是这一步的概率，前面的没有加进来"},
                          {"one_each", "每条半句只留它自己最好的一个后续"}}});
  lesson.exercise("第一步：A 0.5、B 0.4、C 0.1。A 之后：D 0.4、E 0.3、F 0.3；B 之后：G 0.9。贪心找到的那句概率是多少？",
                  "trap_greedy");
  lesson.predict("采样写的文字，二字组合里重复的占三成左右。束宽 8 写的呢（百分之几）？", "repeated_percent_8");
  Library library;
  const auto language_of = [](std::vector<std::vector<double>> p) {
    Language language;
    for (const auto& row : p) {
      language.emplace_back();
      for (const double each : row) language.back().push_back(float(std::log(each)));
    }
    return language;
  };

  lesson.section("一个陷阱：第一步最好的，不通向最好的整句");
  const std::vector<double> any(8, 0.125);
  const Language trap = language_of({{0, .5, .4, .1, 0, 0, 0, 0},
                                     {0, 0, 0, 0, .4, .3, .3, 0},
                                     {0, 0, 0, 0, .1, 0, 0, .9},
                                     {0, 0, 0, 0, 0, 0, 0, 1},
                                     any,
                                     any,
                                     any,
                                     any});
  const double trap_greedy = std::exp(beam_search(lesson, trap, 0, 2, 1)[0].log_p);
  const double trap_beam = std::exp(beam_search(lesson, trap, 0, 2, 2)[0].log_p);
  lesson.value("trap_greedy", trap_greedy, "A D：0.5 × 0.4"), lesson.value("trap_beam", trap_beam, "B G：0.4 × 0.9");
  // 概率写成 f32 的对数：相对误差几个 ε。
  lesson.between("贪心走进陷阱", trap_greedy, 0.20 - 1e-6, 0.20 + 1e-6);
  lesson.between("束宽 2 就出来了", trap_beam, 0.36 - 1e-6, 0.36 + 1e-6);

  lesson.section("束够宽，就是穷举");
  const Random random(lesson.seed(), Purpose::kTest);
  const auto random_language = [&](int size, uint64_t from) {
    Language language(static_cast<size_t>(size), std::vector<float>(static_cast<size_t>(size)));
    for (auto& row : language)
      for (float& l : row) l = 1.5f * random.normal(from++);
    return language;
  };
  const int letters = 4, length = 5, sentences = 1024;  // 4⁵
  double own_gap = 0, library_gap = 0, beaten = 0;
  const int tables = lesson.quick() ? 3 : 20;
  for (int i = 0; i < tables; ++i) {
    const Language language = random_language(letters, uint64_t(i) * 1000);
    double best = -INFINITY;
    for (int code = 0; code < sentences; ++code) {
      double sum = 0;
      for (int t = 0, rest = code, last = 0; t < length; ++t, rest /= letters)
        sum += log_p(language, last, rest % letters), last = rest % letters;
      best = std::max(best, sum);
    }
    // 最后一步之前至多 4⁴ 条半句：束宽 256 就一条也没有丢。
    own_gap = std::max(own_gap, std::abs(beam_search(lesson, language, 0, length, 256)[0].log_p - best));
    library_gap = std::max(library_gap, std::abs(library.search(language, 0, length, 256).log_p - best));
    for (const int k : {1, 2, 4}) beaten += library.search(language, 0, length, k).log_p > best + 1e-5;
  }
  lesson.at_most("自己写的，束宽 256 = 穷举 1,024 句：log p 之差", own_gap, 1e-5);  // f32 的分数，五项之和约 −5
  lesson.at_most("库的，束宽 256 = 穷举", library_gap, 1e-5);
  lesson.equal("没有哪个束宽胜过穷举", beaten, 0);

  lesson.section("十二个字的语言，写四十个字");
  const int words = 12, long_length = 40, prompts = lesson.quick() ? 4 : 12, seeds = 3;
  const std::vector<int> widths = {1, 2, 4, 8};
  struct Measure {
    double surprise = 0, repeated = 0;
  };
  const auto measure = [](const Language& language, const Ids& ids) {
    Measure m;
    std::set<std::pair<int32_t, int32_t>> pairs;
    for (size_t i = 1; i < ids.size(); ++i)
      m.surprise -= log_p(language, ids[i - 1], ids[i]) / double(ids.size() - 1), pairs.emplace(ids[i - 1], ids[i]);
    m.repeated = 1 - double(pairs.size()) / double(ids.size() - 1);
    return m;
  };
  double not_greedy = 0, gap = 0;
  std::vector<std::vector<Measure>> found(size_t(seeds), std::vector<Measure>(widths.size()));
  std::vector<Measure> sampled(static_cast<size_t>(seeds));
  report::Table table({"种子", "写法", "每个字的意外（纳特）", "重复的二字组合"});
  for (size_t s = 0; s < size_t(seeds); ++s) {
    const Language language = random_language(words, (lesson.seed() * 10 + s + 1) * 100000);
    for (int32_t start = 0; start < prompts; ++start) {
      Sentence greedy{{start}, 0};
      for (int t = 0; t < long_length; ++t) greedy.ids.push_back(argmax(language[size_t(greedy.ids.back())]));
      for (size_t w = 0; w < widths.size(); ++w) {
        const Ids own = beam_search(lesson, language, start, long_length, size_t(widths[w]))[0].ids;
        const Ids ids = library.search(language, start, long_length, widths[w]).ids;
        not_greedy += widths[w] == 1 && ids != greedy.ids;
        gap = std::max(gap, long_length * std::abs(measure(language, own).surprise - measure(language, ids).surprise));
        const Measure m = measure(language, ids);
        found[s][w].surprise += m.surprise / prompts, found[s][w].repeated += m.repeated / prompts;
      }
      Sampler sampler({.seed = lesson.seed() + s});
      Ids ids = {start};
      for (uint64_t t = 0; t < uint64_t(long_length); ++t) {
        std::vector<float> logits = language[size_t(ids.back())];
        ids.push_back(sampler.sample(logits, {}, uint64_t(start) * 1000 + t));
      }
      const Measure m = measure(language, ids);
      sampled[s].surprise += m.surprise / prompts, sampled[s].repeated += m.repeated / prompts;
    }
    const auto row = [&](const std::string& name, const Measure& m) {
      table.row(
          {std::to_string(s + 1), name, fmt::format("{:.3f}", m.surprise), fmt::format("{:.0f} %", 100 * m.repeated)});
    };
    for (size_t w = 0; w < widths.size(); ++w) row(w ? fmt::format("束宽 {}", widths[w]) : "贪心", found[s][w]);
    row("采样", sampled[s]);
  }
  lesson.table(table);
  lesson.equal("束宽 1 = 贪心：不同的句子", not_greedy, 0);
  // 同样的字对换个次序，log p 相等：并列的句子可以不同，分数不能。库的分数是 f32，四十项之和约 −40，每加一次差半个 ε·40。
  lesson.at_most("自己写的 = 库的，束宽 1、2、4、8：整句 log p 之差", gap, 40 * 40 * 6e-8);
  report::Plot surprise("束越宽，句子越可能", "束宽（对数）", "每个字的意外（纳特）"),
      repeats("可是都爱打转", "束宽（对数）", "重复的二字组合（%）");
  const report::Values places(widths.begin(), widths.end());
  const auto mean = [&](auto&& of) {
    double sum = 0;
    for (size_t s = 0; s < size_t(seeds); ++s) sum += of(s) / seeds;
    return sum;
  };
  for (size_t w = 0; w < widths.size(); ++w) {
    lesson.value(fmt::format("surprise_{}", widths[w]), mean([&](size_t s) { return found[s][w].surprise; }));
    lesson.value(fmt::format("repeated_percent_{}", widths[w]),
                 100 * mean([&](size_t s) { return found[s][w].repeated; }));
  }
  const double human =
      lesson.value("surprise_sampled", mean([&](size_t s) { return sampled[s].surprise; }), "采样：这门语言本来的样子");
  const double human_repeats =
      lesson.value("repeated_percent_sampled", 100 * mean([&](size_t s) { return sampled[s].repeated; }));
  for (size_t s = 0; s < size_t(seeds); ++s) {
    report::Values a, b;
    for (const Measure& m : found[s]) a.push_back(m.surprise), b.push_back(100 * m.repeated);
    surprise.line(fmt::format("种子 {}", s + 1), places, a), repeats.line(fmt::format("种子 {}", s + 1), places, b);
  }
  surprise.log_x().line("采样", places, report::Values(places.size(), human)).y_range(0, 2.2).sized({400, 300}),
      repeats.log_x()
          .line("采样", places, report::Values(places.size(), human_repeats))
          .y_range(0, 100)
          .sized({400, 300});

  lesson.section("长度惩罚：有句号时，短句占便宜");
  // L 号字是句号。Σ log p 每多一个字就更小，所以 penalty = 0 爱短句；除以长度之后不再如此。
  for (const double penalty : {0.0, 1.0, 2.0}) {
    const double mean_length = mean([&](size_t s) {
      const Language language = random_language(words, (lesson.seed() * 10 + s + 1) * 100000);
      double sum = 0;
      for (int32_t start = 0; start < prompts; ++start)
        sum += double(library.search(language, start, long_length, 4, float(penalty), {words - 1}).ids.size() - 1) /
               prompts;
      return sum;
    });
    lesson.value(fmt::format("length_penalty_{:.0f}", penalty), mean_length, "束宽 4 的平均句长");
  }

  report::Diagram tree("陷阱：贪心 0.20，束宽 2 得 0.36");
  tree.box("s", "开始", 0, 1)
      .box("a", "A 0.5", 1, 0)
      .box("b", "B 0.4", 1, 1, report::Diagram::Look::kStrong)
      .box("c", "C 0.1", 1, 2, report::Diagram::Look::kDashed);
  tree.box("d", "A D 0.20", 2, 0)
      .box("g", "B G 0.36", 2, 1, report::Diagram::Look::kStrong)
      .arrow("s", "a")
      .arrow("s", "b")
      .arrow("s", "c", "", true);
  tree.arrow("a", "d", "0.4").arrow("b", "g", "0.9");
  lesson.picture("beams", report::Figure("", 3).add(tree).add(surprise).add(repeats));
  return lesson.finish();
}
