#include "quant/quantised_folder.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "compute/dtype/nf4.h"
#include "formats/safetensors.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/quantised.h"
#include "model/model_testing.h"
#include "quant/gptq_model.h"
#include "quant/importance.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::tiny_model;

std::vector<float> values_of(const Checkpoint& checkpoint, const std::string& name) {
  return stored_values(checkpoint)(name);
}

std::string a_text() {
  std::string text;
  for (int i = 0; i < 120; ++i)
    text += "Water the succulent " + std::to_string(i * 37 % 101) + " times, then wait. 多肉\n";
  return text;
}

TEST(QuantisedFolder, Nf4ComesBackAsTheCodecSays) {
  const ScratchFolder scratch;
  ThreadPool pool(2);
  const Checkpoint first = Checkpoint::open(tiny_model());
  write_nf4_folder(scratch / "m", first, pool);
  const Checkpoint back = Checkpoint::open(scratch / "m");
  for (const std::string& layer : linear_layers(first)) {
    const std::vector<float> w = values_of(first, layer + ".weight");
    const Nf4Quantised q = quantise_nf4(pool, w.data(), int64_t(w.size()));
    std::vector<BlockNF4> blocks(w.size() / 64);
    nf4_blocks(pool, q, blocks.data());
    std::vector<float> want(w.size());
    decode(kNF4, blocks.data(), want.data(), int64_t(want.size()));
    EXPECT_EQ(values_of(back, layer + ".weight"), want) << layer;
  }
}

TEST(QuantisedFolder, Int8IsWithinHalfAStep) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model("qwen2"));
  write_int8_folder(scratch / "m", first);
  const Checkpoint back = Checkpoint::open(scratch / "m");
  for (const std::string& layer : linear_layers(first)) {
    const std::vector<float> a = values_of(first, layer + ".weight"), b = values_of(back, layer + ".weight");
    float top = 0;
    for (const float v : a) top = std::max(top, std::abs(v));
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], top / 253) << layer;
  }
}

// A threshold that takes nearly all activations out leaves the rounding of none of them: what a folder's config.json says is what is run.
TEST(QuantisedFolder, Int8RunsWithTheThresholdOfItsConfig) {
  const ScratchFolder scratch;
  write_int8_folder(scratch / "m", Checkpoint::open(tiny_model("qwen2")));
  const std::string config = read_file(scratch / "m" / "config.json");
  const auto hidden = [&](const std::string& threshold, Compute compute) {
    std::string changed = config;
    const std::string key = "\"llm_int8_threshold\": 6.0";
    changed.replace(changed.find(key), key.size(), "\"llm_int8_threshold\": " + threshold);
    write_file(scratch / "m" / "config.json", changed);
    Runtime runtime(2);
    const RuntimeModel model(runtime, scratch / "m", {.compute = compute});
    Context ctx = runtime.context(compute);
    const Variable h = model.model().hidden_states(ctx, Batch::of_sequences({{5, 9, 33, 64, 100, 7, 250, 11}}));
    return std::vector<float>(h.value().data<float>(), h.value().data<float>() + h.value().count());
  };
  const std::vector<float> exact = hidden("6.0", Compute::kF32);
  const auto error = [&](const std::vector<float>& values) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += double(values[i] - exact[i]) * (values[i] - exact[i]);
    return sum;
  };
  const std::vector<float> none = hidden("0.0", Compute::kInt8), nearly_all = hidden("0.001", Compute::kInt8);
  EXPECT_GT(error(none), 0);
  EXPECT_LT(error(nearly_all), 0.5 * error(none)) << error(nearly_all) << " " << error(none);
  EXPECT_THROW(hidden("-1", Compute::kInt8), Error);
}

// Whole and in shards the same values, and all parts of a layer in one shard.
TEST(QuantisedFolder, ShardsHoldWholeLayers) {
  const ScratchFolder scratch;
  Runtime runtime(1);
  const Checkpoint first = Checkpoint::open(tiny_model());
  const auto same = [&](const std::string& name, const auto& write) {
    write(scratch / name, kMaxShardBytes), write(scratch / (name + ".shards"), 20'000);
    const Checkpoint a = Checkpoint::open(scratch / name), b = Checkpoint::open(scratch / (name + ".shards"));
    EXPECT_FALSE(std::filesystem::exists(scratch / (name + ".shards") / "model.safetensors"));
    for (const std::string& tensor : first.tensor_names())
      EXPECT_EQ(values_of(a, tensor), values_of(b, tensor)) << name << tensor;
    const auto index = parse_json(read_file(scratch / (name + ".shards") / "model.safetensors.index.json"));
    std::map<std::string, std::set<std::string>> shards;
    for (const auto& [tensor, file] : index["weight_map"].items())
      for (const std::string& layer : linear_layers(first))
        if (tensor.starts_with(layer + ".")) shards[layer].insert(file);
    EXPECT_EQ(shards.size(), linear_layers(first).size());
    for (const auto& [layer, files] : shards) EXPECT_EQ(files.size(), 1u) << name << layer;
  };
  same("nf4",
       [&](const auto& to, uint64_t most) { write_nf4_folder(to, first, runtime.pool, {.max_shard_bytes = most}); });
  same("int8", [&](const auto& to, uint64_t most) { write_int8_folder(to, first, {.max_shard_bytes = most}); });
  same("gptq", [&](const auto& to, uint64_t most) { quantise_nearest(runtime, first, {.group_size = 32}, to, most); });
}

// What a merge computes in place of what is stored.
TEST(QuantisedFolder, OtherValuesThanTheStoredOnes) {
  const ScratchFolder scratch;
  ThreadPool pool(1);
  const Checkpoint first = Checkpoint::open(tiny_model());
  const auto doubled = [&](const std::string& name) {
    std::vector<float> values = values_of(first, name);
    for (float& v : values) v *= 2;  // exact in every one of the types
    return values;
  };
  write_nf4_folder(scratch / "a", first, pool), write_nf4_folder(scratch / "b", first, pool, {.read = doubled});
  write_int8_folder(scratch / "c", first), write_int8_folder(scratch / "d", first, {.read = doubled});
  for (const auto& [one, two, tolerance] : {std::tuple("a", "b", 1e-2f), {"c", "d", 0.0f}}) {
    const Checkpoint x = Checkpoint::open(scratch / one), y = Checkpoint::open(scratch / two);
    for (const std::string& name : first.tensor_names()) {
      const std::vector<float> a = values_of(x, name), b = values_of(y, name);
      // NF4's scales are quantised about their mean: another rounding of the same, an eighth bit of the largest.
      for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(b[i], 2 * a[i], tolerance) << name;
    }
  }
}

TEST(QuantisedFolder, GptqComesBackWithTheSameValues) {
  ThreadPool pool(1);
  const Checkpoint first = Checkpoint::open(tiny_model());
  for (const int bits : {2, 4, 8})
    for (const bool symmetric : {true, false}) {
      const ScratchFolder scratch;
      const GptqOptions o{.bits = bits, .group_size = 32, .symmetric = symmetric};
      Runtime runtime(1);
      quantise_nearest(runtime, first, o, scratch / "m");
      EXPECT_FALSE(std::filesystem::exists(scratch / "m.parts"));
      const Checkpoint back = Checkpoint::open(scratch / "m");
      for (const std::string& layer : linear_layers(first)) {
        const Shape shape = first.tensor(layer + ".weight").shape();
        const GroupQuantised q = round_to_nearest(pool, values_of(first, layer + ".weight"), shape[0], shape[1], o);
        EXPECT_EQ(values_of(back, layer + ".weight"), q.values(pool)) << layer << bits << symmetric;
        const bool blocks = symmetric && bits != 2 && shape[1] % 32 == 0;
        const DType type = back.tensor(layer + ".weight").dtype();
        EXPECT_EQ(type, !blocks ? DType::kF32 : bits == 4 ? DType::kQ4_0 : DType::kQ8_0);
      }
    }
}

TEST(QuantisedFolder, AStoppedGptqRunGoesOnToTheSameBits) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model());
  write_file(scratch / "text.txt", a_text());
  const Calibration rows = read_calibration(scratch / "text.txt", first, {.window = 48, .max_windows = 6});
  EXPECT_EQ(rows.tokens(), 6 * 48);
  Runtime runtime(1);
  const GptqOptions o{.bits = 4, .group_size = 32, .desc_act = true};
  const GptqReport whole = quantise_gptq(runtime, first, rows, o, scratch / "a");
  EXPECT_EQ(whole.layers, int64_t(linear_layers(first).size()));
  EXPECT_EQ(whole.resumed, 0);
  Runtime two(2);
  quantise_gptq(two, first, rows, o, scratch / "b");
  EXPECT_EQ(read_file(scratch / "a/model.safetensors"), read_file(scratch / "b/model.safetensors"));
  // A run that broke off when all layers were done: a file stands where the folder should come.
  write_file(scratch / "d", "in the way");
  EXPECT_NE(testing::problem_of([&] {
              try {
                quantise_gptq(runtime, first, rows, o, scratch / "d");
              } catch (const std::filesystem::filesystem_error& e) {
                throw Error(e.what());
              }
            }),
            "");
  std::filesystem::remove(scratch / "d");
  std::filesystem::remove(scratch / "d.parts/model.layers.2.mlp.down_proj.safetensors");
  const GptqReport rest = quantise_gptq(runtime, first, rows, o, scratch / "d");
  EXPECT_EQ(rest.resumed, whole.layers - 1);
  EXPECT_EQ(read_file(scratch / "a/model.safetensors"), read_file(scratch / "d/model.safetensors"));
  std::filesystem::create_directories(scratch / "c.parts");
  const GptqOptions other{.bits = 4, .group_size = 64};
  write_file(scratch / "c.parts/run.txt", "another run\n");
  EXPECT_THAT(testing::problem_of([&] { quantise_gptq(runtime, first, rows, other, scratch / "c"); }),
              HasSubstr("another model"));
}

// A model in the same place, of the same size and time, with one weight changed: its layers must not meet those of the model before.
TEST(QuantisedFolder, APartOfAnotherModelInTheSamePlaceIsRefused) {
  const ScratchFolder scratch;
  namespace fs = std::filesystem;
  fs::copy(tiny_model(), scratch / "m", fs::copy_options::recursive);
  write_file(scratch / "text.txt", a_text());
  Runtime runtime(1);
  const auto quantise = [&] {
    const Checkpoint model = Checkpoint::open(scratch / "m");
    const Calibration rows = read_calibration(scratch / "text.txt", model, {.window = 32, .max_windows = 2});
    return quantise_gptq(runtime, model, rows, {.group_size = 32}, scratch / "out");
  };
  write_file(scratch / "out", "in the way");
  EXPECT_ANY_THROW(quantise());
  fs::remove(scratch / "out");
  const fs::path file = scratch / "m/model.safetensors";
  const auto time = fs::last_write_time(file);
  const std::string before = read_file(file);
  std::string changed = before;
  changed.back() ^= 1;  // the sign, or a bit, of one of the last tensor's values
  write_file(file, changed);
  fs::last_write_time(file, time);
  EXPECT_THAT(testing::problem_of(quantise), HasSubstr("another model"));
  EXPECT_FALSE(fs::exists(scratch / "out"));
  write_file(file, before);  // the first model again, at another time
  const GptqReport report = quantise();
  EXPECT_EQ(report.resumed, report.layers);
}

// Where the fuzz target of quantised matrices begins is a matrix of each form: what is mutated was right before.
TEST(QuantisedFolder, SeedsOfTheFuzzTargetAreMatrices) {
  using Method = QuantisedFormat::Method;
  const std::vector<std::tuple<std::string, QuantisedFormat, Shape>> seeds{
      {"nf4", {.method = Method::kBitsandbytes}, {4, 64}},
      {"int8", {.method = Method::kBitsandbytes}, {2, 8}},
      {"gptq", {.method = Method::kGptq, .bits = 4, .group_size = 32}, {8, 32}},
      {"awq", {.method = Method::kAwq, .bits = 4, .group_size = 32}, {8, 32}}};
  for (const auto& [name, format, shape] : seeds) {
    const std::string seed = read_file(testing::golden("quant/" + name + ".fuzz"));
    const auto byte = uint8_t(seed[0]);  // as fuzz_quantised.cc reads it
    EXPECT_EQ(Method(byte & 3), format.method) << name;
    if (format.method == Method::kGptq || format.method == Method::kAwq) {
      EXPECT_EQ((byte >> 2) % 3, 1) << name;  // 4 bits
      EXPECT_EQ((byte >> 4) % 5, 2) << name;  // groups of 32
    }
    const SafetensorsFile file({reinterpret_cast<const std::byte*>(seed.data()) + 1, seed.size() - 1}, name);
    ASSERT_TRUE(has_quantised(file, "a.weight")) << name;
    EXPECT_EQ(read_quantised(file, "a.weight", format).shape().text(), shape.text()) << name;
  }
}

// With 8 bits little is lost: a scaling that did not meet its inverse would change every logit. llama shares its values among heads,
// qwen2 has biases on them.
TEST(QuantisedFolder, AwqScalesMeetTheirInverse) {
  for (const char* family : {"llama", "qwen2"}) {
    const ScratchFolder scratch;
    const Checkpoint first = Checkpoint::open(tiny_model(family));
    write_file(scratch / "text.txt", a_text());
    const Calibration rows = read_calibration(scratch / "text.txt", first, {.window = 48, .max_windows = 6});
    Runtime runtime(1);
    const GptqOptions o{.bits = 8, .group_size = 32, .awq = true};
    quantise_nearest(runtime, first, {.bits = 8, .group_size = 32}, scratch / "rtn");
    quantise_gptq(runtime, first, rows, o, scratch / "awq");
    const auto logits = [&](const std::filesystem::path& path) {
      return testing::logits_of(RuntimeModel(runtime, path, {.compute = Compute::kF32}), rows.windows[0]);
    };
    const std::vector<float> exact = logits(tiny_model(family));
    const auto error = [&](const char* folder) {
      const std::vector<float> values = logits(scratch / folder);
      double sum = 0;
      for (size_t i = 0; i < values.size(); ++i) sum += double(values[i] - exact[i]) * (values[i] - exact[i]);
      return sum;
    };
    EXPECT_LT(error("awq"), 1.2 * error("rtn")) << family;
    const SafetensorsFile awq(scratch / "awq/model.safetensors"), rtn(scratch / "rtn/model.safetensors");
    for (const char* source : {"self_attn.v_proj.scales", "mlp.up_proj.scales", "input_layernorm.weight"}) {
      const std::string name = std::string("model.layers.1.") + source;
      EXPECT_NE(std::memcmp(awq.get(name).data, rtn.get(name).data, awq.get(name).bytes), 0) << family << " " << name;
    }
  }
}

TEST(QuantisedFolder, AStoppedAwqRunGoesOnToTheSameBits) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model());
  write_file(scratch / "text.txt", a_text());
  const Calibration rows = read_calibration(scratch / "text.txt", first, {.window = 48, .max_windows = 6});
  Runtime runtime(1), two(2);
  const GptqOptions o{.bits = 4, .group_size = 32, .awq = true};
  quantise_gptq(runtime, first, rows, o, scratch / "a");
  write_file(scratch / "b", "in the way");
  EXPECT_ANY_THROW(quantise_gptq(two, first, rows, o, scratch / "b"));
  std::filesystem::remove(scratch / "b");
  std::filesystem::remove(scratch / "b.parts/model.layers.2.mlp.down_proj.safetensors");
  EXPECT_GT(quantise_gptq(two, first, rows, o, scratch / "b").resumed, 0);
  EXPECT_EQ(read_file(scratch / "a/model.safetensors"), read_file(scratch / "b/model.safetensors"));
}

TEST(QuantisedFolder, HostileFoldersAreRefused) {
  const ScratchFolder scratch;
  const Checkpoint first = Checkpoint::open(tiny_model());
  Runtime runtime(1);
  quantise_nearest(runtime, first, {.group_size = 32}, scratch / "m");
  const std::string config = read_file(scratch / "m/config.json");
  const auto problem_with = [&](const std::string& from, const std::string& to) {
    std::string changed = config;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    write_file(scratch / "m/config.json", changed);
    return testing::problem_of([&] {
      const Checkpoint c = Checkpoint::open(scratch / "m");
      for (const std::string& name : c.tensor_names()) c.tensor(name);
    });
  };
  EXPECT_THAT(problem_with("\"gptq\"", "\"exl2\""), HasSubstr("not known here"));
  EXPECT_THAT(problem_with("\"bits\": 4", "\"bits\": 8"), HasSubstr("wanted"));
  EXPECT_THAT(problem_with("\"bits\": 4", "\"bits\": 7"), HasSubstr("not known here"));
  EXPECT_THAT(problem_with("\"group_size\": 32", "\"group_size\": 1"), HasSubstr("wanted"));
  EXPECT_THAT(problem_with("\"group_size\": 32", "\"group_size\": 0"), HasSubstr("not known here"));
  EXPECT_THAT(problem_with("\"group_size\": 32", "\"group_size\": -9000000000000"), HasSubstr("not known here"));
}

TEST(Importance, IsTheMeanSquareAndTravels) {
  const ScratchFolder scratch;
  const Checkpoint model = Checkpoint::open(tiny_model());
  write_file(scratch / "text.txt", a_text());
  const Calibration rows = read_calibration(scratch / "text.txt", model, {.window = 32, .max_windows = 5});
  Runtime runtime(1);
  std::vector<double> want;
  observe_inputs(runtime, model, rows, [&](const std::string& name, const Tensor& x) {
    if (name != "model.layers.1.mlp.down_proj") return;
    want.resize(size_t(x.size(-1)));
    for (int64_t r = 0; r < x.shape().rows(); ++r)
      for (int64_t c = 0; c < x.size(-1); ++c)
        want[size_t(c)] += std::pow(double(x.data<float>()[r * x.size(-1) + c]), 2);
  });
  const ImportanceMatrix m = measure_importance(runtime, model, rows);
  EXPECT_EQ(m.size(), linear_layers(model).size());
  m.write(scratch / "m.gguf");
  const ImportanceMatrix again = ImportanceMatrix::read(scratch / "m.gguf");
  const auto* columns = again.find("blk.1.ffn_down.weight");
  ASSERT_NE(columns, nullptr);
  ASSERT_EQ(columns->size(), want.size());
  for (size_t c = 0; c < want.size(); ++c) EXPECT_NEAR((*columns)[c], want[c] / 160, 1e-6 * want[c] / 160);
  EXPECT_EQ(again.find("blk.99.ffn_down.weight"), nullptr);
}

// The older form of llama-imatrix: entries of name, calls, sums.
TEST(Importance, ReadsTheOlderFormAndRefusesNonsense) {
  const ScratchFolder scratch;
  const auto put = [](std::string& to, auto value) { to.append(reinterpret_cast<const char*>(&value), sizeof value); };
  std::string file;
  put(file, int32_t{1}), put(file, int32_t{3}), file += "abc", put(file, int32_t{4}), put(file, int32_t{2});
  put(file, 8.0f), put(file, 2.0f), put(file, int32_t{4});
  write_file(scratch / "old.dat", file);
  const ImportanceMatrix m = ImportanceMatrix::read(scratch / "old.dat");
  ASSERT_NE(m.find("abc"), nullptr);
  EXPECT_EQ(*m.find("abc"), (std::vector<float>{2, 0.5f}));
  for (size_t cut = 0; cut < file.size() - 4; ++cut) {
    write_file(scratch / "cut.dat", file.substr(0, cut));
    EXPECT_NE(testing::problem_of([&] { ImportanceMatrix::read(scratch / "cut.dat"); }), "") << cut;
  }
  std::string lies = file;
  lies[12] = char(0xff), lies[18] = char(0x7f);  // a huge count of columns
  write_file(scratch / "lies.dat", lies);
  EXPECT_NE(testing::problem_of([&] { ImportanceMatrix::read(scratch / "lies.dat"); }), "");
}

}  // namespace
}  // namespace sedum
