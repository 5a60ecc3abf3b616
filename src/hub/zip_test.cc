#include "hub/zip.h"

#include <fstream>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "hub/zip_for_test.h"

namespace sedum::hub {
namespace fs = std::filesystem;
namespace {

using ::testing::HasSubstr;

struct ZipTest : ::testing::Test {
  fs::path path = fs::temp_directory_path() / ("sedum_zip_test_" + std::to_string(::getpid()) + ".whl");
  ~ZipTest() override { fs::remove(path); }

  std::string extracted(const std::string& archive, const std::string& name) {
    std::ofstream(path, std::ios::binary) << archive;  // not write_file: thousands of syncs take half a minute
    std::string content;
    ZipFile(path).extract(name, [&](std::string_view piece) { content += piece; });
    return content;
  }
  std::string problem(const std::string& archive, const std::string& name = "a") {
    try {
      extracted(archive, name);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
};

std::string numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + " ";
  return text;
}

TEST_F(ZipTest, ReadsStoredAndDeflatedMembers) {
  const std::string big = numbers(600000);  // several pieces of output
  const std::string archive =
      make_zip({{"a", "stored", false}, {"b/c", big, true}, {"empty", "", true}, {"none", "", false}});
  EXPECT_EQ(extracted(archive, "a"), "stored");
  EXPECT_EQ(extracted(archive, "b/c"), big);
  EXPECT_EQ(extracted(archive, "empty"), "");
  EXPECT_EQ(extracted(archive, "none"), "");
  EXPECT_EQ(extracted(archive + std::string("\0\0", 2), "a"), "stored");  // a comment after the end
  EXPECT_THAT(problem(archive, "d"), HasSubstr("does not hold d"));
}

TEST_F(ZipTest, WhatIsNoArchiveIsSaid) {
  EXPECT_THAT(problem(""), HasSubstr("no directory"));
  EXPECT_THAT(problem(std::string(100000, 'x')), HasSubstr("no directory"));
}

TEST_F(ZipTest, ChecksContentAndSizes) {
  std::string archive = make_zip({{"a", "some content", false}});
  archive[archive.find("content")] = 'K';
  EXPECT_THAT(problem(archive), HasSubstr("CRC"));
  archive = make_zip({{"a", numbers(1000), true}});
  const size_t directory = archive.find("PK\x01\x02");
  archive[directory + 24] ^= 1;  // the unpacked size
  EXPECT_THAT(problem(archive), ::testing::AnyOf(HasSubstr("longer"), HasSubstr("shorter")));
}

// Every truncation and every damaged byte is either harmless or an Error.
TEST_F(ZipTest, DamageNeverCrashes) {
  const std::string whole = make_zip({{"a", numbers(100), true}, {"b", numbers(20), false}});
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_NE(problem(whole.substr(0, size)), "") << size;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= at % 2 ? '\xff' : '\x01';
    problem(damaged, at % 3 ? "a" : "b");
  }
}

}  // namespace
}  // namespace sedum::hub
