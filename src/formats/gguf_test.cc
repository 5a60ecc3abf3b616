#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "formats/formats_testing.h"

namespace sedum {
namespace {

TEST(Gguf, ReadsEveryValueType) {
  for (const char* name : {"all_types.gguf", "version_2.gguf"}) {
    const GgufFile file(golden(name));
    EXPECT_EQ(file.get<std::string>("general.architecture"), "golden");
    EXPECT_EQ(file.get<uint32_t>("t.u8"), 200u);
    EXPECT_EQ(file.get<int32_t>("t.i8"), -100);
    EXPECT_EQ(file.get<int64_t>("t.u16"), 65000);
    EXPECT_EQ(file.get<int64_t>("t.i16"), -30000);
    EXPECT_EQ(file.get<uint64_t>("t.u32"), 4000000000u);
    EXPECT_EQ(file.get<int32_t>("t.i32"), -2000000000);
    EXPECT_EQ(file.get<uint64_t>("t.u64"), (uint64_t{1} << 63) + 5);
    EXPECT_EQ(file.get<int64_t>("t.i64"), -(int64_t{1} << 62));
    EXPECT_EQ(file.get<float>("t.f32"), 0.1f);
    EXPECT_EQ(file.get<double>("t.f64"), 0.1);
    EXPECT_TRUE(file.get<bool>("t.bool_true"));
    EXPECT_FALSE(file.get<bool>("t.bool_false"));
    EXPECT_EQ(file.get<std::string_view>("t.string"), "Crassula ovata, 玉树");
    EXPECT_EQ(file.get<std::vector<float>>("t.array_f32"), (std::vector<float>{1.5f, -0.25f, 3e38f}));
    EXPECT_EQ(file.get<std::vector<int64_t>>("t.array_i32"), (std::vector<int64_t>{1, -2, 2147483647}));
    EXPECT_EQ(file.get<std::vector<std::string>>("t.array_string"), (std::vector<std::string>{"", "a", "多肉"}));
  }
}

TEST(Gguf, GettersNameKeyAndType) {
  const GgufFile file(golden("all_types.gguf"));
  EXPECT_EQ(file.get_or<int32_t>("t.missing", 7), 7);
  EXPECT_EQ(file.get_or<int32_t>("t.i32", 7), -2000000000);
  EXPECT_THAT(error_of([&] { file.get<int32_t>("t.strng"); }), testing::HasSubstr("t.strng is missing"));
  EXPECT_THAT(error_of([&] { file.get<int32_t>("t.strng"); }), testing::HasSubstr("nearest key is t.string"));
  EXPECT_THAT(error_of([&] { file.get<int32_t>("t.string"); }),
              testing::HasSubstr("all_types.gguf: metadata key t.string is of type string, not an integer"));
  EXPECT_THAT(error_of([&] { file.get<std::string>("t.u8"); }), testing::HasSubstr("t.u8 is of type u8, not a string"));
  EXPECT_THAT(error_of([&] { file.get<bool>("t.u8"); }), testing::HasSubstr("not a bool"));
  EXPECT_THAT(error_of([&] { file.get<int32_t>("t.f32"); }), testing::HasSubstr("is of type f32, not an integer"));
  EXPECT_THAT(error_of([&] { file.get<float>("t.array_f32"); }), testing::HasSubstr("is of type array, not a number"));
  EXPECT_THAT(error_of([&] { file.get<std::vector<float>>("t.f32"); }), testing::HasSubstr("not an array"));
  EXPECT_THAT(error_of([&] { file.get<int32_t>("t.u32"); }), testing::HasSubstr("4000000000, which is out of range"));
  EXPECT_THAT(error_of([&] { file.get<uint32_t>("t.i8"); }), testing::HasSubstr("-100, which is out of range"));
  EXPECT_THAT(error_of([&] { file.get<std::vector<uint32_t>>("t.array_i32"); }), testing::HasSubstr("-2"));
}

TEST(Gguf, TensorsAreWhatThePackageWrote) {
  const GgufFile file(golden("all_types.gguf"));
  const auto expected = parse_json(read_file(golden("gguf.json")));
  ASSERT_EQ(file.names().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string name = expected[i]["name"], type = expected[i]["type"];
    EXPECT_EQ(file.names()[i], name);
    EXPECT_EQ(file.tensors()[i].shape, expected[i]["shape"].get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(ggml_type_name(file.tensors()[i].type_id), type);
    if (type == "IQ2_XS") continue;
    const StoredTensor* tensor = file.find(name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->name, name);
    EXPECT_EQ(ggml_from_dtype(tensor->dtype), file.tensors()[i].type_id);
    EXPECT_EQ(tensor->shape, file.tensors()[i].shape);
    EXPECT_EQ(hex(tensor->data, tensor->bytes), expected[i]["data"]) << name;
  }
  EXPECT_THAT(error_of([&] { file.find("iq2_xs"); }), testing::HasSubstr("tensor iq2_xs is of type IQ2_XS"));
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_THAT(error_of([&] { file.get("q4_00"); }), testing::HasSubstr("nearest name is q4_0"));
}

TEST(Gguf, OwnerKeepsTheDataAlive) {
  std::shared_ptr<const void> owner;
  const StoredTensor tensor = [&] {
    const GgufFile file(golden("all_types.gguf"));
    owner = file.owner();
    return *file.find("f32");
  }();
  EXPECT_EQ(hex(tensor.data, tensor.bytes), parse_json(read_file(golden("gguf.json")))[0]["data"]);
}

TEST(Gguf, OpensAllPartsFromAnyOfThem) {
  for (const char* part : {"split-00001-of-00003.gguf", "split-00003-of-00003.gguf"}) {
    const GgufFile file(golden(part));
    EXPECT_EQ(file.get<std::string>("general.architecture"), "golden");
    ASSERT_EQ(file.names().size(), 5u);
    for (int i = 0; i < 5; ++i) {
      const auto* values = static_cast<const float*>(file.get("layer." + std::to_string(i)).data);
      for (int j = 0; j < 8; ++j) EXPECT_EQ(values[j], float(i) + 0.5f);
    }
  }
}

TEST(Gguf, SplitFilesMustAgree) {
  TempFolder folder;
  const auto part = [&](int i) { return "split-0000" + std::to_string(i) + "-of-00003.gguf"; };
  const auto copy = [&](int from, int to) {
    std::filesystem::copy_file(golden(part(from)), folder / part(to),
                               std::filesystem::copy_options::overwrite_existing);
  };
  copy(1, 1), copy(2, 2);
  EXPECT_THAT(error_of([&] { GgufFile{folder / part(1)}; }),
              testing::HasSubstr("split-00003-of-00003.gguf: No such file"));
  copy(2, 3);
  EXPECT_THAT(error_of([&] { GgufFile{folder / part(1)}; }), testing::HasSubstr("says that it is part 2 of 3"));
  std::filesystem::copy_file(golden(part(1)), folder / "alone.gguf");
  EXPECT_THAT(error_of([&] { GgufFile{folder / "alone.gguf"}; }), testing::HasSubstr("one of 3 parts"));
}

TEST(GgufWriter, RewritesAFileToTheSameBytes) {
  TempFolder folder;
  const GgufFile file(golden("all_types.gguf"));
  GgufWriter writer(folder / "out.gguf");
  for (const auto& [key, value] : file.metadata()) writer.set(key, value);
  for (const std::string& name : file.names())
    if (name != "iq2_xs") writer.add(*file.find(name));
  writer.finish();
  // The golden file's last tensor is the one that cannot be read: everything but the header's count and its data agrees.
  const GgufFile copy(folder / "out.gguf");
  ASSERT_EQ(copy.names().size() + 1, file.names().size());
  for (const std::string& name : copy.names()) {
    const StoredTensor &a = *copy.find(name), &b = *file.find(name);
    EXPECT_EQ(a.shape, b.shape);
    EXPECT_EQ(hex(a.data, a.bytes), hex(b.data, b.bytes));
  }
  const std::string ours = read_file(folder / "out.gguf"), theirs = read_file(golden("all_types.gguf"));
  const size_t names_begin = theirs.find("f32", theirs.find("t.u8"));
  EXPECT_EQ(ours.substr(0, 8), theirs.substr(0, 8));
  EXPECT_EQ(ours.substr(16, names_begin - 16), theirs.substr(16, names_begin - 16));
}

TEST(GgufWriter, SplitPartsAndTheirWholeHaveTheSameBytes) {
  TempFolder folder;
  const GgufFile parts(golden("split-00001-of-00003.gguf"));
  GgufWriter writer(folder / "whole.gguf");
  for (const auto& [key, value] : parts.metadata()) writer.set(key, value);
  for (const std::string& name : parts.names()) writer.add(parts.get(name));
  writer.finish();
  const GgufFile whole(folder / "whole.gguf");  // split.* stayed behind, or this would throw
  EXPECT_EQ(whole.names(), parts.names());
}

TEST(GgufWriter, TypedValuesAndStreamedTensors) {
  TempFolder folder;
  {
    GgufWriter writer(folder / "out.gguf");
    writer.set("name", "succulent");
    writer.set("name", std::string("sedum"));  // the last one stays
    writer.set("layers", uint32_t{30});
    writer.set("theta", 1e4f);
    writer.set("flag", true);
    writer.set("none", std::vector<float>{});
    writer.set("tokens", std::vector<std::string>{"a", ""});
    writer.add("rows", DType::kF32, {3, 2}, [](const ByteSink& sink) {
      for (float row = 0; row < 3; ++row) {
        const float values[] = {row, -row};
        sink(values, sizeof(values));
      }
    });
    writer.add("empty", DType::kQ8_0, {0, 32}, [](const ByteSink&) {});
    writer.add("scalar", DType::kF64, {}, [](const ByteSink& sink) {
      const double value = 2.5;
      sink(&value, sizeof(value));
    });
    writer.finish();
  }
  const GgufFile file(folder / "out.gguf");
  EXPECT_EQ(file.get<std::string>("name"), "sedum");
  EXPECT_EQ(file.metadata().find("layers")->second.type, GgufType::kU32);
  EXPECT_EQ(file.metadata().find("theta")->second.type, GgufType::kF32);
  EXPECT_TRUE(file.get<bool>("flag"));
  EXPECT_TRUE(file.get<std::vector<float>>("none").empty());
  EXPECT_EQ(file.get<std::vector<std::string>>("tokens"), (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(file.find("rows")->shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(static_cast<const float*>(file.find("rows")->data)[5], -2.0f);
  EXPECT_EQ(file.find("empty")->bytes, 0u);
  EXPECT_EQ(*static_cast<const double*>(file.find("scalar")->data), 2.5);
}

TEST(GgufWriter, MisuseIsRefusedAndLeavesNothing) {
  TempFolder folder;
  {
    GgufWriter writer(folder / "out.gguf");
    const auto nothing = [](const ByteSink&) {};
    EXPECT_THROW(writer.add("x", DType::kU8, {1}, nothing), ApiError);
    EXPECT_THROW(writer.add("x", DType::kQ4_0, {2, 33}, nothing), ApiError);
    EXPECT_THROW(writer.add("x", DType::kF32, {-1}, nothing), ApiError);
    writer.add("x", DType::kF32, {2}, nothing);
    EXPECT_THROW(writer.add("x", DType::kF32, {2}, nothing), ApiError);
    EXPECT_THROW(writer.finish(), ApiError);  // the producer gave no bytes
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path));
}

TEST(TensorSource, OpensByContent) {
  TempFolder folder;
  std::filesystem::copy_file(golden("all_types.gguf"), folder / "0a1b2c");
  EXPECT_NE(open_tensors(folder / "0a1b2c")->find("f32"), nullptr);
  EXPECT_NE(open_tensors(golden("all_types.gguf"))->find("f32"), nullptr);
  EXPECT_NE(open_tensors(golden("all_types.safetensors"))->find("f32"), nullptr);
  EXPECT_NE(open_tensors(golden("sharded"))->find("b"), nullptr);
  EXPECT_THAT(error_of([&] { open_tensors(folder.path); }), testing::HasSubstr("holds 0 safetensors files"));
  EXPECT_THAT(error_of([&] { open_tensors(folder / "no"); }), testing::HasSubstr("No such file"));
}

TEST(TensorSource, SizesThatOverflow) {
  EXPECT_EQ(stored_bytes(DType::kF32, {}), 4u);
  EXPECT_EQ(stored_bytes(DType::kQ4_0, {2, 64}), 72u);
  EXPECT_EQ(stored_bytes(DType::kF32, {5, 0}), 0u);
  const int64_t big = int64_t{1} << 62;
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{big, big}, {0, big, big}, {big}, {-1}, {-1, 0}})
    EXPECT_EQ(stored_bytes(DType::kF32, shape), std::nullopt) << shape_text(shape);
  EXPECT_EQ(stored_bytes(DType::kQ4_0, {}), std::nullopt);
  EXPECT_EQ(stored_bytes(DType::kQ4_0, {32, 16}), std::nullopt);
}

// Real models, where they are to be had.
TEST(Gguf, RealModels) {
  const char* folder = std::getenv("SEDUM_TEST_MODELS");
  if (!folder) GTEST_SKIP() << "SEDUM_TEST_MODELS is not set";
  const GgufFile smollm(std::filesystem::path(folder) / "smollm2.gguf");
  EXPECT_EQ(smollm.get<std::string>("general.architecture"), "llama");
  EXPECT_EQ(smollm.get<int32_t>("llama.block_count"), 30);
  EXPECT_EQ(smollm.get("token_embd.weight").shape, (std::vector<int64_t>{49152, 576}));
  EXPECT_EQ(smollm.get<std::vector<std::string_view>>("tokenizer.ggml.tokens").size(), 49152u);
  const GgufFile qwen(std::filesystem::path(folder) / "qwen.gguf");
  EXPECT_EQ(qwen.get<std::string>("general.architecture"), "qwen2");
  for (const std::string& name : qwen.names()) EXPECT_NE(qwen.find(name), nullptr);
}

}  // namespace
}  // namespace sedum
