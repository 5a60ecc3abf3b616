#include "hub/cache.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::hub {
namespace fs = std::filesystem;
namespace {

using ::testing::HasSubstr;

struct CacheTest : ::testing::Test {
  fs::path folder = fs::temp_directory_path() / ("sedum_cache_test_" + std::to_string(::getpid()));
  CacheTest() { fs::create_directories(folder); }
  ~CacheTest() override { fs::remove_all(folder); }
  std::string problem(const std::string& name) {
    try {
      resolve_model(name, folder);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
};

TEST_F(CacheTest, ManifestForgetsWhatWasTouched) {
  write_file(folder / "f", "content");
  const Checksum checksum{Checksum::Kind::kSha256, digest(folder / "f", Checksum::Kind::kSha256)};
  {
    Manifest manifest(folder);
    EXPECT_FALSE(manifest.verified("f", checksum));
    manifest.add("f", checksum);
    manifest.save();
  }
  EXPECT_TRUE(Manifest(folder).verified("f", checksum));
  EXPECT_TRUE(Manifest(folder).verified("f"));
  EXPECT_FALSE(Manifest(folder).verified("f", {Checksum::Kind::kSha256, "another"}));
  EXPECT_FALSE(Manifest(folder).verified("g"));
  const auto time = fs::last_write_time(folder / "f");
  fs::last_write_time(folder / "f", time + std::chrono::seconds(1));
  EXPECT_FALSE(Manifest(folder).verified("f"));
  for (const char* damage : {"", "{", "[]", R"({"files": {"f": 3}})", R"({"files": {"f": {"size": "x"}}})"}) {
    write_file(folder / "verified.json", damage);
    EXPECT_FALSE(Manifest(folder).verified("f")) << damage;
  }
}

TEST_F(CacheTest, ChecksumsAreThoseOfSha256sumAndGit) {
  write_file(folder / "f", "abc");
  EXPECT_EQ(digest(folder / "f", Checksum::Kind::kSha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-2, appendix B.1
  write_file(folder / "f", "what is up, doc?");
  EXPECT_EQ(digest(folder / "f", Checksum::Kind::kGitBlob),
            "bd9dbf5aae1a3862dd1526723246b20206e5fc37");  // Pro Git, 10.2
  EXPECT_TRUE((Checksum{Checksum::Kind::kGitBlob, "BD9DBF5AAE1A3862DD1526723246B20206E5FC37"}.matches(folder / "f")));
}

TEST_F(CacheTest, ResolvesPathsAndSaysWhatIsMissing) {
  write_file(folder / "m.gguf", "x");
  EXPECT_EQ(resolve_model((folder / "m.gguf").string(), folder), folder / "m.gguf");
  EXPECT_THAT(problem("smollm2-135m"), HasSubstr("`sedum pull smollm2-135m`"));
  EXPECT_THAT(problem("smollm-135m"), HasSubstr("did you mean smollm2-135m?"));
  EXPECT_THAT(problem("owner/repo"), HasSubstr("`sedum pull owner/repo`"));
  EXPECT_THAT(problem("/no/such.gguf"), HasSubstr("check the path"));
  EXPECT_NE(problem(""), "");
  fs::create_directories(folder / "models" / "smollm2-135m");
  write_file(folder / "models" / "smollm2-135m" / "SmolLM2-135M-Instruct.Q4_1.gguf", "forged");
  EXPECT_THAT(problem("smollm2-135m"), HasSubstr("does not have the checksum"));
}

TEST(RepositoryName, Parses) {
  RepositoryName name;
  ASSERT_TRUE(parse_repository("Qwen/Qwen2.5-0.5B_x:sub/f.gguf", &name));
  EXPECT_EQ(name.repository, "Qwen/Qwen2.5-0.5B_x");
  EXPECT_EQ(name.file, "sub/f.gguf");
  for (const char* bad : {"", "a", "a/", "/a", "a/b/c", "../b", "a/..", "a b/c", "a/b:", "a/b?c"})
    EXPECT_FALSE(parse_repository(bad, &name)) << bad;
}

}  // namespace
}  // namespace sedum::hub
