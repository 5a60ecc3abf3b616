#include "hub/repository.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace sedum::hub {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<RepositoryFile> files(std::initializer_list<const char*> paths) {
  std::vector<RepositoryFile> result;
  for (const char* path : paths) result.push_back({.path = path, .size = 1});
  return result;
}

std::vector<std::string> chosen(std::initializer_list<const char*> paths, const std::string& wanted = "") {
  std::vector<std::string> names;
  for (const RepositoryFile& file : choose_files(files(paths), wanted, "o/r")) names.push_back(file.path);
  return names;
}

std::string problem(std::initializer_list<const char*> paths, const std::string& wanted = "") {
  try {
    chosen(paths, wanted);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Repository, ReadsTheHubsListing) {
  const auto listing = parse_listing(R"([
    {"type": "directory", "path": "sub", "oid": "x", "size": 0},
    {"type": "file", "path": "config.json", "oid": "25F01EDE3D1CAB8F8A7A0F8A15B1AB35D5F94E2A", "size": 12},
    {"type": "file", "path": "w.gguf", "oid": "a", "size": 130, "lfs": {"size": 9000000000, "pointerSize": 130,
      "oid": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"}},
    {"type": "file", "path": "odd", "oid": "nonsense", "size": 1},
    {"type": "file", "path": "../outside", "size": 1}, {"type": "file", "path": "/etc/x", "size": 1},
    {"type": "file", "path": "a/./b", "size": 1}, {"type": "file", "path": "a\\..\\b", "size": 1}])");
  ASSERT_EQ(listing.size(), 3u);
  EXPECT_EQ(listing[0].checksum.kind, Checksum::Kind::kGitBlob);
  EXPECT_EQ(listing[0].checksum.hex, "25f01ede3d1cab8f8a7a0f8a15b1ab35d5f94e2a");
  EXPECT_EQ(listing[1].size, 9000000000u);
  EXPECT_EQ(listing[1].checksum.kind, Checksum::Kind::kSha256);
  EXPECT_FALSE(listing[2].checksum.known());
}

TEST(Repository, RefusesListingsThatMakeNoSense) {
  for (const char* text :
       {"", "{", "{}", "\"x\"", R"([{"type": "file"}])", R"([{"type": "file", "path": 1, "size": 1}])",
        R"([{"type": "file", "path": "a", "size": "b"}])", R"([{"type": "file", "path": "a", "size": 1, "lfs": 3}])"})
    EXPECT_THROW(parse_listing(text), Error) << text;
  EXPECT_TRUE(parse_listing(R"([1, null, {"type": 3}])").empty());
}

TEST(Repository, ChoosesWhatMakesAModel) {
  EXPECT_THAT(chosen({"README.md", "config.json", "model-00001-of-00002.safetensors",
                      "model-00002-of-00002.safetensors", "model.safetensors.index.json", "consolidated.safetensors",
                      "pytorch_model.bin", "tokenizer.json", "onnx/model.onnx", "x.gguf", "spiece.model"}),
              ElementsAre("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json", "tokenizer.json", "spiece.model"));
  EXPECT_THAT(chosen({"README.md", "config.json", "x.gguf", "mmproj-x.gguf"}), ElementsAre("x.gguf"));
}

TEST(Repository, ChoosesAmongGgufFiles) {
  EXPECT_THAT(chosen({"x-q4_0.gguf", "x-q8_0.gguf"}, "x-q8_0.gguf"), ElementsAre("x-q8_0.gguf"));
  EXPECT_THAT(chosen({"x-q4_0.gguf", "x-q8_0.gguf"}, "Q8_0"), ElementsAre("x-q8_0.gguf"));
  EXPECT_THAT(chosen({"x-q4-00001-of-00002.gguf", "x-q4-00002-of-00002.gguf", "x-q8.gguf"}, "q4"),
              ElementsAre("x-q4-00001-of-00002.gguf", "x-q4-00002-of-00002.gguf"));
  EXPECT_THAT(problem({"x-q4_0.gguf", "x-q4_1.gguf"}, "q4"), HasSubstr("choose one of x-q4_0.gguf, x-q4_1.gguf"));
  EXPECT_THAT(problem({"x-q4_0.gguf"}, "q5"), HasSubstr("has no file q5. it has x-q4_0.gguf"));
  EXPECT_THAT(problem({"x-q4_0.gguf", "x-q8_0.gguf"}), HasSubstr("`sedum pull o/r:x-q4_0.gguf`"));
  EXPECT_THAT(problem({"pytorch_model.bin", "config.json"}), HasSubstr("neither safetensors"));
  EXPECT_THAT(problem({}), HasSubstr("neither safetensors"));
}

TEST(Repository, AddressesAreEscaped) {
  EXPECT_EQ(file_url("https://h", "o/r", "a b/c%#.gguf"), "https://h/o/r/resolve/main/a%20b/c%25%23.gguf");
}

}  // namespace
}  // namespace sedum::hub
