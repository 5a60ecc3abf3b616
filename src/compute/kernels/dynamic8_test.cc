#include "compute/kernels/dynamic8.h"

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "compute/kernels/rows_testing.h"

namespace sedum {
namespace {

const nlohmann::json& golden() {
  static const auto file =
      parse_json(read_file(std::filesystem::path(SEDUM_SOURCE_DIR) / "tests/golden/dtype/dynamic8.json"));
  return file;
}

TEST(Dynamic8, MapsOfBitsandbytes) {
  for (const bool sign : {true, false}) {
    const auto& expected = golden()[sign ? "signed" : "unsigned"]["map"];
    ASSERT_EQ(expected.size(), 256u);
    for (size_t i = 0; i < 256; ++i) EXPECT_EQ(map8(sign).values[i], expected[i].get<float>()) << sign << i;
  }
}

// A block as bitsandbytes' default backend quantises it: the same largest magnitude, the same codes (but for zero's rule without a sign).
TEST(Dynamic8, CodesOfItsDefaultBackend) {
  for (const bool sign : {true, false}) {
    const auto& entry = golden()[sign ? "signed" : "unsigned"];
    const auto x = entry["values"].get<std::vector<float>>();
    std::vector<uint8_t> codes(x.size());
    float absmax;
    encode8(map8(sign), x.data(), int64_t(x.size()), codes.data(), absmax);
    EXPECT_EQ(absmax, entry["absmax"].get<float>());
    for (size_t i = 0; i < x.size(); ++i) {
      const int theirs = entry["codes"][i];
      if (!sign && x[i] > 0 && theirs == map8(false).zero)
        EXPECT_EQ(codes[i], theirs + 1);
      else
        EXPECT_EQ(codes[i], theirs) << sign << " " << x[i];
    }
  }
}

TEST(Dynamic8, NearestCodeByExhaustiveSearch) {
  for (const bool sign : {true, false}) {
    const Map8& map = map8(sign);
    std::vector<float> x = test_values<float>(256, 7);
    for (size_t i = 0; i < 200; ++i) x[i] *= float(std::pow(10.0, -double(i % 8)));
    if (!sign)
      for (float& v : x) v = std::abs(v);
    std::vector<uint8_t> codes(256);
    float absmax;
    encode8(map, x.data(), 256, codes.data(), absmax);
    std::vector<float> back(256);
    decode8(map, codes.data(), 256, absmax, back.data());
    for (size_t i = 0; i < 256; ++i) {
      double least = 1e9;
      for (const float value : map.values)
        if (sign || value > 0 || x[i] == 0) least = std::min(least, std::abs(double(value) * absmax - double(x[i])));
      EXPECT_LE(std::abs(double(back[i]) - double(x[i])), least * (1 + 1e-5) + 1e-7 * absmax) << x[i];
    }
  }
}

TEST(Dynamic8, SpecialBlocks) {
  std::vector<float> x(256, 0), back(256);
  std::vector<uint8_t> codes(256);
  float absmax = 5;
  encode8(map8(true), x.data(), 256, codes.data(), absmax);
  EXPECT_EQ(absmax, 0);
  EXPECT_EQ(codes[9], map8(true).zero);
  x[3] = 1, x[4] = 1e-30f;
  encode8(map8(false), x.data(), 256, codes.data(), absmax);
  EXPECT_GT(codes[4], map8(false).zero);
  EXPECT_EQ(codes[5], map8(false).zero);
  for (const float bad : {NAN, INFINITY}) {
    x[7] = bad;
    encode8(map8(true), x.data(), 256, codes.data(), absmax);
    decode8(map8(true), codes.data(), 256, absmax, back.data());
    EXPECT_TRUE(std::isnan(back[0]));
  }
}

}  // namespace
}  // namespace sedum
