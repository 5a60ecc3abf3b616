// GGUF files that lie.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/formats_testing.h"
#include "formats/gguf.h"

namespace sedum {
namespace {

using testing::HasSubstr;
constexpr uint64_t kHuge = ~uint64_t{0};

// A file written by hand, so that it may say anything.
struct Bytes {
  std::string out;
  Bytes(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    out = "GGUF";
    u32(version).u64(tensors).u64(keys);
  }
  Bytes& u32(uint32_t value) { return append_raw(out, value), *this; }
  Bytes& u64(uint64_t value) { return append_raw(out, value), *this; }
  Bytes& text(std::string_view value) { return u64(value.size()), out += value, *this; }
  Bytes& tensor(std::string_view name, std::vector<uint64_t> sizes, uint32_t type, uint64_t offset) {
    text(name).u32(uint32_t(sizes.size()));
    for (const uint64_t size : sizes) u64(size);
    return u32(type).u64(offset);
  }
  Bytes& data(size_t bytes) {
    out.resize((out.size() + 31) / 32 * 32 + bytes);
    return *this;
  }
};

GgufFile read(const Bytes& bytes) { return GgufFile(as_bytes(bytes.out), "x.gguf"); }
std::string refusal(const Bytes& bytes) {
  std::string message;
  survives([&] { message = error_of([&] { read(bytes); }); });
  return message;
}

TEST(GgufHostile, TruncatedAnywhere) {
  const std::string whole = read_file(golden("all_types.gguf"));
  const GgufFile file(golden("all_types.gguf"));
  uint64_t end = 0;
  for (const GgufTensorInfo& t : file.tensors()) end = std::max(end, t.offset + 2 * 74);  // iq2_xs is the last
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> part = exact_copy(whole.substr(0, size));
    EXPECT_EQ(survives([&] { GgufFile(part, "x.gguf"); }), size >= end) << size;
  }
}

TEST(GgufHostile, EveryByteDamaged) {
  const std::string whole = read_file(golden("all_types.gguf"));
  for (size_t i = 0; i < whole.size(); ++i)
    for (const char damage : {'\x01', '\x80', '\xff'}) {
      std::string bytes = whole;
      bytes[i] = char(bytes[i] ^ damage);
      survives([&] { GgufFile(as_bytes(bytes), "x.gguf").find("f32"); });
    }
}

TEST(GgufHostile, TruncationNamesTensorAndBytes) {
  const std::string message = refusal(Bytes(1, 0).tensor("blk.3.ffn_up.weight", {8}, 0, 0).data(31));
  EXPECT_THAT(message, HasSubstr("x.gguf: truncated: tensor blk.3.ffn_up.weight ends at byte 128, the file has 127"));
}

TEST(GgufHostile, Head) {
  EXPECT_THAT(error_of([] { GgufFile(as_bytes(""), "x.gguf"); }), HasSubstr("truncated"));
  EXPECT_THAT(error_of([] { GgufFile(as_bytes("PK\3\4........"), "x.gguf"); }), HasSubstr("not a GGUF file"));
  EXPECT_THAT(refusal(Bytes(0, 0, 1)), HasSubstr("GGUF version 1"));
  EXPECT_THAT(refusal(Bytes(0, 0, 4)), HasSubstr("GGUF version 4"));
  EXPECT_THAT(refusal(Bytes(0, 0, 3u << 24)), HasSubstr("big-endian"));
  EXPECT_NO_THROW(read(Bytes(0, 0)));
}

TEST(GgufHostile, HugeCounts) {
  EXPECT_THAT(refusal(Bytes(kHuge, 0)), HasSubstr("truncated: a tensor's name"));
  EXPECT_THAT(refusal(Bytes(0, kHuge)), HasSubstr("truncated: a metadata key"));
  EXPECT_THAT(refusal(Bytes(0, 1).u64(kHuge)), HasSubstr("needs 18446744073709551615 bytes"));
  EXPECT_THAT(refusal(Bytes(0, 1).text("k").u32(8).u64(kHuge - 7)), HasSubstr("truncated: metadata key k"));
  for (const uint32_t element : {0u, 4u, 8u, 9u, 12u})
    for (const uint64_t count : {kHuge, uint64_t{1} << 61, uint64_t{1000}})
      EXPECT_THAT(refusal(Bytes(0, 1).text("k").u32(9).u32(element).u64(count)),
                  HasSubstr("truncated: metadata key k"));
}

TEST(GgufHostile, Values) {
  EXPECT_THAT(refusal(Bytes(0, 1).text("k").u32(13)), HasSubstr("unknown value type 13"));
  EXPECT_THAT(refusal(Bytes(0, 1).text("k").u32(9).u32(77).u64(0)), HasSubstr("unknown value type 77"));
  EXPECT_THAT(refusal(Bytes(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(1)), HasSubstr("key k stands twice"));
  Bytes boolean(0, 1);
  boolean.text("k").u32(7).out += '\2';
  EXPECT_THAT(error_of([&] { read(boolean).get<bool>("k"); }), HasSubstr("neither 0 nor 1"));
}

TEST(GgufHostile, NestedArrays) {
  Bytes nested(0, 1);
  nested.text("k").u32(9);
  for (int i = 0; i < 3; ++i) nested.u32(9).u64(1);
  nested.u32(4).u64(2).u32(5).u32(6);
  const GgufFile file = read(nested);
  GgufValue value = file.metadata().at("k");
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(value.elements().size(), 1u);
    value = value.elements()[0];
  }
  EXPECT_EQ(value.as<std::vector<int32_t>>(), (std::vector<int32_t>{5, 6}));
  EXPECT_THAT(error_of([&] { file.get<std::vector<int32_t>>("k"); }), HasSubstr("of type array, not an integer"));

  Bytes deep(0, 1);
  deep.text("k").u32(9);
  for (int i = 0; i < 100000; ++i) deep.u32(9).u64(1);
  EXPECT_THAT(refusal(deep), HasSubstr("arrays nested deeper than 8"));
}

TEST(GgufHostile, Alignment) {
  for (const uint32_t alignment : {0u, 1u, 4u, 24u, ~0u})
    EXPECT_THAT(refusal(Bytes(0, 1).text("general.alignment").u32(4).u32(alignment)), HasSubstr("power of two"));
  EXPECT_THAT(refusal(Bytes(0, 1).text("general.alignment").u32(8).text("32")), HasSubstr("of type string"));
  EXPECT_NO_THROW(read(Bytes(0, 1).text("general.alignment").u32(4).u32(1u << 31)));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {8}, 0, 16).data(64)), HasSubstr("offset 16 is no multiple of 32"));
}

TEST(GgufHostile, Shapes) {
  EXPECT_THAT(refusal(Bytes(1, 0).text("t").u32(9)), HasSubstr("9 dimensions"));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {kHuge}, 0, 0)), HasSubstr("a dimension of 18446744073709551615"));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {1ull << 62, 4}, 0, 0)), HasSubstr("overflows"));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {1ull << 62, 4, 0}, 0, 0)), HasSubstr("overflows"));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {1ull << 62}, 0, 0)), HasSubstr("overflows"));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {33, 2}, 2, 0).data(128)), HasSubstr("no whole blocks of 32 (Q4_0)"));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {}, 12, 0).data(144)), HasSubstr("no whole blocks of 256 (Q4_K)"));
  EXPECT_THAT(refusal(Bytes(2, 0).tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 32).data(64)),
              HasSubstr("t stands twice"));
}

TEST(GgufHostile, Places) {
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {8}, 0, 1ull << 63).data(64)), HasSubstr("truncated: tensor t"));
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("t", {8}, 0, kHuge - 31).data(64)), HasSubstr("overflows"));
  EXPECT_THAT(refusal(Bytes(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).data(64)),
              HasSubstr("tensors a and b overlap at byte"));
  EXPECT_THAT(refusal(Bytes(2, 0).tensor("a", {8}, 0, 32).tensor("b", {8}, 0, 32).data(64)), HasSubstr("overlap"));
  EXPECT_NO_THROW(read(Bytes(2, 0).tensor("a", {8}, 0, 64).tensor("b", {8}, 0, 0).data(96)));  // any order, gaps
  EXPECT_NO_THROW(read(Bytes(1, 0).tensor("empty", {0}, 0, 1ull << 40)));
}

TEST(GgufHostile, UnknownTypes) {
  const GgufFile file = read(Bytes(2, 0).tensor("odd", {8}, 77, 0).tensor("even", {8}, 0, 32).data(64));
  EXPECT_THAT(error_of([&] { file.find("odd"); }), HasSubstr("tensor odd is of type type 77"));
  EXPECT_NE(file.find("even"), nullptr);
  EXPECT_THAT(refusal(Bytes(1, 0).tensor("odd", {8}, 77, 1 << 20).data(64)), HasSubstr("truncated"));
}

TEST(GgufHostile, NamesInMessagesAreClean) {
  const std::string message = refusal(Bytes(0, 1).text("\x1b[2J" + std::string(5000, 'k')).u32(13));
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_LT(message.size(), 300u);
}

}  // namespace
}  // namespace sedum
