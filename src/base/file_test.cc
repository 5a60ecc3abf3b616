#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

struct FileTest : ::testing::Test {
  fs::path folder = fs::temp_directory_path() / ("sedum_file_test_" + std::to_string(::getpid()));
  FileTest() { fs::create_directories(folder); }
  ~FileTest() override { fs::remove_all(folder); }
  size_t count() const { return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator())); }
};

TEST_F(FileTest, WritesWholeAndReadsBack) {
  const std::string big(3 << 20, 'x');
  write_file(folder / "a", big + "end");
  EXPECT_EQ(read_file(folder / "a"), big + "end");
  EXPECT_EQ(count(), 1u);
}

TEST_F(FileTest, WithoutCommitNothingIsLeftAndTheOldStays) {
  write_file(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(count(), 1u);
}

TEST_F(FileTest, EmptyFileMaps) {
  write_file(folder / "e", "");
  EXPECT_TRUE(MappedFile(folder / "e").bytes().empty());
}

TEST_F(FileTest, ErrorsNameThePath) {
  try {
    MappedFile(folder / "missing");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("missing: No such file"), std::string::npos) << e.what();
  }
  EXPECT_THROW(MappedFile{folder}, Error);
  EXPECT_THROW(write_file(folder / "no" / "such" / "f", "x"), Error);
  EXPECT_THROW(write_file("/dev/full/x", "x"), Error);
}

TEST_F(FileTest, StagingLeavesNothingThatWasNotMoved) {
  for (const char* name : {"a.gguf", "b/", "c/d/e"}) {
    const Staging staging(folder / name);
    EXPECT_EQ(staging.path().filename(), staging.target().filename());
    write_file(staging.path(), "x");
    EXPECT_EQ(count(), 1u);
  }
  EXPECT_EQ(count(), 0u);
  {
    const Staging staging(folder / "c/d/e");
    write_file(staging.path(), "x");
    move_over(staging.path(), staging.target());
  }
  EXPECT_EQ(read_file(folder / "c/d/e"), "x");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "c/d"), fs::directory_iterator()), 1);
  const Staging within(folder / "c");  // a folder that is there holds what shall replace its files
  EXPECT_EQ(within.path().parent_path().parent_path(), fs::canonical(folder / "c"));
  EXPECT_EQ(count(), 1u);
  EXPECT_THROW(Staging(folder / "c/d/e/f"), Error);
}

TEST_F(FileTest, AppendsLines) {
  append_line(folder / "l", "one");
  append_line(folder / "l", "two");
  EXPECT_EQ(read_file(folder / "l"), "one\ntwo\n");
}

}  // namespace
}  // namespace sedum
