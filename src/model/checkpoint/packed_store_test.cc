#include "model/checkpoint/packed_store.h"

#include <cstring>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compute/kernels/products_tune.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;
using testing::ScratchFolder;
using testing::tiny_model;

class Store : public ::testing::Test {
 protected:
  PackCacheOptions cache() const { return {.folder = folder_ / "cache", .smallest = 0}; }
  // The logits of a model that is loaded with the cache; `packed` receives how many tensors were not found.
  std::vector<float> logits(const PackCacheOptions& cache, size_t* packed = nullptr,
                            const fs::path& model = tiny_model()) {
    Runtime runtime(2);
    const RuntimeModel loaded(runtime, model, {.pack_cache = cache});
    auto result = testing::logits_of(loaded, {1, 5, 9, 87, 300, 12});
    if (PackedStore* store = loaded.packed_store()) {
      store->wait();
      problem_ = store->problem();
      if (packed) *packed = store->added();
    }
    return result;
  }
  fs::path only_file() const {
    fs::path found;
    for (const auto& entry : fs::directory_iterator(folder_ / "cache"))
      if (entry.path().extension() == ".packed") {
        EXPECT_TRUE(found.empty());
        found = entry.path();
      }
    return found;
  }
  fs::path copied_model() const {
    fs::copy(tiny_model(), folder_ / "model", fs::copy_options::recursive);
    return folder_ / "model";
  }
  ScratchFolder folder_;
  std::string problem_;
};

TEST_F(Store, SameBitsWithAndWithout) {
  size_t first = 0, second = 7;
  const auto without = logits({}), filling = logits(cache(), &first), mapped = logits(cache(), &second);
  EXPECT_GT(first, 0u);
  EXPECT_EQ(second, 0u);
  EXPECT_EQ(without, filling);
  EXPECT_EQ(without, mapped);
  EXPECT_EQ(problem_, "");
}

TEST_F(Store, DamagedFilesAreWrittenAnew) {
  const auto right = logits(cache());
  const fs::path file = only_file();
  const std::string whole = read_file(file);
  const auto with = [&](const std::string& content) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
    size_t packed = 0;
    EXPECT_EQ(logits(cache(), &packed), right);
    EXPECT_GT(packed, 0u) << content.size();
    EXPECT_EQ(read_file(file), whole);
  };
  for (const size_t length : {size_t{0}, size_t{7}, size_t{79}, size_t{500}, whole.size() - 1})
    with(whole.substr(0, length));
  with(whole + "x");
  std::string changed = whole;
  changed[100] ^= 1;  // in the header
  with(changed);
  changed = whole;
  changed[8 + 6] = '\x7f';  // a length beyond everything
  with(changed);
}

TEST_F(Store, AForeignFileIsNotTaken) {
  const auto right = logits(cache());
  const fs::path own = only_file(), qwen = tiny_model("qwen2");
  const std::string other_content = read_file(own);
  const auto expected = logits({}, nullptr, qwen);
  fs::rename(own, own.string() + ".away");
  (void)logits(cache(), nullptr, qwen);
  const fs::path other = only_file();
  std::ofstream(other, std::ios::binary | std::ios::trunc) << other_content;  // another model's, under this one's name
  size_t packed = 0;
  EXPECT_EQ(logits(cache(), &packed, qwen), expected);
  EXPECT_GT(packed, 0u);
}

// Content changed in place, with size and time of change as they were.
TEST_F(Store, AChangedModelIsAnother) {
  const fs::path model = copied_model(), weights = model / "model.safetensors";
  (void)logits(cache(), nullptr, model);
  struct stat before;
  ASSERT_EQ(::stat(weights.c_str(), &before), 0);
  std::string content = read_file(weights);
  content[content.size() / 2] ^= 0x10;
  {
    std::fstream out(weights, std::ios::binary | std::ios::in | std::ios::out);
    out.write(content.data(), std::streamsize(content.size()));
  }
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, weights.c_str(), times, 0), 0);
  size_t packed = 0;
  EXPECT_EQ(logits(cache(), &packed, model), logits({}, nullptr, model));
  EXPECT_GT(packed, 0u);
}

TEST_F(Store, WritersAtOnce) {
  const auto right = logits({});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      Runtime runtime(1);
      const RuntimeModel loaded(runtime, tiny_model(), {.pack_cache = cache()});
      EXPECT_EQ(testing::logits_of(loaded, {1, 5, 9, 87, 300, 12}), right);
    });
  for (auto& thread : threads) thread.join();
  size_t packed = 1;
  EXPECT_EQ(logits(cache(), &packed), right);
  EXPECT_EQ(packed, 0u);
  for (const auto& entry : fs::directory_iterator(folder_ / "cache"))
    EXPECT_EQ(entry.path().string().find(".partial-"), std::string::npos);
}

TEST_F(Store, AFolderThatCannotBeWritten) {
  const auto right = logits({});
  std::ofstream(folder_ / "cache") << "a file where the folder should be";
  EXPECT_EQ(logits(cache()), right);
  EXPECT_NE(problem_, "");
  fs::remove(folder_ / "cache");
  fs::create_directory(folder_ / "cache");
  fs::permissions(folder_ / "cache", fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(logits(cache()), right);
  if (::geteuid() != 0) {
    EXPECT_THAT(problem_, ::testing::HasSubstr("denied"));
  }
  fs::permissions(folder_ / "cache", fs::perms::owner_all);
}

TEST_F(Store, TheLeastRecentlyUsedGoes) {
  (void)logits(cache());
  const fs::path first = only_file();
  PackCacheOptions options = cache();
  options.limit = fs::file_size(first) * 5 / 2;
  const fs::path model = copied_model();
  (void)logits(options, nullptr, model);
  ASSERT_TRUE(fs::exists(first));  // both have room
  // The first is used again, so the copy is the older one when a third comes.
  const auto now = fs::last_write_time(first);
  for (const auto& entry : fs::directory_iterator(folder_ / "cache"))
    fs::last_write_time(entry.path(), now - std::chrono::hours(entry.path() == first ? 2 : 1));
  (void)logits(options);
  fs::copy(tiny_model(), folder_ / "third", fs::copy_options::recursive);
  (void)logits(options, nullptr, folder_ / "third");
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "cache")) files += entry.path().extension() == ".packed";
  EXPECT_EQ(files, 2);
  EXPECT_TRUE(fs::exists(first));
  options.limit = 100;
  (void)logits(options, nullptr, tiny_model("qwen2"));
  EXPECT_THAT(problem_, ::testing::HasSubstr("limit"));
}

TEST_F(Store, TunedCutsAreKeptAndChangeNoBit) {
  const auto right = logits(cache());
  Runtime runtime(2);
  const Checkpoint checkpoint = Checkpoint::open(tiny_model());
  {
    PackedStore store(checkpoint, cache(), 2);
    ASSERT_TRUE(store.verify());
    CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena, Pack::kForward,
                              &store);
    (void)build_model(checkpoint.config(), factory);
    ASSERT_FALSE(store.matrices().empty());
    std::vector<TunedCut> cuts;
    for (const auto& w : store.matrices())
      cuts.push_back({machine_name(2), packed_int8_panels(*w).dtype, w->rows(), w->cols(), {1, 1}});
    EXPECT_GT(tune_product(runtime.pool, *store.matrices()[0], 8, 1).operations, 0);
    store.set_tuned(cuts);
    store.save();
  }
  EXPECT_EQ(logits(cache()), right);
  const PackedStore again(checkpoint, cache(), 2);
  ASSERT_FALSE(again.tuned().empty());
  EXPECT_EQ(again.tuned()[0].cut, (ProductCut{1, 1}));
}

// What `sedum compile` does after a file was written over: tensors whose bytes are the same are not packed again.
TEST_F(Store, UnchangedTensorsAreReused) {
  const fs::path model = copied_model(), weights = model / "model.safetensors";
  (void)logits(cache(), nullptr, model);
  std::string content = read_file(weights);
  content[content.size() - 100] ^= 0x10;  // in the last tensor
  write_file(weights, content);
  Runtime runtime(2);
  const Checkpoint checkpoint = Checkpoint::open(model);
  {
    PackedStore store(checkpoint, cache(), 2);
    EXPECT_FALSE(store.verify());
    store.reuse_from_older();
    CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena, Pack::kForward,
                              &store);
    (void)build_model(checkpoint.config(), factory);
    EXPECT_GT(store.reused(), 0u);
    EXPECT_LE(store.added() - store.reused(), 1u);
    store.save();
  }
  (void)only_file();  // the older one is gone
  size_t packed = 1;
  EXPECT_EQ(logits(cache(), &packed, model), logits({}, nullptr, model));
  EXPECT_EQ(packed, 0u);
}

TEST_F(Store, DamagedPanelsAreFoundByVerifying) {
  (void)logits(cache());
  const fs::path file = only_file();
  std::string content = read_file(file);
  content[content.size() - 4096] ^= 1;
  std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
  PackedStore store(Checkpoint::open(tiny_model()), cache(), 2);
  EXPECT_FALSE(store.verify());
}

TEST(PackCache, FromTheEnvironment) {
  std::map<std::string, std::string> set;
  const auto environment = [&](const char* name) -> const char* {
    const auto found = set.find(name);
    return found == set.end() ? nullptr : found->second.c_str();
  };
  EXPECT_EQ(pack_cache_options(environment, "/home").folder, "/home/packed");
  set = {{"SEDUM_PACK_CACHE", "/elsewhere"}, {"SEDUM_PACK_CACHE_GIB", "0.5"}};
  EXPECT_EQ(pack_cache_options(environment, "/home").folder, "/elsewhere");
  EXPECT_EQ(pack_cache_options(environment, "/home").limit, uint64_t{1} << 29);
  set = {{"SEDUM_PACK_CACHE", "off"}};
  EXPECT_TRUE(pack_cache_options(environment, "/home").folder.empty());
  set = {{"SEDUM_PACK_CACHE_GIB", "much"}};
  EXPECT_THAT(testing::problem_of([&] { pack_cache_options(environment, ""); }), ::testing::HasSubstr("GIB=much"));
}

}  // namespace
}  // namespace sedum
