#include "base/digest.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"

namespace sedum {
namespace {

// The vectors of FIPS 180-4, and what `git hash-object` says of the same files.
TEST(Digest, Sha256AndGitsNames) {
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(sha256("abc"), abc);
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const auto path = std::filesystem::temp_directory_path() / ("sedum_digest_" + std::to_string(::getpid()));
  write_file(path, "abc");
  EXPECT_EQ(digest(path, Checksum::Kind::kSha256), abc);
  EXPECT_TRUE((Checksum{Checksum::Kind::kSha256, "BA" + abc.substr(2)}.matches(path)));
  EXPECT_FALSE((Checksum{Checksum::Kind::kSha256, "0" + abc.substr(1)}.matches(path)));
  EXPECT_TRUE(Checksum{}.matches(path));  // there is none to compare with
  write_file(path, "hello\n");
  EXPECT_EQ(digest(path, Checksum::Kind::kGitBlob), "ce013625030ba8dba906f756967f9e9ca394464a");
  write_file(path, "");
  EXPECT_EQ(digest(path, Checksum::Kind::kGitBlob), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  std::filesystem::remove(path);
}

// Every length around the blocks of 32 bytes: one bit anywhere, a byte more, and two blocks exchanged make another sum.
TEST(Digest, QuickSumsFindAccidents) {
  std::vector<std::byte> bytes(131);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 37 % 251);
  std::set<uint64_t> sums;
  size_t made = 0;
  const auto add = [&](std::span<const std::byte> some) { sums.insert(quick_sum(some)), ++made; };
  for (size_t length = 0; length <= bytes.size(); ++length) {
    const std::span<std::byte> some = std::span(bytes).first(length);
    add(some);
    EXPECT_EQ(quick_sum(some), quick_sum(std::vector<std::byte>(some.begin(), some.end())));
    for (size_t bit = 0; bit < 8 * length; ++bit) {
      const std::byte mask = std::byte(1 << bit % 8);
      some[bit / 8] ^= mask;
      add(some);
      some[bit / 8] ^= mask;
    }
  }
  std::vector<std::byte> exchanged(bytes.begin() + 32, bytes.begin() + 64);
  exchanged.insert(exchanged.end(), bytes.begin(), bytes.begin() + 32);
  add(exchanged);
  // One zero is the first byte above.
  for (size_t zeros = 2; zeros <= 40; ++zeros) add(std::vector<std::byte>(zeros));
  EXPECT_EQ(sums.size(), made);
}

}  // namespace
}  // namespace sedum
