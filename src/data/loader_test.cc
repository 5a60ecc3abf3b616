#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/random.h"
#include "formats/numpy.h"

namespace sedum::data {
namespace {

// Samples that can be told apart: sample i consists of the number i, 1 to `longest` tokens, every third label ignored.
std::vector<Sample> numbered(int count, int longest = 20) {
  const Random random(7, Purpose::kTest);
  std::vector<Sample> samples;
  for (int i = 0; i < count; ++i) {
    const size_t length = 1 + random.below(uint64_t(longest), uint64_t(i));
    Sample sample{std::vector<int32_t>(length, i), std::vector<int32_t>(length, i)};
    for (size_t t = 0; t < length; t += 3) sample.labels[t] = kIgnored;
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::vector<int32_t> samples_of(const StepBatch& batch) {
  std::vector<int32_t> numbers;
  for (const Segment& s : batch.segments) numbers.push_back(batch.ids[size_t(s.begin)]);
  return numbers;
}

std::vector<int32_t> samples_of_step(const Loader& loader, int64_t step) {
  std::vector<int32_t> all;
  for (int micro = 0; micro < loader.config().gradient_accumulation_steps; ++micro) {
    const auto part = samples_of(loader.batch(step, micro));
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

void expect_equal(const StepBatch& a, const StepBatch& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.targets, b.targets);
  EXPECT_EQ(a.positions, b.positions);
  EXPECT_EQ(a.segments, b.segments);
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.offsets, b.offsets);
  EXPECT_EQ(a.label_tokens, b.label_tokens);
}

TEST(Loader, ShiftsWithinTheSequenceOnly) {
  const std::vector<Sample> samples = {{{1, 2, 3}, {kIgnored, 2, 3}}, {{4}, {4}}, {{5, 6}, {5, 6}}};
  const Loader loader(samples, {.batch_size = 3, .shuffle = false});
  const StepBatch batch = loader.batch(0);
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{2, 3, kIgnored, kIgnored, 6, kIgnored}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{0, 1, 2, 0, 0, 1}));
  EXPECT_EQ(batch.segments, (std::vector<Segment>{{0, 3}, {3, 1}, {4, 2}}));
  EXPECT_EQ(batch.label_tokens, 3);
  EXPECT_EQ(loader.label_tokens(0), 3);
}

TEST(Loader, EveryEpochHasEverySampleOnceInAnotherOrder) {
  for (const bool packing : {false, true})
    for (const bool grouped : {false, true}) {
      const Loader loader(numbered(157),
                          {.batch_size = 4, .sequence_length = 32, .packing = packing, .group_by_length = grouped});
      std::vector<std::vector<int32_t>> epochs(3);
      for (int64_t step = 0; step < 3 * loader.steps_per_epoch(); ++step) {
        const auto part = samples_of_step(loader, step);
        auto& epoch = epochs[size_t(step / loader.steps_per_epoch())];
        epoch.insert(epoch.end(), part.begin(), part.end());
      }
      EXPECT_NE(epochs[0], epochs[1]);
      EXPECT_NE(epochs[1], epochs[2]);
      for (auto& epoch : epochs) {
        std::sort(epoch.begin(), epoch.end());
        std::vector<int32_t> all(157);
        std::iota(all.begin(), all.end(), 0);
        EXPECT_EQ(epoch, all);
      }
    }
}

TEST(Loader, AStepIsTheSameHoweverItIsReached) {
  const LoaderConfig config = {
      .batch_size = 3, .sequence_length = 64, .packing = true, .gradient_accumulation_steps = 2};
  const Loader whole(numbered(200), config);
  std::vector<StepBatch> straight;
  for (int64_t step = 0; step < 2 * whole.steps_per_epoch(); ++step) straight.push_back(whole.batch(step, 1));
  const Loader resumed(numbered(200), config);
  for (int64_t step = int64_t(straight.size()) - 1; step >= 0; --step)
    expect_equal(resumed.batch(step, 1), straight[size_t(step)]);
  LoaderConfig other = config;
  other.seed = 43;
  EXPECT_NE(Loader(numbered(200), other).batch(0).ids, whole.batch(0).ids);
}

TEST(Loader, ThreadsSeeTheSame) {
  const Loader loader(numbered(300), {.batch_size = 2});
  std::vector<std::vector<int32_t>> expected;
  for (int64_t step = 0; step < 2 * loader.steps_per_epoch(); ++step) expected.push_back(loader.batch(step).ids);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t step = size_t(t); step < expected.size(); step += 2)
        wrong += loader.batch(int64_t(step)).ids != expected[step];
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Loader, TheUnionOverRanksIsTheSingleRank) {
  for (const bool packing : {false, true})
    for (const bool grouped : {false, true}) {
      // 157 samples are no multiple of 8: the last step is short.
      LoaderConfig config = {.batch_size = 2, .sequence_length = 24, .packing = packing, .group_by_length = grouped};
      config.gradient_accumulation_steps = 4;
      const Loader single(numbered(157), config);
      for (const int world : {2, 4}) {
        config.gradient_accumulation_steps = 4 / world;
        config.world_size = world;
        std::vector<std::unique_ptr<Loader>> ranks;
        for (config.rank = 0; config.rank < world; ++config.rank)
          ranks.push_back(std::make_unique<Loader>(numbered(157), config));
        config.rank = 0;
        for (int64_t step = 0; step < single.steps_per_epoch() + 2; ++step) {
          std::multiset<int32_t> expected, united;
          for (const int32_t s : samples_of_step(single, step)) expected.insert(s);
          int64_t labels = 0;
          for (const auto& rank : ranks) {
            EXPECT_EQ(rank->steps_per_epoch(), single.steps_per_epoch());
            for (const int32_t s : samples_of_step(*rank, step)) united.insert(s);
            for (int micro = 0; micro < 4 / world; ++micro) labels += rank->batch(step, micro).label_tokens;
            EXPECT_EQ(rank->label_tokens(step), single.label_tokens(step));
          }
          EXPECT_EQ(united, expected) << "step " << step << " world " << world;
          EXPECT_EQ(labels, single.label_tokens(step));
        }
      }
    }
}

TEST(Loader, PackedRowsKeepSequencesApart) {
  const auto samples = numbered(500, 40);
  const Loader loader(samples, {.batch_size = 3, .sequence_length = 64, .packing = true});
  int64_t tokens = 0;
  for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
    const StepBatch batch = loader.batch(step);
    EXPECT_LE(batch.ids.size(), 3u * 64);
    int32_t next = 0;
    int64_t labels = 0;
    for (const Segment& s : batch.segments) {
      EXPECT_EQ(s.begin, next);
      next = s.begin + s.count;
      const Sample& sample = samples[size_t(batch.ids[size_t(s.begin)])];
      ASSERT_EQ(size_t(s.count), sample.ids.size());
      for (int32_t t = 0; t < s.count; ++t) {
        EXPECT_EQ(batch.positions[size_t(s.begin + t)], t);
        const int32_t expected = t + 1 < s.count ? sample.labels[size_t(t) + 1] : kIgnored;
        EXPECT_EQ(batch.targets[size_t(s.begin + t)], expected);
        labels += expected != kIgnored;
      }
    }
    EXPECT_EQ(size_t(next), batch.ids.size());
    EXPECT_EQ(labels, batch.label_tokens);
    EXPECT_EQ(labels, loader.label_tokens(step));
    tokens += next;
  }
  EXPECT_EQ(tokens, loader.tokens());
  // First fit leaves little room: one row more than half empty at the most, and here hardly any.
  EXPECT_GT(double(loader.tokens()) / double(loader.rows() * 64), 0.97);
  EXPECT_LE(loader.longest_row(), 64);
}

TEST(Loader, FirstFit) {
  EXPECT_EQ(pack_first_fit({5, 6, 5, 4, 10, 1}, 10), (std::vector<uint32_t>{0, 1, 0, 1, 2, 3}));
  EXPECT_EQ(pack_first_fit({3}, 3), (std::vector<uint32_t>{0}));
  EXPECT_TRUE(pack_first_fit({}, 3).empty());
  // Against the definition.
  const Random random(3, Purpose::kTest);
  std::vector<uint32_t> lengths, room, rows;
  for (uint64_t i = 0; i < 1000; ++i) lengths.push_back(uint32_t(1 + random.below(100, i)));
  for (const uint32_t length : lengths) {
    size_t row = 0;
    while (row < room.size() && room[row] < length) ++row;
    if (row == room.size()) room.push_back(128);
    room[row] -= length;
    rows.push_back(uint32_t(row));
  }
  EXPECT_EQ(pack_first_fit(lengths, 128), rows);
}

TEST(Loader, GroupsByLength) {
  const auto spread = [](bool grouped) {
    const Loader loader(numbered(1600, 400), {.batch_size = 8, .group_by_length = grouped});
    int64_t sum = 0;
    std::vector<int32_t> longest;
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      const StepBatch batch = loader.batch(step);
      const auto [least, most] =
          std::minmax_element(batch.segments.begin(), batch.segments.end(),
                              [](const Segment& a, const Segment& b) { return a.count < b.count; });
      sum += most->count - least->count;
      longest.push_back(most->count);
    }
    EXPECT_FALSE(std::is_sorted(longest.rbegin(), longest.rend())) << "steps must not go from long to short";
    return double(sum) / double(loader.steps_per_epoch());
  };
  EXPECT_LT(spread(true) * 10, spread(false));
}

TEST(Loader, ShortEpochs) {
  const Loader kept(numbered(10), {.batch_size = 4});
  EXPECT_EQ(kept.steps_per_epoch(), 3);
  EXPECT_EQ(kept.batch(2).segments.size(), 2u);
  EXPECT_EQ(kept.batch(5).segments.size(), 2u);
  const Loader dropped(numbered(10), {.batch_size = 4, .drop_last = true});
  EXPECT_EQ(dropped.steps_per_epoch(), 2);
  // One sample for eight micro-batches: seven are empty, and say so.
  const Loader one(numbered(1), {.batch_size = 1, .gradient_accumulation_steps = 8});
  int filled = 0;
  for (int micro = 0; micro < 8; ++micro) filled += !one.batch(0, micro).ids.empty();
  EXPECT_EQ(filled, 1);
}

TEST(Loader, Refusals) {
  EXPECT_THROW(Loader(std::vector<Sample>(), {}), Error);
  EXPECT_THROW(Loader(numbered(3), {.batch_size = 4, .drop_last = true}), Error);
  EXPECT_THROW(Loader(numbered(3), {.batch_size = 0}), ApiError);
  EXPECT_THROW(Loader(numbered(3), {.world_size = 2, .rank = 2}), ApiError);
  EXPECT_THROW(Loader({{{1, 2}, {1}}}, {}), ApiError);
  EXPECT_THROW(Loader({{{}, {}}}, {}), ApiError);
  try {
    Loader({{{1, 2, 3}, {1, 2, 3}}}, {.sequence_length = 2});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.problem(), "sample 1 has 3 tokens, beyond the sequence length of 2");
  }
  const Loader loader(numbered(3), {});
  EXPECT_THROW(loader.batch(-1), ApiError);
  EXPECT_THROW(loader.batch(0, 1), ApiError);
}

TEST(Loader, Pretokenized) {
  const auto path = std::filesystem::temp_directory_path() / ("sedum_batches_" + std::to_string(::getpid()) + ".npy");
  std::vector<int32_t> ids(3 * 2 * 4);
  std::iota(ids.begin(), ids.end(), 100);
  write_npy(path, DType::kI32, {3, 2, 4}, ids.data());
  Pretokenized batches = read_pretokenized(path);
  EXPECT_EQ(batches.steps, 3);
  const Loader loader(batches.samples, batches.config());
  EXPECT_EQ(loader.steps_per_epoch(), 3);
  EXPECT_EQ(loader.batch(1).ids, std::vector<int32_t>(ids.begin() + 8, ids.begin() + 16));
  EXPECT_EQ(loader.batch(1).targets, (std::vector<int32_t>{109, 110, 111, kIgnored, 113, 114, 115, kIgnored}));
  EXPECT_EQ(loader.batch(4).ids, loader.batch(1).ids);

  const auto problem = [&] {
    try {
      read_pretokenized(path);
    } catch (const Error& e) {
      return e.problem().substr(path.string().size());
    }
    return std::string();
  };
  ids[5] = -1;
  write_npy(path, DType::kI32, {3, 2, 4}, ids.data());
  EXPECT_EQ(problem(), ": token 5 is -1");
  write_npy(path, DType::kI32, {6, 4}, ids.data());
  EXPECT_EQ(problem(), ": the batches have 2 dimensions, not 3");
  write_npy(path, DType::kF32, {3, 2, 4}, ids.data());
  EXPECT_EQ(problem(), ": the batches must be int32");
  write_npy(path, DType::kI32, {0, 2, 4}, ids.data());
  EXPECT_EQ(problem(), ": the batches have the shape (0, 2, 4)");
  std::filesystem::remove(path);
}

// A sample of several documents: sequences of their own, whose first tokens nobody predicts.
TEST(Loader, DocumentsInsideASampleAreApart) {
  const Sample sample{{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}, {2, 5}};
  const Loader loader({sample}, {.batch_size = 1, .shuffle = false});
  const StepBatch batch = loader.batch(0);
  EXPECT_EQ(batch.segments, (std::vector<Segment>{{0, 2}, {2, 3}, {5, 1}}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{0, 1, 0, 1, 2, 0}));
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{2, kIgnored, 4, 5, kIgnored, kIgnored}));
  EXPECT_EQ(batch.samples, (std::vector<uint32_t>{0, 0, 0}));
  EXPECT_EQ(batch.offsets, (std::vector<int32_t>{0, 2, 5}));
  EXPECT_EQ(batch.label_tokens, 3);
  EXPECT_EQ(loader.label_tokens(0), 3);
}

TEST(Loader, GroupsStayTogether) {
  for (const bool packing : {false, true}) {
    const Loader loader(numbered(40),
                        {.batch_size = 3, .group_size = 2, .packing = packing, .gradient_accumulation_steps = 2});
    std::multiset<uint32_t> seen;
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step)
      for (int micro = 0; micro < 2; ++micro) {
        const StepBatch batch = loader.batch(step, micro);
        ASSERT_EQ(batch.samples.size() % 2, 0u);
        for (size_t s = 0; s < batch.samples.size(); s += 2) {
          EXPECT_EQ(batch.samples[s] % 2, 0u);
          EXPECT_EQ(batch.samples[s + 1], batch.samples[s] + 1);
        }
        seen.insert(batch.samples.begin(), batch.samples.end());
      }
    EXPECT_EQ(seen.size(), 40u);
    EXPECT_EQ(std::set<uint32_t>(seen.begin(), seen.end()).size(), 40u);
  }
  EXPECT_THROW(Loader(numbered(3), {.group_size = 2}), ApiError);
}

}  // namespace
}  // namespace sedum::data
