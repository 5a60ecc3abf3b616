#include "formats/numpy.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/formats_testing.h"

namespace sedum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Shape = std::vector<int64_t>;

TEST(Numpy, ReadsWhatNumpyWrote) {
  const NpyArray f4 = read_npy(golden("f4.npy"));
  EXPECT_EQ(f4.shape, (Shape{2, 3}));
  EXPECT_THAT(f4.values<float>(),
              ElementsAre(0.5f, -1.25f, std::numeric_limits<float>::infinity(), 1e-45f, 3.0f, 0.0f));
  EXPECT_TRUE(std::signbit(f4.values<float>()[5]));
  EXPECT_EQ(read_npy(golden("f8.npy")).shape, Shape{});
  EXPECT_THAT(read_npy(golden("f8.npy")).values<double>(), ElementsAre(0.1));
  EXPECT_EQ(read_npy(golden("i4.npy")).shape, (Shape{3, 2, 2}));
  EXPECT_THAT(read_npy(golden("i4.npy")).values<int32_t>(), ElementsAre(-3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(read_npy(golden("i8.npy")).values<int64_t>(), ElementsAre(int64_t{1} << 62, -1));
  EXPECT_TRUE(read_npy(golden("bool.npy")).is_bool);
  EXPECT_THAT(read_npy(golden("bool.npy")).values<uint8_t>(), ElementsAre(1, 0, 1));
  EXPECT_EQ(read_npy(golden("empty.npy")).shape, (Shape{0, 3}));
  EXPECT_EQ(read_npy(golden("f2.npy")).dtype, DType::kF16);
  for (const char* name : {"version_2.npy", "version_3.npy"})
    EXPECT_THAT(read_npy(golden(name)).values<int32_t>(), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(read_npy(golden("fortran_vector.npy")).values<float>(), ElementsAre(0, 1, 2));
  EXPECT_THROW(f4.values<double>(), ApiError);
}

TEST(Numpy, RefusesWithAMend) {
  const auto refusal = [](const char* name) { return error_of([&] { read_npy(golden(name)); }); };
  EXPECT_THAT(refusal("fortran.npy"), HasSubstr("Fortran order"));
  EXPECT_THAT(refusal("fortran.npy"), HasSubstr("np.ascontiguousarray"));
  EXPECT_THAT(refusal("big_endian.npy"), HasSubstr("big-endian"));
  EXPECT_THAT(refusal("structured.npy"), HasSubstr("structured"));
  EXPECT_THAT(refusal("complex.npy"), HasSubstr("an array of <c8"));
  EXPECT_THAT(refusal("gguf.json"), HasSubstr("not a .npy file"));
}

TEST(Numpy, WritesTheSameBytes) {
  TempFolder folder;
  for (const char* name : {"f4.npy", "f8.npy", "f2.npy", "i4.npy", "i8.npy", "empty.npy"}) {
    const NpyArray array = read_npy(golden(name));
    write_npy(folder / name, array.dtype, array.shape, array.data);
    EXPECT_EQ(read_file(folder / name), read_file(golden(name))) << name;
  }
  const NpyArray array = read_npy(golden("bool.npy"));
  write_npy_bool(folder / "b", array.shape, array.values<uint8_t>().data());
  EXPECT_EQ(read_file(folder / "b"), read_file(golden("bool.npy")));
}

TEST(Numpy, WriterRefusesMisuse) {
  TempFolder folder;
  const float value = 1;
  EXPECT_THROW(write_npy(folder / "x", DType::kQ8_0, {32}, &value), ApiError);
  EXPECT_THROW(write_npy(folder / "x", DType::kBF16, {1}, &value), ApiError);
  EXPECT_THROW(write_npy(folder / "x", DType::kF32, {-1}, &value), ApiError);
  EXPECT_THROW(write_npy(folder / "x", DType::kF32, {2}, producer_of(&value, 4)), ApiError);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path));
}

std::string file_with(const std::string& header, size_t data = 0) {
  std::string bytes = "\x93NUMPY";
  bytes += std::string("\1\0", 2);
  append_raw(bytes, uint16_t(header.size()));
  return bytes + header + std::string(data, '\1');
}
NpyArray parse(const std::string& bytes) { return parse_npy(as_bytes(bytes), "x.npy", nullptr); }

TEST(Numpy, HeadersInAnyOrderAndSpacing) {
  EXPECT_EQ(parse(file_with("{'shape':(2,),'fortran_order':False,'descr':'<i4'}\n", 8)).shape, Shape{2});
  EXPECT_EQ(parse(file_with("{ \"descr\" : \"|u1\" , 'fortran_order' : True, 'shape' : ( ) , }", 1)).shape, Shape{});
  EXPECT_EQ(parse(file_with("{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L)}", 8)).shape, (Shape{1, 2}));
  const std::string odd = file_with("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} ", 8);
  for (size_t shift = 0; shift < 8; ++shift) {  // unaligned data is copied
    const std::string moved = std::string(shift, 'x') + odd;
    const NpyArray array = parse_npy(as_bytes(moved).subspan(shift), "x.npy", nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(array.data) % 8, 0u);
    EXPECT_EQ(hex(array.data, 8), "0101010101010101");
  }
}

TEST(Numpy, HostileHeaders) {
  for (const char* header :
       {"", "{", "{}", "{'descr'", "{'descr':", "{'descr':'<f4'}", "{'descr':'<f4','descr':'<f4','shape':()}",
        "{'a':1}", "{'descr':'','fortran_order':False,'shape':()}", "{'descr':'f4','fortran_order':False,'shape':()}",
        "{'descr':'|f4','fortran_order':False,'shape':()}", "{'descr':'<f4','fortran_order':0,'shape':()}",
        "{'descr':'<f4','fortran_order':False,'shape':3}", "{'descr':'<f4','fortran_order':False,'shape':(-1,)}",
        "{'descr':'<f4','fortran_order':False,'shape':(99999999999999999999,)}",
        "{'descr':'<f4','fortran_order':False,'shape':(1,)}x", "{'descr':'<f4','fortran_order':False,'shape':(1 2)}"})
    EXPECT_THAT(error_of([&] { parse(file_with(header, 4)); }), HasSubstr("x.npy: ")) << header;
  const auto with_shape = [](const std::string& shape) {
    return file_with("{'descr':'<f8','fortran_order':False,'shape':(" + shape + ")}", 16);
  };
  for (const char* shape : {"3,", "9223372036854775807,", "4294967296,4294967296", "4294967296,4294967296,0"})
    EXPECT_THAT(error_of([&] { parse(with_shape(shape)); }), HasSubstr("truncated")) << shape;
  std::string many;
  for (int i = 0; i < 65; ++i) many += "1,";
  EXPECT_THAT(error_of([&] { parse(with_shape(many)); }), HasSubstr("at most 64 dimensions"));
}

TEST(Numpy, DamagedAnywhere) {
  const std::string whole = read_file(golden("i4.npy"));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> part = exact_copy(whole.substr(0, size));
    EXPECT_FALSE(survives([&] { parse_npy(part, "x.npy", nullptr); })) << size;
  }
  for (size_t i = 0; i < whole.size(); ++i)
    for (const char damage : {'\x01', '\x10', '\x80', '\xff'}) {
      std::string bytes = whole;
      bytes[i] = char(bytes[i] ^ damage);
      survives([&] { parse(bytes); });
    }
}

}  // namespace
}  // namespace sedum
