#include "quant/quantised_folder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "compute/dtype/nf4.h"
#include "model/checkpoint/model_folder.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

std::vector<int64_t> sizes(const Shape& shape) {
  std::vector<int64_t> v;
  for (int i = 0; i < shape.rank(); ++i) v.push_back(shape[i]);
  return v;
}

template <class T>
void give(const ByteSink& sink, const std::vector<T>& values) {
  sink(values.data(), values.size() * sizeof(T));
}

// All that is not a linear layer's matrix.
void add_plain(SafetensorsWriter& out, const Checkpoint& checkpoint, const std::vector<std::string>& layers,
               const TensorReader& read, const TensorAdjuster& adjust = nullptr) {
  for (const std::string& name : checkpoint.tensor_names()) {
    const bool linear =
        name.ends_with(".weight") && std::binary_search(layers.begin(), layers.end(), name.substr(0, name.size() - 7));
    if (linear) continue;
    const Shape shape = checkpoint.tensor(name).shape();
    out.add(name, DType::kF16, sizes(shape), [read, name, adjust](const ByteSink& sink) {
      std::vector<float> values = read(name);
      if (adjust) adjust(name, values);
      std::vector<uint16_t> halves(values.size());
      for (size_t i = 0; i < values.size(); ++i) halves[i] = f32_to_f16(values[i]);
      give(sink, halves);
    });
  }
}

std::vector<std::string> sorted_layers(const Checkpoint& checkpoint) {
  std::vector<std::string> layers = linear_layers(checkpoint);
  std::sort(layers.begin(), layers.end());
  return layers;
}

// ---- GPTQ
std::vector<int32_t> pack_down(const GroupQuantised& g) {  // (cols / each, rows)
  const int64_t each = 32 / g.bits;
  std::vector<int32_t> words(size_t(g.cols / each * g.rows));
  for (int64_t n = 0; n < g.rows; ++n)
    for (int64_t w = 0; w < g.cols / each; ++w) {
      const uint8_t* const q = &g.q[size_t(n * g.cols + w * each)];
      uint32_t word = 0;
      for (int64_t i = 0; i < each; ++i) word |= uint32_t{q[i]} << i * g.bits;
      words[size_t(w * g.rows + n)] = int32_t(word);
    }
  return words;
}
std::vector<int32_t> pack_zeros(const GroupQuantised& g) {  // (groups, rows / each)
  const int64_t each = 32 / g.bits;
  const uint32_t mask = (1u << g.bits) - 1;
  std::vector<int32_t> words(size_t(g.groups * g.rows / each));
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t n = 0; n < g.rows; ++n) {
      int32_t& word = words[size_t((group * g.rows + n) / each)];
      const uint32_t stored = (uint32_t(g.zeros[size_t(n * g.groups + group)]) - 1) & mask;
      word = int32_t(uint32_t(word) | stored << n % each * g.bits);
    }
  return words;
}
std::vector<uint16_t> scale_halves(const GroupQuantised& g) {  // (groups, rows)
  std::vector<uint16_t> halves(g.scales.size());
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t n = 0; n < g.rows; ++n)
      halves[size_t(group * g.rows + n)] = f32_to_f16(g.scales[size_t(n * g.groups + group)]);
  return halves;
}

// ---- bitsandbytes
std::string nf4_state(const Nf4Quantised& q, const Shape& shape) {
  return Json{{"quant_type", "nf4"},
              {"blocksize", kNf4Block},
              {"dtype", "float16"},
              {"shape", sizes(shape)},
              {"nested_blocksize", kNf4ScalesBlock},
              {"nested_dtype", "float32"},
              {"nested_offset", q.offset}}
      .dump();
}

struct Int8Rows {
  std::vector<int8_t> q;
  std::vector<float> scales;
};
Int8Rows quantise_rows(const std::vector<float>& w, int64_t rows, int64_t cols) {
  Int8Rows r{std::vector<int8_t>(w.size()), std::vector<float>(size_t(rows))};
  for (int64_t n = 0; n < rows; ++n) {
    const float* row = &w[size_t(n * cols)];
    float top = 0;
    for (int64_t k = 0; k < cols; ++k) top = std::max(top, std::abs(row[k]));
    r.scales[size_t(n)] = top;
    const float inverse = top > 0 ? 127 / top : 0;
    for (int64_t k = 0; k < cols; ++k) r.q[size_t(n * cols + k)] = int8_t(std::nearbyint(row[k] * inverse));
  }
  return r;
}

}  // namespace

std::vector<std::string> linear_layers(const Checkpoint& checkpoint) {
  std::vector<std::string> layers;
  for (const std::string& name : checkpoint.tensor_names()) {
    if (!name.ends_with(".weight") || name.find("embed") != std::string::npos || name.starts_with("lm_head")) continue;
    if (is_router(name)) continue;  // of some thousand values, on which all else depends
    if (checkpoint.tensor(name).shape().rank() == 2) layers.push_back(name.substr(0, name.size() - 7));
  }
  return layers;
}

void check_gptq_shape(const std::string& layer, const Shape& shape, const GptqOptions& options) {
  const int64_t each = 32 / options.bits;
  if (shape[0] % each || shape[1] % each)
    throw Error(layer + " is " + shape.text() + ": its sides are no multiples of " + std::to_string(each) +
                    ", the integers in a word",
                "choose another --type");
}

void write_gptq_layer(const fs::path& path, const std::string& layer, const GroupQuantised& g) {
  const int64_t each = 32 / g.bits;
  SafetensorsWriter out(path, {{"format", "pt"}});
  const auto add = [&](const char* part, DType dtype, std::vector<int64_t> size, const auto& values) {
    out.add(layer + part, dtype, std::move(size), [&values](const ByteSink& sink) { give(sink, values); });
  };
  const std::vector<int32_t> words = pack_down(g), zeros = pack_zeros(g);
  const std::vector<uint16_t> scales = scale_halves(g);
  add(".qweight", DType::kI32, {g.cols / each, g.rows}, words);
  add(".qzeros", DType::kI32, {g.groups, g.rows / each}, zeros);
  add(".g_idx", DType::kI32, {g.cols}, g.g_idx);
  add(".scales", DType::kF16, {g.groups, g.rows}, scales);
  out.finish();
}

namespace {

// A tensor of f16, changed before it is written.
void add_adjusted(SafetensorsWriter& out, const StoredTensor& halves, const TensorAdjuster& adjust) {
  out.add(halves.name, DType::kF16, halves.shape, [&halves, adjust](const ByteSink& sink) {
    const auto* const stored = static_cast<const uint16_t*>(halves.data);
    std::vector<float> values(halves.bytes / sizeof(uint16_t));
    for (size_t i = 0; i < values.size(); ++i) values[i] = f16_to_f32(stored[i]);
    adjust(halves.name, values);
    std::vector<uint16_t> changed(values.size());
    for (size_t i = 0; i < values.size(); ++i) changed[i] = f32_to_f16(values[i]);
    give(sink, changed);
  });
}

}  // namespace

void write_gptq_folder(const fs::path& folder, const Checkpoint& checkpoint, const GptqOptions& options,
                       const std::function<fs::path(const std::string& layer)>& part_of, const TensorAdjuster& adjust,
                       uint64_t max_shard_bytes) {
  NewModelFolder made(folder);
  const std::vector<std::string> layers = sorted_layers(checkpoint);
  SafetensorsWriter out(made.path() / "model.safetensors", {{"format", "pt"}}, max_shard_bytes);
  std::vector<std::unique_ptr<SafetensorsFile>> parts;  // mapped, not read, until they are copied
  for (const std::string& layer : layers) {
    parts.push_back(std::make_unique<SafetensorsFile>(part_of(layer)));
    for (const std::string& name : parts.back()->names()) {
      const StoredTensor& tensor = parts.back()->get(name);
      if (adjust && name.ends_with(".scales"))
        add_adjusted(out, tensor, adjust);
      else
        out.add(tensor);
    }
  }
  add_plain(out, checkpoint, layers, stored_values(checkpoint), adjust);
  out.finish();
  const Json quantisation = {{"quant_method", "gptq"},           {"bits", options.bits},
                             {"group_size", options.group_size}, {"desc_act", options.desc_act},
                             {"sym", options.symmetric},         {"damp_percent", options.damp_percent},
                             {"checkpoint_format", "gptq"},      {"lm_head", false}};
  write_folder_description(made.path(), checkpoint, "float16", quantisation.dump());
  made.commit();
}

void write_nf4_folder(const fs::path& folder, const Checkpoint& checkpoint, ThreadPool& pool,
                      const FolderOptions& options) {
  NewModelFolder made(folder);
  const TensorReader read = options.read ? options.read : stored_values(checkpoint);
  const std::vector<std::string> layers = sorted_layers(checkpoint);
  SafetensorsWriter out(made.path() / "model.safetensors", {{"format", "pt"}}, options.max_shard_bytes);
  Progress progress("quantising", layers.size());
  for (const std::string& layer : layers) {
    const std::string name = layer + ".weight";
    const Shape shape = checkpoint.tensor(name).shape();
    const int64_t count = shape.count(), blocks = count / kNf4Block;
    if (count % kNf4Block) throw Error(layer + " is " + shape.text() + ", no whole number of blocks of 64 values");
    // The state is text of a length that must be known before: computed now, and again for each part when it is written, so that memory
    // stays at one layer.
    const Nf4Quantised first = quantise_nf4(pool, read(name).data(), count);
    const std::string state = nf4_state(first, shape);
    const auto add = [&](const std::string& part, DType dtype, std::vector<int64_t> size, auto make) {
      out.add(name + part, dtype, std::move(size), [read, &pool, name, count, make](const ByteSink& sink) {
        give(sink, make(quantise_nf4(pool, read(name).data(), count)));
      });
    };
    add("", DType::kU8, {count / 2, 1}, [](const Nf4Quantised& q) { return q.packed; });
    add(".absmax", DType::kU8, {blocks}, [](const Nf4Quantised& q) { return q.scales; });
    add(".nested_absmax", DType::kF32, {(blocks + kNf4ScalesBlock - 1) / kNf4ScalesBlock},
        [](const Nf4Quantised& q) { return q.scales_scales; });
    out.add(name + ".nested_quant_map", DType::kF32, {256},
            producer_of(dynamic_values().data(), sizeof(dynamic_values())));
    out.add(name + ".quant_map", DType::kF32, {16}, producer_of(kNf4Values.data(), sizeof(kNf4Values)));
    out.add(name + ".quant_state.bitsandbytes__nf4", DType::kU8, {int64_t(state.size())},
            [state](const ByteSink& sink) { sink(state.data(), state.size()); });
    progress.advance(1);
  }
  add_plain(out, checkpoint, layers, read);
  out.finish();
  const Json quantisation = {{"quant_method", "bitsandbytes"},
                             {"load_in_4bit", true},
                             {"load_in_8bit", false},
                             {"bnb_4bit_quant_type", "nf4"},
                             {"bnb_4bit_use_double_quant", true},
                             {"bnb_4bit_compute_dtype", "bfloat16"},
                             {"bnb_4bit_quant_storage", "uint8"},
                             {"llm_int8_skip_modules", {"lm_head"}}};
  write_folder_description(made.path(), checkpoint, "float16", quantisation.dump());
  made.commit();
}

void write_int8_folder(const fs::path& folder, const Checkpoint& checkpoint, const FolderOptions& options) {
  NewModelFolder made(folder);
  const TensorReader read = options.read ? options.read : stored_values(checkpoint);
  const std::vector<std::string> layers = sorted_layers(checkpoint);
  SafetensorsWriter out(made.path() / "model.safetensors", {{"format", "pt"}}, options.max_shard_bytes);
  for (const std::string& layer : layers) {
    const std::string name = layer + ".weight";
    const Shape shape = checkpoint.tensor(name).shape();
    const auto rows = [read, name, shape] { return quantise_rows(read(name), shape[0], shape[1]); };
    out.add(name, DType::kI8, sizes(shape), [rows](const ByteSink& sink) { give(sink, rows().q); });
    out.add(layer + ".SCB", DType::kF32, {shape[0]}, [rows](const ByteSink& sink) { give(sink, rows().scales); });
    static constexpr uint8_t kRowMajor = 0;  // bitsandbytes' number for the plain order
    out.add(layer + ".weight_format", DType::kU8, {}, producer_of(&kRowMajor, 1));
  }
  add_plain(out, checkpoint, layers, read);
  out.finish();
  const Json quantisation = {{"quant_method", "bitsandbytes"},
                             {"load_in_4bit", false},
                             {"load_in_8bit", true},
                             {"llm_int8_threshold", 6.0},
                             {"llm_int8_skip_modules", {"lm_head"}}};
  write_folder_description(made.path(), checkpoint, "float16", quantisation.dump());
  made.commit();
}

}  // namespace sedum
