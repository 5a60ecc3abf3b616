#include "infer/paged_cache.h"

#include <set>

#include <gtest/gtest.h>

#include "compute/kernels/ref/attention.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

constexpr int kPage = PagedCache::kPageTokens;

ModelConfig small() {
  ModelConfig c;
  c.num_hidden_layers = 2, c.num_key_value_heads = 2, c.head_dim = 4;
  return c;
}

TEST(PagedCache, PagesComeAndGo) {
  Arena arena;
  PagedCache cache(arena, small(), DType::kF32, 4);
  EXPECT_EQ(cache.page_bytes(), 2 * 2 * 2 * kPage * 4 * 4);
  PagedSequence a, b;
  EXPECT_TRUE(cache.reserve(a, kPage + 1));      // two pages
  EXPECT_TRUE(cache.reserve(a, 2 * kPage - 4));  // room is there: nothing new
  EXPECT_EQ(cache.free_pages(), 2);
  EXPECT_TRUE(cache.reserve(b, 2 * kPage));
  EXPECT_EQ(std::set<int32_t>({a.pages[0], a.pages[1], b.pages[0], b.pages[1]}).size(), 4u);
  EXPECT_FALSE(cache.reserve(a, 2 * kPage + 1));
  EXPECT_EQ(a.pages.size(), 2u);  // refused: as it was
  cache.release(b);
  EXPECT_TRUE(b.pages.empty());
  EXPECT_TRUE(cache.reserve(a, 2 * kPage + 1));
  EXPECT_EQ(cache.free_pages(), 1);
}

TEST(PagedCache, LowPagesAreTakenFirst) {
  Arena arena;
  PagedCache cache(arena, small(), DType::kF32, 8);
  PagedSequence a;
  cache.reserve(a, 3 * kPage);
  EXPECT_EQ(a.pages, (std::vector<int32_t>{0, 1, 2}));
  cache.release(a);
  PagedSequence b;
  cache.reserve(b, kPage);
  EXPECT_EQ(b.pages, (std::vector<int32_t>{0}));
}

std::vector<int32_t> count(int32_t n, int32_t first = 0) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < n; ++i) tokens.push_back(first + i);
  return tokens;
}

// A sequence whose tokens are stored and remembered.
PagedSequence stored(PagedCache& cache, const std::vector<int32_t>& tokens, uint64_t root = 0) {
  PagedSequence s;
  cache.find(s, tokens, root);
  EXPECT_TRUE(cache.reserve(s, int64_t(tokens.size()) - s.length));
  s.length = int64_t(tokens.size());
  cache.remember(s, tokens, root);
  return s;
}

TEST(PrefixCache, FindsWholePagesOfTheSameTokensAndRoot) {
  Arena arena;
  PagedCache cache(arena, small(), DType::kF32, 16);
  const int tokens = 3 * kPage + 4;
  PagedSequence a = stored(cache, count(tokens));
  const auto found = [&](const std::vector<int32_t>& prompt, uint64_t root = 0) {
    PagedSequence s;
    const int64_t n = cache.find(s, prompt, root);
    EXPECT_TRUE(std::equal(s.pages.begin(), s.pages.end(), a.pages.begin()));
    cache.release(s);
    return n;
  };
  EXPECT_EQ(found(count(tokens)), 3 * kPage);
  EXPECT_EQ(found(count(3 * kPage)), 2 * kPage);  // one token stays to be computed
  EXPECT_EQ(found(count(3 * kPage + 1)), 3 * kPage);
  EXPECT_EQ(found(count(kPage - 1)), 0);
  EXPECT_EQ(found(count(tokens), 1), 0);  // another adapter
  auto other = count(tokens);
  other[kPage + 8] = 7;
  EXPECT_EQ(found(other), kPage);
  EXPECT_EQ(found(count(2 * kPage, kPage)), 0);  // the second page's tokens without the first
  cache.release(a);
  EXPECT_EQ(cache.free_pages(), 16);
  EXPECT_EQ(cache.cached_pages(), 3);
  PagedSequence again;
  EXPECT_EQ(cache.find(again, count(tokens), 0), 3 * kPage);  // of nobody, but known
  cache.release(again);
  cache.forget();
  EXPECT_EQ(cache.find(again, count(tokens), 0), 0);
  EXPECT_EQ(cache.free_pages(), 16);
}

TEST(PrefixCache, EqualPagesBecomeOne) {
  Arena arena;
  PagedCache cache(arena, small(), DType::kF32, 8);
  PagedSequence a, b;
  cache.reserve(a, 2 * kPage), cache.reserve(b, 2 * kPage);
  a.length = b.length = 2 * kPage;
  cache.remember(a, count(2 * kPage), 0);
  EXPECT_EQ(cache.free_pages(), 4);
  cache.remember(b, count(2 * kPage), 0);
  EXPECT_EQ(a.pages, b.pages);
  EXPECT_EQ(cache.free_pages(), 6);
  cache.release(a);
  EXPECT_EQ(cache.free_pages(), 6);
  cache.release(b);
  EXPECT_EQ(cache.free_pages(), 8);
}

TEST(PrefixCache, TheLeastRecentlyUsedGoFirstAndTailsBeforeHeads) {
  Arena arena;
  PagedCache cache(arena, small(), DType::kF32, 6);
  PagedSequence a = stored(cache, count(3 * kPage)), b = stored(cache, count(3 * kPage, 500));
  cache.release(a);
  cache.release(b);
  PagedSequence s;
  cache.find(s, count(kPage + 1), 0);  // a's first page is used again
  cache.release(s);
  PagedSequence big;
  ASSERT_TRUE(cache.reserve(big, 2 * kPage));  // takes two: the tail of a
  EXPECT_EQ(cache.find(s, count(3 * kPage + 1), 0), kPage);
  cache.release(s);
  EXPECT_EQ(cache.find(s, count(3 * kPage + 1, 500), 0), 3 * kPage);
  cache.release(s);
}

TEST(PrefixCache, WhoWritesToASharedPageCopiesIt) {
  Arena arena;
  PagedCache cache(arena, small(), DType::kF32, 8);
  PagedSequence a;
  cache.reserve(a, kPage + 8);
  a.length = kPage + 8;
  PagedSequence b = cache.fork(a);
  EXPECT_EQ(cache.free_pages(), 6);
  ASSERT_TRUE(cache.reserve(b, 1));
  EXPECT_EQ(a.pages[0], b.pages[0]);
  EXPECT_NE(a.pages[1], b.pages[1]);
  EXPECT_EQ(cache.free_pages(), 5);
  ASSERT_TRUE(cache.reserve(a, 1));  // alone with it now: no copy
  EXPECT_EQ(cache.free_pages(), 5);
  b.length = 2 * kPage + 6, cache.truncate(b, kPage + 8);
  EXPECT_EQ(b.pages.size(), 2u);
  cache.release(a), cache.release(b);
  EXPECT_EQ(cache.free_pages(), 8);
}

// Rows of two sequences, in two steps, of two layers: each value stands where the view says that its position lies.
template <class T>
void check_store(DType dtype) {
  Runtime runtime(2);
  Context ctx = runtime.context(Compute::kF32);
  PagedCache cache(runtime.arena, small(), dtype, 192 / kPage);
  PagedSequence a, b;
  const auto rows_of = [&](int64_t rows, float first) {
    Tensor t = ctx.empty(DType::kF32, {rows, 8});
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = first + float(i);
    return t;
  };
  const auto store = [&](std::vector<PagedStep::Part> parts, const Tensor& keys, const Tensor& values) {
    for (const auto& part : parts) ASSERT_TRUE(cache.reserve(*part.sequence, part.rows));
    PagedStep step(cache, parts);
    SequenceState::View view{};
    for (int64_t layer = 0; layer < 2; ++layer) view = step.store(ctx, layer, keys, values);
    ASSERT_EQ(view.segments->size(), parts.size());
    int64_t row = 0;
    for (size_t p = 0; p < parts.size(); ++p) {
      const AttentionSegment& segment = (*view.segments)[p];
      EXPECT_EQ(segment.query_begin, row);
      EXPECT_EQ(segment.key_count, parts[p].sequence->length + parts[p].rows);
      for (int64_t r = 0; r < parts[p].rows; ++r, ++row) {
        const int64_t position = parts[p].sequence->length + r;
        for (int64_t h = 0; h < 2; ++h)
          for (int64_t d = 0; d < 4; ++d) {
            const int64_t page = segment.pages[position / kPage] * view.kv.page_stride, slot = position % kPage;
            ASSERT_EQ(float(static_cast<const T*>(view.kv.keys)[page + (h * 4 + d) * kPage + slot]),
                      float(T(keys.data<float>()[row * 8 + h * 4 + d])));
            ASSERT_EQ(float(static_cast<const T*>(view.kv.values)[page + (h * kPage + slot) * 4 + d]),
                      float(T(values.data<float>()[row * 8 + h * 4 + d])));
          }
      }
    }
    step.commit();
  };
  store({{&a, 30}, {&b, 5}}, rows_of(35, 1), rows_of(35, -400));
  store({{&b, 1}, {&a, 40}}, rows_of(41, 7), rows_of(41, 900));
  EXPECT_EQ(a.length, 70);
  EXPECT_EQ(b.length, 6);
}
TEST(PagedStep, StoresRowsWhereTheirPositionsLie) {
  check_store<float>(DType::kF32);
  check_store<bf16>(DType::kBF16);
}

TEST(PagedCache, PagesThatNoWindowReachesAreGivenBack) {
  Arena arena;
  ModelConfig config = small();
  config.sliding_window = 40;
  constexpr int kPages = 256 / kPage;
  PagedCache cache(arena, config, DType::kF32, kPages);
  EXPECT_GT(cache.longest(64), 1'000'000);
  EXPECT_EQ(cache.longest(200), 256);  // 240 tokens and the borders do not fit
  PagedSequence s;
  const auto tokens = count(1000);
  for (int64_t length = 0; length < 1000; length += 50) {
    ASSERT_TRUE(cache.reserve(s, 50)) << length;
    // Blocks of 64 keys before length + 1 − 40 are gone, what follows is there.
    const int64_t gone = std::max<int64_t>(0, length + 1 - 40) / 64 * (64 / kPage);
    ASSERT_EQ(s.first, gone);
    for (size_t i = 0; i < s.pages.size(); ++i) ASSERT_EQ(s.pages[i] < 0, int64_t(i) < gone) << i;
    s.length += 50;
    cache.remember(s, std::span(tokens).first(size_t(s.length)), 0);
  }
  PagedSequence fork = cache.fork(s);
  ASSERT_TRUE(cache.reserve(fork, 10));
  EXPECT_EQ(fork.first, s.first + (s.length + 1 - 40) / 64 * (64 / kPage) - s.first);
  cache.release(fork), cache.release(s);
  EXPECT_EQ(cache.free_pages(), kPages);
  config.sliding_layers = {true, false};  // one layer sees all: everything is kept
  PagedCache kept(arena, config, DType::kF32, kPages);
  EXPECT_EQ(kept.longest(1), 256);
  ASSERT_TRUE(kept.reserve(s, 200));
  s.length = 200;
  ASSERT_TRUE(kept.reserve(s, 50));
  EXPECT_EQ(s.first, 0);
}

TEST(PrefixCache, PagesBehindAWindowAreFoundWhileTheyLast) {
  Arena arena;
  ModelConfig config = small();
  config.sliding_window = 32;
  constexpr int kPages = 512 / kPage, kGone = 256 / kPage;
  PagedCache cache(arena, config, DType::kF32, kPages);
  PagedSequence a = stored(cache, count(320));
  ASSERT_TRUE(cache.reserve(a, 1));
  EXPECT_EQ(a.first, kGone);
  PagedSequence b;
  EXPECT_EQ(cache.find(b, count(320), 0), 320 - kPage);
  EXPECT_EQ(std::vector<int32_t>(b.pages.begin() + kGone, b.pages.end()),
            std::vector<int32_t>(a.pages.begin() + kGone, a.pages.begin() + (320 - kPage) / kPage));
  ASSERT_TRUE(cache.reserve(b, 30));  // given back once more
  EXPECT_EQ(b.first, kGone);
  // Their memory is needed: now another prompt with this beginning finds nothing, and what goes on goes on.
  PagedSequence other;
  ASSERT_TRUE(cache.reserve(other, kPage * cache.free_pages()));
  PagedSequence c;
  EXPECT_EQ(cache.find(c, count(320), 0), 0);
  cache.release(other), cache.release(c), cache.release(b), cache.release(a);
  EXPECT_EQ(cache.free_pages(), kPages);
}

// Integers and scales, in pages that are shared and then copied.
TEST(PagedStep, StoresIntegersWithTheirScales) {
  Runtime runtime(2);
  Context ctx = runtime.context(Compute::kF32);
  ModelConfig config = small();
  config.head_dim = 40;  // a block of 32, and one of 8
  PagedCache cache(runtime.arena, config, DType::kI8, 192 / kPage);
  EXPECT_EQ(cache.page_bytes(), kPage * PagedCache::token_bytes(config, DType::kI8));
  EXPECT_EQ(PagedCache::token_bytes(config, DType::kI8), 2 * 2 * 2 * (40 + 2 * 2));
  Tensor keys = ctx.empty(DType::kF32, {40, 80}), values = ctx.empty(DType::kF32, {40, 80});
  for (int64_t i = 0; i < keys.count(); ++i)
    keys.data<float>()[i] = float(i * 37 % 101) - 50, values.data<float>()[i] = float(i * 53 % 97) * 0.01f;
  PagedSequence a;
  ASSERT_TRUE(cache.reserve(a, 40));
  PagedStep step(cache, {{&a, 40}});
  SequenceState::View view{};
  for (int64_t layer = 0; layer < 2; ++layer) view = step.store(ctx, layer, keys, values);
  step.commit();
  const auto expect_rows = [&](const PagedSequence& sequence, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t h = 0; h < 2; ++h) {
        alignas(2) int8_t q[44];
        std::vector<float> key(keys.data<float>() + r * 80 + h * 40, keys.data<float>() + r * 80 + h * 40 + 40);
        turn_blocks(key.data(), 40);
        ref::quantise_head(key.data(), 40, q);
        const int64_t page = sequence.pages[size_t(r / kPage)], slot = h * kPage + r % kPage;
        const auto* stored = static_cast<const int8_t*>(view.kv.keys) + page * view.kv.page_stride + slot * 44;
        ASSERT_TRUE(std::equal(q, q + 44, stored)) << r;
      }
  };
  expect_rows(a, 40);
  PagedSequence b = cache.fork(a);
  ASSERT_TRUE(cache.reserve(b, 1));  // copies the last page
  ASSERT_NE(a.pages.back(), b.pages.back());
  expect_rows(b, 40);
}

}  // namespace
}  // namespace sedum
