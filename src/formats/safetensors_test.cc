#include "formats/safetensors.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "formats/formats_testing.h"

namespace sedum {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

TEST(Safetensors, TensorsAreWhatThePackageWrote) {
  const SafetensorsFile file(golden("all_types.safetensors"));
  const auto expected = parse_json(read_file(golden("safetensors.json")));
  EXPECT_EQ(file.names().size(), expected.size());
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const std::map<std::string, DType> types = {{"f64", DType::kF64},   {"f32", DType::kF32}, {"f16", DType::kF16},
                                              {"bf16", DType::kBF16}, {"i64", DType::kI64}, {"i32", DType::kI32},
                                              {"i8", DType::kI8},     {"u8", DType::kU8},   {"bool", DType::kU8}};
  for (const auto& [name, value] : expected.items()) {
    ASSERT_NE(file.info(name), nullptr) << name;
    EXPECT_EQ(file.info(name)->shape, value["shape"].get<std::vector<int64_t>>()) << name;
    if (name == "f8") continue;
    const StoredTensor& tensor = file.get(name);
    EXPECT_EQ(hex(tensor.data, tensor.bytes), value["data"]) << name;
    EXPECT_EQ(tensor.shape, file.info(name)->shape);
    EXPECT_EQ(tensor.dtype, types.contains(name) ? types.at(name) : DType::kF32) << name;
  }
  EXPECT_THAT(error_of([&] { file.find("f8"); }), HasSubstr("tensor f8 is of type F8_E4M3"));
  EXPECT_EQ(file.find("none"), nullptr);
}

TEST(Safetensors, Shards) {
  for (const char* path : {"sharded", "sharded/model.safetensors.index.json"}) {
    const SafetensorsFile file(golden(path));
    EXPECT_EQ(file.names().size(), 3u);
    EXPECT_EQ(static_cast<const float*>(file.get("b").data)[3], 2.0f);
    EXPECT_EQ(static_cast<const float*>(file.get("c").data)[2], 3.0f);
  }
}

TEST(Safetensors, IndexAndShardsMustAgree) {
  TempFolder folder;
  fs::copy(golden("sharded"), folder.path, fs::copy_options::recursive);
  const auto index = [&](const std::string& text) {
    write_file(folder / "model.safetensors.index.json", text);
    return error_of([&] { SafetensorsFile{folder.path}; });
  };
  EXPECT_THAT(index(R"({"weight_map": {"b": "model-00001-of-00002.safetensors"}})"),
              HasSubstr("has no tensor b, which the index"));
  EXPECT_THAT(index(R"({"weight_map": {"b": "none.safetensors"}})"), HasSubstr("none.safetensors: No such file"));
  for (const char* way_out : {"../x.safetensors", "/etc/passwd", "..", "", "a\\\\b", "a\\u0000b"})
    EXPECT_THAT(index(R"({"weight_map": {"b": ")" + std::string(way_out) + "\"}}"), HasSubstr("no plain file name"));
  EXPECT_THAT(index("{}"), HasSubstr("has no weight_map"));
  EXPECT_THAT(index(R"({"weight_map": {"b": 1}})"), HasSubstr("bad JSON at weight_map"));
  EXPECT_THAT(index(R"({"weight_map": {"b": "x", "b": "y"}})"), HasSubstr("b stands twice"));
  EXPECT_THAT(index(R"({"weight_map": {}, "weight_map": {}})"), HasSubstr("weight_map: stands twice"));
}

TEST(Safetensors, FolderWithOneFile) {
  TempFolder folder;
  fs::copy_file(golden("rewrite.safetensors"), folder / "adapter_model.safetensors");
  EXPECT_EQ(SafetensorsFile(folder.path).names().size(), 2u);
  fs::copy_file(golden("rewrite.safetensors"), folder / "other.safetensors");
  EXPECT_THAT(error_of([&] { SafetensorsFile{folder.path}; }), HasSubstr("holds 2 safetensors files and no index"));
}

TEST(Safetensors, UnalignedTensorsAreCopiedOnce) {
  std::string bytes =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  const uint64_t length = bytes.size();
  bytes.insert(0, std::string(reinterpret_cast<const char*>(&length), 8));
  bytes += '\7';
  append_raw(bytes, 1.5f), append_raw(bytes, -2.0f);
  std::shared_ptr<const void> owner;
  const float* data = nullptr;
  {
    const SafetensorsFile file(as_bytes(bytes), "x.safetensors");
    data = static_cast<const float*>(file.find("x")->data);
    EXPECT_EQ(file.find("x")->data, data);
    owner = file.owner();
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 4, 0u);
  EXPECT_EQ(data[0], 1.5f);
  EXPECT_EQ(data[1], -2.0f);
}

TEST(SafetensorsWriter, SameBytesAsThePackage) {
  TempFolder folder;
  const SafetensorsFile file(golden("rewrite.safetensors"));
  SafetensorsWriter writer(folder / "out.safetensors", file.metadata());
  for (const std::string& name : file.names()) writer.add(file.get(name));
  EXPECT_EQ(writer.finish(), std::vector<fs::path>{folder / "out.safetensors"});
  EXPECT_EQ(read_file(folder / "out.safetensors"), read_file(golden("rewrite.safetensors")));
}

TEST(SafetensorsWriter, EveryTypeAlignedInAnyOrder) {
  TempFolder folder;
  const SafetensorsFile file(golden("all_types.safetensors"));
  std::vector<std::string> names = file.names();
  std::reverse(names.begin(), names.end());
  SafetensorsWriter writer(folder / "out.safetensors");
  for (const std::string& name : names)
    if (name != "f8") writer.add(file.get(name));
  writer.finish();
  const SafetensorsFile copy(folder / "out.safetensors");
  EXPECT_EQ(copy.names().size() + 1, names.size());
  for (const std::string& name : copy.names()) {
    EXPECT_EQ(hex(copy.get(name).data, copy.get(name).bytes), hex(file.get(name).data, file.get(name).bytes));
    EXPECT_EQ(copy.info(name)->begin % uint64_t(info(copy.get(name).dtype).block_bytes), 0u) << name;
  }
}

TEST(SafetensorsWriter, Shards) {
  TempFolder folder;
  const std::vector<float> ones(1000, 1.0f);
  const auto write = [&](uint64_t limit) {
    SafetensorsWriter writer(folder / "model.safetensors", {{"format", "pt"}}, limit);
    for (const char* name : {"a", "b", "c", "d"})
      writer.add(name, DType::kF32, {*name == 'c' ? 1000 : 10}, producer_of(ones.data(), *name == 'c' ? 4000 : 40));
    return writer.finish();
  };
  EXPECT_EQ(write(0).size(), 1u);
  const auto written = write(100);  // a b | c, beyond the limit by itself | d
  ASSERT_EQ(written.size(), 4u);
  EXPECT_EQ(written[1].filename(), "model-00002-of-00003.safetensors");
  EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
  const auto index = parse_json(read_file(written[3]));
  EXPECT_EQ(index["metadata"]["total_size"], 4120);
  const SafetensorsFile file(folder.path);
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_EQ(file.get("c").bytes, 4000u);
}

// bitsandbytes' parts of one matrix are f32 and u8, read together: no limit parts them, though wide types come first in a file.
TEST(SafetensorsWriter, ShardsAreCutBetweenLayers) {
  TempFolder folder;
  const std::vector<float> zeros(100);
  SafetensorsWriter writer(folder / "model.safetensors", {}, 300);
  for (const char* layer : {"a", "b", "c"}) {
    writer.add(std::string(layer) + ".weight", DType::kU8, {100}, producer_of(zeros.data(), 100));
    writer.add(std::string(layer) + ".weight.absmax", DType::kF32, {8}, producer_of(zeros.data(), 32));
    writer.add(std::string(layer) + ".SCB", DType::kF32, {2}, producer_of(zeros.data(), 8));
  }
  EXPECT_EQ(writer.finish().size(), 3u);
  const auto map = parse_json(read_file(folder / "model.safetensors.index.json"))["weight_map"];
  for (const auto& [name, file] : map.items())
    EXPECT_EQ(file, name[0] == 'c' ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors") << name;
  EXPECT_EQ(map.size(), 9u);
}

TEST(SafetensorsWriter, Misuse) {
  TempFolder folder;
  SafetensorsWriter writer(folder / "out.safetensors");
  const float value = 0;
  EXPECT_THROW(writer.add("q", DType::kQ4_0, {32}, producer_of(&value, 18)), ApiError);
  EXPECT_THROW(writer.add("__metadata__", DType::kF32, {1}, producer_of(&value, 4)), ApiError);
  writer.add("\xff", DType::kF32, {1}, producer_of(&value, 4));
  EXPECT_THAT(error_of([&] { writer.finish(); }), HasSubstr("not UTF-8"));
  SafetensorsWriter greedy(folder / "out.safetensors");
  greedy.add("x", DType::kF32, {1}, producer_of(&value, 3));
  EXPECT_THROW(greedy.finish(), ApiError);
  EXPECT_TRUE(fs::is_empty(folder.path));
}

TEST(SafetensorsWriter, NothingAtAll) {
  TempFolder folder;
  SafetensorsWriter(folder / "out.safetensors").finish();
  EXPECT_TRUE(SafetensorsFile(folder / "out.safetensors").names().empty());
}

}  // namespace
}  // namespace sedum
