#include "model/checkpoint/model_folder.h"

#include <set>

#include <gmock/gmock.h>

#include "model/model_testing.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchFolder;

std::set<std::string> names(const fs::path& folder) {
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder)) found.insert(entry.path().filename().string());
  return found;
}

TEST(ModelFolder, AppearsWholeOrNotAtAll) {
  const ScratchFolder scratch;
  {
    const NewModelFolder dropped(scratch / "m");
    write_file(dropped.path() / "config.json", "{}");
  }
  EXPECT_THAT(names(scratch.path()), IsEmpty());
  NewModelFolder made(scratch / "m");
  write_file(made.path() / "config.json", "{}");
  write_file(made.path() / "model.safetensors", "weights");
  EXPECT_FALSE(fs::exists(scratch / "m"));
  made.commit();
  EXPECT_THAT(names(scratch / "m"), ElementsAre("config.json", "model.safetensors"));
}

// Shards of the model that was there go; what is no part of a model stays.
TEST(ModelFolder, TheModelBeforeGoesWithAllItsShards) {
  const ScratchFolder scratch;
  fs::create_directory(scratch / "m");
  for (const char* name : {"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                           "model.safetensors.index.json", "tokenizer.json", "README.md"})
    write_file(scratch / "m" / name, "old");
  {
    NewModelFolder made(scratch / "m");
    write_file(made.path() / "config.json", "new");
    write_file(made.path() / "model.safetensors", "new");
    EXPECT_EQ(read_file(scratch / "m/config.json"), "old");
    made.commit();
  }
  EXPECT_THAT(names(scratch / "m"), ElementsAre("README.md", "config.json", "model.safetensors"));
  EXPECT_EQ(read_file(scratch / "m/config.json"), "new");
  EXPECT_EQ(read_file(scratch / "m/README.md"), "old");
}

TEST(ModelFolder, AFileInTheWayIsNamed) {
  const ScratchFolder scratch;
  write_file(scratch / "m", "a file");
  EXPECT_THAT(testing::problem_of([&] { NewModelFolder made(scratch / "m"); }), HasSubstr("is there and no folder"));
  EXPECT_EQ(read_file(scratch / "m"), "a file");
}

}  // namespace
}  // namespace sedum
