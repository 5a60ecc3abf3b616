// safetensors files that lie.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/formats_testing.h"
#include "formats/safetensors.h"

namespace sedum {
namespace {

using testing::HasSubstr;

std::string file_with(const std::string& header, size_t data = 0, uint64_t length = 0) {
  std::string bytes;
  append_raw(bytes, length ? length : uint64_t{header.size()});
  return bytes + header + std::string(data, '\0');
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string refusal(const std::string& bytes) {
  std::string message;
  survives([&] { message = error_of([&] { SafetensorsFile(as_bytes(bytes), "x.safetensors"); }); });
  return message;
}
std::string refusal_of(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t data) {
  return refusal(file_with(R"({"t":)" + tensor(dtype, shape, offsets) + "}", data));
}

TEST(SafetensorsHostile, TruncatedAnywhere) {
  const std::string whole = read_file(golden("all_types.safetensors"));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> part = exact_copy(whole.substr(0, size));
    EXPECT_FALSE(survives([&] { SafetensorsFile(part, "x"); })) << size;
  }
  EXPECT_THAT(refusal(whole + "x"), HasSubstr("1 bytes stand after the last tensor"));
}

TEST(SafetensorsHostile, EveryByteDamaged) {
  const std::string whole = read_file(golden("all_types.safetensors"));
  for (size_t i = 0; i < whole.size(); ++i)
    for (const char damage : {'\x01', '\x02', '\x80', '\xff'}) {
      std::string bytes = whole;
      bytes[i] = char(bytes[i] ^ damage);
      survives([&] { SafetensorsFile(as_bytes(bytes), "x").find("f32"); });
    }
}

TEST(SafetensorsHostile, Lengths) {
  EXPECT_THAT(refusal(""), HasSubstr("truncated"));
  EXPECT_THAT(refusal(file_with("{}", 0, 100'000'001)), HasSubstr("a header of 100000001 bytes"));
  EXPECT_THAT(refusal(file_with("{}", 0, ~uint64_t{0})), HasSubstr("a header of 18446744073709551615 bytes"));
  EXPECT_THAT(refusal(file_with("{}", 0, 3)), HasSubstr("truncated: the header ends at byte 11, the file has 10"));
  EXPECT_NO_THROW(SafetensorsFile(as_bytes(file_with("{}      ")), "x"));
}

TEST(SafetensorsHostile, Json) {
  for (const char* header : {"[]", "", " {}", "x", "\"\""})
    EXPECT_THAT(refusal(file_with(header, *header ? 0 : 8)), HasSubstr("not a safetensors file"));
  for (const char* header :
       {"{", "{}{}", "{}]", "{\"a\"}", "{\"a\":}", "{\"a\":1}", "{\"a\":[]}", "{\"\xff\":{}}", "{\"a\":{}",
        "{\"a\":{\"dtype\":3}}", "{\"__metadata__\":3}", "{\"__metadata__\":{\"a\":3}}", "{a:1}"})
    EXPECT_THAT(refusal(file_with(header)), HasSubstr("x.safetensors: ")) << header;
  const std::string deep = "{\"a\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  EXPECT_THAT(refusal(file_with(deep)), HasSubstr("x.safetensors: "));
  const std::string inside = R"({"t":{"other":)" + std::string(500'000, '[') + "}}";
  EXPECT_THAT(refusal(file_with(inside)), HasSubstr("x.safetensors: "));
}

TEST(SafetensorsHostile, Duplicates) {
  const std::string t = tensor("U8", "[1]", "[0,1]");
  EXPECT_THAT(refusal(file_with("{\"t\":" + t + ",\"t\":" + t + "}", 1)), HasSubstr("t: stands twice"));
  EXPECT_THAT(refusal(file_with("{\"t\":" + t + ",\"\\u0074\":" + t + "}", 1)), HasSubstr("t: stands twice"));
  EXPECT_THAT(refusal(file_with(R"({"__metadata__":{},"__metadata__":{}})")), HasSubstr("stands twice"));
  EXPECT_THAT(refusal(file_with(R"({"__metadata__":{"a":"","a":""}})")), HasSubstr("a stands twice"));
  EXPECT_THAT(refusal(file_with(R"({"t":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1)),
              HasSubstr("dtype stands twice"));
}

TEST(SafetensorsHostile, Fields) {
  EXPECT_THAT(refusal(file_with(R"({"t":{"dtype":"U8","shape":[1]}})")),
              HasSubstr("needs dtype, shape and data_offsets"));
  EXPECT_THAT(refusal_of("U7", "[1]", "[0,1]", 1), HasSubstr("t: unknown dtype U7"));
  EXPECT_THAT(refusal_of("U8", "[-1]", "[0,1]", 1), HasSubstr("bad JSON at t"));
  EXPECT_THAT(refusal_of("U8", "[1.0]", "[0,1]", 1), HasSubstr("bad JSON at t"));
  EXPECT_THAT(refusal_of("U8", "[1]", "[0]", 1), HasSubstr("no range"));
  EXPECT_THAT(refusal_of("U8", "[1]", "[0,1,2]", 1), HasSubstr("more than two"));
  EXPECT_THAT(refusal_of("U8", "[1]", "[1,0]", 1), HasSubstr("no range"));
  EXPECT_NO_THROW(SafetensorsFile(
      as_bytes(file_with(R"({"t":{"new":{"x":[1,{}]},"dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1)), "x"));
}

TEST(SafetensorsHostile, Sizes) {
  EXPECT_THAT(refusal_of("F32", "[2,3]", "[0,23]", 23),
              HasSubstr("t: F32 (2, 3) takes 24 bytes, data_offsets give 23"));
  EXPECT_THAT(refusal_of("F32", "[9223372036854775807]", "[0,4]", 4), HasSubstr("overflows"));
  EXPECT_THAT(refusal_of("F32", "[9223372036854775808]", "[0,4]", 4), HasSubstr("a dimension of 9223372036854775808"));
  EXPECT_THAT(refusal_of("F32", "[4294967296,4294967296]", "[0,4]", 4), HasSubstr("overflows"));
  EXPECT_THAT(refusal_of("F32", "[4294967296,4294967296,0]", "[0,0]", 0), HasSubstr("overflows"));
  EXPECT_THAT(refusal_of("F4", "[3]", "[0,1]", 1), HasSubstr("takes 1 bytes"));
  EXPECT_THAT(refusal_of("U8", "[1]", "[18446744073709551614,18446744073709551615]", 1), HasSubstr("truncated"));
  EXPECT_THAT(refusal_of("U8", "[4]", "[0,4]", 3),
              HasSubstr("truncated: tensor t ends 4 bytes into the data, the file has 3"));
}

TEST(SafetensorsHostile, Places) {
  const auto two = [](const char* a, const char* b, size_t data) {
    return refusal(file_with("{\"a\":" + tensor("U8", "[4]", a) + ",\"b\":" + tensor("U8", "[4]", b) + "}", data));
  };
  EXPECT_THAT(two("[0,4]", "[2,6]", 6),
              HasSubstr("tensor b begins 2 bytes into the data, inside the one that ends at 4"));
  EXPECT_THAT(two("[0,4]", "[0,4]", 4), HasSubstr("inside the one that ends at 4"));
  EXPECT_THAT(two("[0,4]", "[5,9]", 9), HasSubstr("after a gap from 4"));
  EXPECT_THAT(two("[1,5]", "[5,9]", 9), HasSubstr("tensor a begins 1 bytes into the data, after a gap from 0"));
  EXPECT_THAT(two("[4,8]", "[0,4]", 9), HasSubstr("1 bytes stand after the last tensor"));
}

}  // namespace
}  // namespace sedum
