#include "formats/tensorboard.h"

#include <cstdlib>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/formats_testing.h"

namespace sedum {
namespace {

std::string bytes_from(int from, int step) {
  std::string bytes;
  for (int i = 0; i < 32; ++i) bytes += char(from + i * step);
  return bytes;
}

TEST(Tensorboard, CrcVectors) {  // RFC 3720, appendix B.4, and the check value of the CRC catalogue
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(bytes_from(0, 0)), 0x8a9136aau);
  EXPECT_EQ(crc32c(bytes_from(255, 0)), 0x62a8ab43u);
  EXPECT_EQ(crc32c(bytes_from(0, 1)), 0x46dd794eu);
  EXPECT_EQ(crc32c(bytes_from(31, -1)), 0x113fdb5cu);
}

// The data of each record, after its length and both checksums were found to be right.
std::vector<std::string> records(std::string_view file) {
  std::vector<std::string> found;
  while (!file.empty()) {
    uint64_t size = 0;
    std::memcpy(&size, file.data(), 8);
    found.emplace_back(file.substr(12, size));
    EXPECT_EQ(file.substr(0, 16 + size), tf_record(found.back()));
    file.remove_prefix(16 + size);
  }
  return found;
}

TEST(Tensorboard, MessagesAreThoseOfProtobuf) {
  TempFolder folder;
  const char* kept = std::getenv("SEDUM_KEEP_EVENTS");  // for tools/golden/formats_tensorboard.py
  TensorboardWriter board(kept ? std::filesystem::path(kept) : folder / "run" / "logs", 300);
  board.scalar("train/loss", 2.3125, 301);
  board.text("samples", "*water* 浇水", 302);
  const auto messages = records(read_file(board.path()));
  // tools/golden/formats_tensorboard.py --golden, without the wall time in front
  const std::vector<std::string> expected = {
      "1a0d627261696e2e4576656e743a32", "10ac023a020801", "10ad022a130a110a0a747261696e2f6c6f73731500001440",
      "10ae022a2f0a2d0a0773616d706c657342180807120412020801420e2a77617465722a20e6b587e6b0b44a080a060a0474657874"};
  ASSERT_EQ(messages.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(messages[i][0], 9);  // field 1, fixed 64: the wall time
    EXPECT_EQ(hex(messages[i].data() + 9, messages[i].size() - 9), expected[i]);
  }
}

TEST(Tensorboard, MaskOfARecord) {
  // The empty record: length 0, CRC of eight zeros masked, CRC of nothing masked; as TensorFlow writes it.
  EXPECT_EQ(hex(tf_record("").data(), 16), "000000000000000029039807d8ea82a2");
}

TEST(Tensorboard, WritersShareAFolder) {
  TempFolder folder;
  const TensorboardWriter a(folder.path), b(folder.path);
  EXPECT_NE(a.path(), b.path());
  EXPECT_THAT(error_of([&] { TensorboardWriter(a.path() / "below"); }), testing::HasSubstr("cannot create"));
}

}  // namespace
}  // namespace sedum
