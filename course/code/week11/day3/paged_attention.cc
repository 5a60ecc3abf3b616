// 第 11 周第 3 天  PagedAttention：键值缓存分页
//
//   位置 i 的键在：页 = 页表[i / 16]，页内第 i % 16 格          一页 16 个记号，所有层的键和值
//
// 像操作系统的虚拟内存（Kwon 等，2023）：对话看到的是连续的位置，内存里是东一页西一页。于是：
//   用到哪发到哪，浪费不超过最后一页；开头相同的对话共用页；分叉时先共用，谁要写才拷贝；没有页了就让最年轻的交还，以后重算。
// 这一切都不许改变结果：分页 = 连续。
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "infer/local_engine.h"
#include "infer/sampler.h"
#include "report/heatmap.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
using Ids = std::vector<int32_t>;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "vLLM 的 PagedAttention",
                 .difficulty = "PagedAttention 原理模糊",
                 .remedy = "看页表怎样变化，逐位核对“分页 = 连续”",
                 .bugs = {{"no_copy", "分叉之后写共用的页，没有先拷贝"},
                          {"position", "找到了前缀，新的记号却从位置 0 开始"},
                          {"one_root", "不同适配器的前缀共用一个根：把别人的页当成了自己的"}}});
  lesson.exercise("一段对话 70 个记号，一页 16 个。要几页？", "pages_70");
  lesson.predict("按最长 2,048 预留，对话平均几百个记号：缓存有百分之几是空的？", "reserved_waste_percent");
  constexpr int64_t kPage = PagedCache::kPageTokens;
  Runtime runtime(1);
  const RuntimeModel model(runtime, std::filesystem::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama",
                           {.compute = Compute::kF32});
  const ModelConfig& config = model.model().config();
  const size_t vocabulary = size_t(config.vocab_size);
  Context ctx = runtime.context(Compute::kF32);
  const Random random(lesson.seed(), Purpose::kTest);
  const auto prompt = [&](int length, uint64_t which) {
    Ids ids;
    for (int i = 0; i < length; ++i) ids.push_back(int32_t(3 + random.below(300, which * 10000 + uint64_t(i))));
    return ids;
  };
  const auto last_row = [&](const Variable& hidden) {
    const Variable logits = model.model().logits(ctx, hidden);
    const float* end = logits.value().data<float>() + logits.value().count();
    return std::vector<float>(end - vocabulary, end);
  };
  const auto contiguous = [&](const Ids& ids) {
    return last_row(model.model().hidden_states(ctx, Batch::of_sequences({ids})));
  };
  // 把 tokens 里 sequence 还没有算的那些算完，键和值写进页里。
  bool room = true;
  const auto paged = [&](PagedCache& cache, PagedSequence& sequence, const Ids& tokens) {
    const int64_t begin = sequence.length, rows = int64_t(tokens.size()) - begin;
    room = room && cache.reserve(sequence, rows);
    PagedStep step(cache, {{&sequence, rows}});
    Batch batch;
    batch.ids = std::make_shared<const Ids>(tokens.begin() + begin, tokens.end());
    for (int64_t i = 0; i < rows; ++i) batch.positions.push_back(int32_t(lesson.broken("position") ? i : begin + i));
    batch.state = &step;
    const Variable hidden = model.model().hidden_states(ctx, batch);
    step.commit();
    return last_row(hidden);
  };
  const auto difference = [&](const std::vector<float>& a, const std::vector<float>& b) {
    double most = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i)
      most = std::max(most, double(std::abs(a[i] - b[i]))), size = std::max(size, double(std::abs(b[i])));
    return most / size;
  };

  lesson.section("一、页表：地址翻译");
  lesson.value("pages_70", double(PagedCache::pages_for(70)), "70 = 4 × 16 + 6");
  lesson.value("page_bytes", double(PagedCache(runtime.arena, config, DType::kBF16, 1).page_bytes()),
               "这个小模型的一页，bf16");
  PagedCache cache(runtime.arena, config, DType::kF32, 40);
  PagedSequence a, b;
  const Ids text_a = prompt(150, 1), text_b = prompt(120, 2);
  double largest = 0;
  for (size_t n = 10; n <= 150; n += 10) {  // 两段对话轮流长大，页就交错了
    largest = std::max(largest, difference(paged(cache, a, {text_a.begin(), text_a.begin() + long(n)}),
                                           contiguous({text_a.begin(), text_a.begin() + long(n)})));
    if (n <= 120)
      largest = std::max(largest, difference(paged(cache, b, {text_b.begin(), text_b.begin() + long(n)}),
                                             contiguous({text_b.begin(), text_b.begin() + long(n)})));
  }
  const auto shown = [](const PagedSequence& s) { return fmt::format("{}", fmt::join(s.pages, " ")); };
  lesson.say("  A 的页：{}    B 的页：{}", shown(a), shown(b));
  // 同样的和，注意力分块的次序可以不同：几个 ε。
  lesson.at_most("分页 = 连续：logits 之差（以 logits 的大小计）", largest, 1e-5);

  lesson.section("二、浪费：按最长预留，还是用到哪发到哪");
  const int conversations = lesson.quick() ? 200 : 2000;
  double used = 0, pages = 0, most_waste = 0;
  for (int i = 0; i < conversations; ++i) {  // 长度是对数正态：中位数 200，最长 2,048
    const int64_t length =
        std::clamp<int64_t>(int64_t(std::exp(5.3 + 0.9 * double(random.normal(uint64_t(i) + 500000)))), 1, 2048);
    used += double(length), pages += double(PagedCache::pages_for(length));
    most_waste = std::max(most_waste, double(PagedCache::pages_for(length) * kPage - length));
  }
  const double reserved_waste =
      lesson.value("reserved_waste_percent", 100 * (1 - used / (2048.0 * conversations)), "每段预留 2,048");
  const double paged_waste = lesson.value("paged_waste_percent", 100 * (1 - used / (pages * kPage)), "分页");
  lesson.value("times_more", 2048.0 * conversations / (pages * kPage), "同样的内存能多放几倍的对话");
  lesson.at_most("一段对话最多浪费不到一页", most_waste, double(kPage - 1));

  lesson.section("三、前缀：开头相同，页就相同");
  cache.remember(a, text_a, 0);
  Ids asks = {text_a.begin(), text_a.begin() + 100};
  const Ids more = prompt(20, 3);
  asks.insert(asks.end(), more.begin(), more.end());
  PagedSequence c, d;
  lesson.value("prefix_tokens", double(cache.find(c, asks, 0)), "100 个记号相同，整页的有 6 页");
  lesson.equal("共用的页就是 A 的前六页",
               double(std::equal(c.pages.begin(), c.pages.end(), a.pages.begin()) * int64_t(c.pages.size())), 6);
  lesson.at_most("接着前缀算 = 从头算", difference(paged(cache, c, asks), contiguous(asks)), 1e-5);
  lesson.equal("另一个适配器：一页也找不到", double(cache.find(d, asks, lesson.broken("one_root") ? 0 : 1)), 0);

  lesson.section("四、分叉：先共用，写的时候才拷贝");
  const int64_t free_before = cache.free_pages();
  PagedSequence twin = lesson.broken("no_copy") ? a : cache.fork(a);
  const int64_t free_forked = cache.free_pages();
  Ids left = text_a, right = text_a;
  left.push_back(7), right.push_back(8);
  paged(cache, a, left), paged(cache, twin, right);
  lesson.value("fork_pages", double(free_before - free_forked), "分叉时要的新页");
  lesson.value("write_pages", double(free_forked - cache.free_pages()), "两边各写一个字之后：只拷贝了最后那一页");
  left.push_back(9), right.push_back(9);
  const double fork_error = std::max(difference(paged(cache, a, left), contiguous(left)),
                                     difference(paged(cache, twin, right), contiguous(right)));
  lesson.at_most("两条各走各的，都与连续的相同", fork_error, 1e-5);
  lesson.claim("页够用", room);

  lesson.section("五、抢占：没有页了，最年轻的交还，以后重算");
  // 一个问题六个回答，每个要长到 120 个记号（8 页）；缓存一共只有 8 页。
  const auto answers = [&](int64_t cache_tokens, uint64_t seed, int n, uint64_t& preemptions) {
    LocalEngine engine(model, {.context_length = 128, .cache_tokens = cache_tokens});
    std::vector<Ids> all;
    for (const Generation& each : generate_all(
             engine, {.prompt = prompt(20, 10),
                     .sampling = {.temperature = 1.5f, .seed = seed, .max_tokens = 100, .ignore_end = true, .n = n}}))
      all.push_back(each.ids);
    preemptions = engine.statistics().preemptions;
    return all;
  };
  uint64_t none = 0, some = 0;
  const auto crowded = answers(128, 40, 6, some);
  double different = 0;
  for (uint64_t i = 0; i < 6; ++i) different += crowded[i] != answers(4096, 40 + i, 1, none)[0];
  lesson.value("preemptions", double(some), "六个回答挤在 8 页里，抢占的次数");
  lesson.at_least("确实抢占过", double(some), 1);
  lesson.equal("页够的时候没有", double(none), 0);
  lesson.equal("与各自单独时不同的回答", different, 0);

  // 页表的电影：每一行是一个时刻，每一格是一页，数字是谁的。
  PagedCache film(runtime.arena, config, DType::kF32, 14);
  std::vector<PagedSequence> talks(4);
  std::vector<std::vector<double>> frames;
  std::vector<std::string> times;
  const std::vector<std::string> events = {
      "1、2、3 来了", "", "", "2 走了，1 捡起一页", "4 来了", "", "4 与 1 分叉共用", "", "", ""};
  std::vector<int64_t> arrive = {35, 20, 45, 0};
  for (int t = 0; t < 10; ++t) {
    if (t == 3) film.release(talks[1]);
    if (t == 4) arrive[3] = 25;
    if (t == 6) film.release(talks[3]), talks[3] = film.fork(talks[0]);
    for (size_t s = 0; s < 4; ++s) {
      const int64_t rows = talks[s].length > 0 ? 6 : std::exchange(arrive[s], 0);
      if (rows > 0 && film.reserve(talks[s], rows)) talks[s].length += rows;
    }
    frames.emplace_back(14, NAN), times.push_back(fmt::format("{}：{}", t, events[size_t(t)]));
    for (size_t s = 0; s < 4; ++s)
      for (const int32_t page : talks[s].pages)
        frames.back()[size_t(page)] = std::isnan(frames.back()[size_t(page)]) ? double(s + 1) : 5;
  }
  report::Heatmap heat("页表：每格一页（1–4 谁的，5 共用）", frames);
  std::vector<std::string> names;
  for (int p = 0; p < 14; ++p) names.push_back(std::to_string(p));
  heat.rows(times, "时刻").columns(names, "物理页").cell({28, 24}).digits(1).range(0, 6);
  report::Plot waste("浪费的缓存", "", "%");
  waste.categories({"按最长预留", "分页"}).bars("", {reserved_waste, paged_waste}).sized({300, 320});
  lesson.picture("pages", report::Figure("", 2).add(heat).add(waste));
  return lesson.finish();
}
