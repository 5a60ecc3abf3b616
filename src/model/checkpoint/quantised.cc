#include "model/checkpoint/quantised.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/arena.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "compute/dtype/blocks.h"
#include "compute/dtype/nf4.h"

namespace sedum {
namespace {

constexpr const char* kMend = "the file is damaged, or of a variant that is not known here";
constexpr const char* kNf4State = ".quant_state.bitsandbytes__nf4";
constexpr int64_t kLargest = int64_t{1} << 31;  // values of one matrix along a side

// A part with the type and number of values that it must have.
template <class T>
const T* part(const TensorSource& source, const std::string& name, DType dtype, int64_t count) {
  const StoredTensor& t = source.get(name);
  if (t.dtype != dtype || t.bytes != row_bytes(dtype, count))
    throw Error(source.where() + ": " + printable(name) + " is " + sedum::name(t.dtype) + " " + shape_text(t.shape) +
                    ", " + std::to_string(count) + " values of " + sedum::name(dtype) + " are wanted",
                kMend);
  return static_cast<const T*>(t.data);
}

Tensor owned(DType dtype, const Shape& shape, std::shared_ptr<Buffer> buffer) {
  const void* const data = buffer->as();
  return Tensor::external(dtype, shape, data, std::move(buffer));
}

std::shared_ptr<Buffer> room(DType dtype, int64_t rows, int64_t cols) {
  return std::make_shared<Buffer>(size_t(rows) * row_bytes(dtype, cols));
}

// ---- bitsandbytes NF4: packed nibbles, absmax as f32 or as 8 bits with a second level, and a state in JSON.
struct Nf4State {
  int64_t rows = 0, cols = 0, block = 64, nested_block = 0;  // nested_block 0: absmax is f32
  float offset = 0;
};

Nf4State parse_state(const TensorSource& source, const std::string& name) {
  const StoredTensor& t = source.get(name + kNf4State);
  const auto fail = [&](const char* what) {
    throw Error(source.where() + ": " + printable(t.name) + ": " + what, kMend);
  };
  if (t.dtype != DType::kU8 || t.bytes > 65536) fail("no quantisation state");
  const auto json = try_parse_json(std::string_view(static_cast<const char*>(t.data), t.bytes));
  Nf4State s;
  try {
    if (json.at("quant_type") != "nf4") fail("not NF4");
    const auto shape = json.at("shape").get<std::vector<int64_t>>();
    if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || shape[0] > kLargest || shape[1] > kLargest)
      fail("no shape of a matrix");
    s.rows = shape[0], s.cols = shape[1], s.block = json.at("blocksize").get<int64_t>();
    if (s.block < 32 || s.block > 4096 || s.block % 2) fail("a block of a size that is not known");
    if (json.contains("nested_blocksize")) {
      s.nested_block = json.at("nested_blocksize").get<int64_t>();
      s.offset = json.at("nested_offset").get<float>();
      if (s.nested_block < 1 || s.nested_block > 65536) fail("a nested block of a size that is not known");
    }
  } catch (const nlohmann::json::exception&) {
    fail("its state is no JSON with shape and block size");
  }
  return s;
}

std::vector<float> read_absmax(const TensorSource& source, const std::string& name, const Nf4State& s) {
  const int64_t blocks = (s.rows * s.cols + s.block - 1) / s.block;
  if (s.nested_block == 0) {
    const float* values = part<float>(source, name + ".absmax", DType::kF32, blocks);
    return {values, values + blocks};
  }
  const auto* q = part<uint8_t>(source, name + ".absmax", DType::kU8, blocks);
  const float* nested =
      part<float>(source, name + ".nested_absmax", DType::kF32, (blocks + s.nested_block - 1) / s.nested_block);
  const float* map = part<float>(source, name + ".nested_quant_map", DType::kF32, 256);
  std::vector<float> scales(static_cast<size_t>(blocks));
  for (int64_t i = 0; i < blocks; ++i) scales[size_t(i)] = map[q[i]] * nested[i / s.nested_block] + s.offset;
  return scales;
}

Tensor read_nf4(const TensorSource& source, const std::string& name) {
  const Nf4State s = parse_state(source, name);
  const int64_t count = s.rows * s.cols;
  const auto* packed = part<uint8_t>(source, name, DType::kU8, (count + 1) / 2);
  const float* map = part<float>(source, name + ".quant_map", DType::kF32, 16);
  const std::vector<float> scales = read_absmax(source, name, s);
  const bool usual = std::equal(map, map + 16, kNf4Values.begin());
  if (usual && s.block == kNf4Block && s.cols % kNf4Block == 0) {
    auto buffer = room(kNF4, s.rows, s.cols);
    auto* blocks = buffer->as<BlockNF4>();
    for (size_t b = 0; b < scales.size(); ++b)
      std::memcpy(blocks[b].qs, packed + 32 * b, 32), blocks[b].set_scale(scales[b]);
    return owned(kNF4, {s.rows, s.cols}, std::move(buffer));
  }
  auto buffer = room(DType::kF32, s.rows, s.cols);
  auto* to = buffer->as<float>();
  for (int64_t i = 0; i < count; ++i)
    to[i] = map[i % 2 ? packed[i / 2] & 15 : packed[i / 2] >> 4] * scales[size_t(i / s.block)];
  return owned(DType::kF32, {s.rows, s.cols}, std::move(buffer));
}

// ---- bitsandbytes int8: a scale for each row, the largest magnitude.
Tensor read_int8(const TensorSource& source, const std::string& name) {
  const StoredTensor& t = source.get(name);
  if (t.dtype != DType::kI8 || t.shape.size() != 2)
    throw Error(source.where() + ": " + printable(name) + " is no matrix of 8-bit integers", kMend);
  const int64_t rows = t.shape[0], cols = t.shape[1];
  const std::string stem = name.substr(0, name.size() - 6);
  const float* scales = part<float>(source, stem + "SCB", DType::kF32, rows);
  auto buffer = room(DType::kF32, rows, cols);
  auto* to = buffer->as<float>();
  const auto* q = static_cast<const int8_t*>(t.data);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) to[r * cols + c] = float(q[r * cols + c]) * (scales[r] / 127);
  return owned(DType::kF32, {rows, cols}, std::move(buffer));
}

// ---- GPTQ and AWQ: integers of some bits in words of 32, scales and zero points for each group of columns.
struct Packed {
  int64_t rows = 0, cols = 0, groups = 0;
  std::vector<uint8_t> q, zeros;  // (cols, rows), (groups, rows)
  std::vector<float> scales;      // (groups, rows)
  std::vector<int32_t> g_idx;     // (cols)
  bool in_order = true;           // group = column / group size
  int64_t group_size = 0;
};

std::vector<float> read_scales(const TensorSource& source, const std::string& name, int64_t count) {
  const StoredTensor& t = source.get(name);
  if (info(t.dtype).quantised || t.dtype == DType::kF64 || t.bytes != row_bytes(t.dtype, count) ||
      (t.dtype != DType::kF16 && t.dtype != DType::kBF16 && t.dtype != DType::kF32))
    throw Error(source.where() + ": " + printable(name) + " is no table of " + std::to_string(count) + " scales",
                kMend);
  std::vector<float> scales(static_cast<size_t>(count));
  decode(t.dtype, t.data, scales.data(), count);
  return scales;
}

int64_t side(const TensorSource& source, const StoredTensor& t, size_t dimension, int64_t times) {
  if (t.shape.size() != 2 || t.shape[dimension] < 1 || t.shape[dimension] > kLargest / times)
    throw Error(source.where() + ": " + printable(t.name) + " is " + shape_text(t.shape) + ", no packed matrix", kMend);
  return t.shape[dimension] * times;
}

Packed read_gptq_parts(const TensorSource& source, const std::string& stem, const QuantisedFormat& format) {
  const int each = 32 / format.bits;
  const uint32_t mask = (1u << format.bits) - 1;
  Packed p;
  const StoredTensor& qweight = source.get(stem + "qweight");
  p.cols = side(source, qweight, 0, each), p.rows = side(source, qweight, 1, 1);
  p.group_size = format.group_size > 0 ? format.group_size : p.cols;
  p.groups = (p.cols + p.group_size - 1) / p.group_size;
  if (p.rows % each)
    throw Error(source.where() + ": " + printable(stem) + " has " + std::to_string(p.rows) + " rows, no multiple of " +
                    std::to_string(each),
                kMend);
  const auto* words = part<int32_t>(source, stem + "qweight", DType::kI32, p.cols / each * p.rows);
  const auto* zeros = part<int32_t>(source, stem + "qzeros", DType::kI32, p.groups * p.rows / each);
  p.scales = read_scales(source, stem + "scales", p.groups * p.rows);
  p.q.resize(size_t(p.cols * p.rows)), p.zeros.resize(size_t(p.groups * p.rows)), p.g_idx.resize(size_t(p.cols));
  for (int64_t k = 0; k < p.cols; ++k)
    for (int64_t n = 0; n < p.rows; ++n)
      p.q[size_t(k * p.rows + n)] = uint8_t(uint32_t(words[k / each * p.rows + n]) >> k % each * format.bits & mask);
  for (int64_t i = 0; i < p.groups * p.rows; ++i) {
    const uint32_t stored = uint32_t(zeros[i / each]) >> i % each * format.bits & mask;
    p.zeros[size_t(i)] = uint8_t(format.zeros_less_one ? (stored + 1) & 255 : stored);
  }
  const bool listed = source.find(stem + "g_idx") != nullptr;
  const int32_t* g = listed ? part<int32_t>(source, stem + "g_idx", DType::kI32, p.cols) : nullptr;
  for (int64_t k = 0; k < p.cols; ++k) {
    const int64_t group = g ? g[k] : k / p.group_size;
    if (group < 0 || group >= p.groups)
      throw Error(source.where() + ": " + printable(stem) + "g_idx names group " + std::to_string(group) + " of " +
                      std::to_string(p.groups),
                  kMend);
    p.g_idx[size_t(k)] = int32_t(group), p.in_order &= group == k / p.group_size;
  }
  return p;
}

// AutoAWQ "gemm": words hold eight columns of the transposed matrix in this order.
constexpr std::array<int, 8> kAwqOrder = {0, 2, 4, 6, 1, 3, 5, 7};

Packed read_awq_parts(const TensorSource& source, const std::string& stem, const QuantisedFormat& format) {
  if (format.bits != 4)
    throw Error(source.where() + ": AWQ of " + std::to_string(format.bits) + " bits is not known here");
  Packed p;
  const StoredTensor& qweight = source.get(stem + "qweight");
  p.cols = side(source, qweight, 0, 1), p.rows = side(source, qweight, 1, 8);
  p.group_size = format.group_size > 0 ? format.group_size : p.cols;
  p.groups = (p.cols + p.group_size - 1) / p.group_size;
  const auto* words = part<int32_t>(source, stem + "qweight", DType::kI32, p.cols * p.rows / 8);
  const auto* zeros = part<int32_t>(source, stem + "qzeros", DType::kI32, p.groups * p.rows / 8);
  p.scales = read_scales(source, stem + "scales", p.groups * p.rows);
  const auto unpack = [&](const int32_t* from, int64_t lines, std::vector<uint8_t>& to) {
    to.resize(size_t(lines * p.rows));
    for (int64_t w = 0; w < lines * p.rows / 8; ++w)
      for (int i = 0; i < 8; ++i) to[size_t(w * 8 + kAwqOrder[size_t(i)])] = uint8_t(uint32_t(from[w]) >> 4 * i & 15);
  };
  unpack(words, p.cols, p.q), unpack(zeros, p.groups, p.zeros);
  p.g_idx.resize(size_t(p.cols));
  for (int64_t k = 0; k < p.cols; ++k) p.g_idx[size_t(k)] = int32_t(k / p.group_size);
  return p;
}

bool all_are(const std::vector<uint8_t>& zeros, int zero) {
  return std::all_of(zeros.begin(), zeros.end(), [&](uint8_t z) { return z == zero; });
}
// As f16, so that a block can hold them.
bool are_halves(const std::vector<float>& scales) {
  return std::all_of(scales.begin(), scales.end(), [](float s) { return f16_to_f32(f32_to_f16(s)) == s; });
}

template <class B, class Put>
Tensor as_blocks(const Packed& p, Put put) {
  auto buffer = room(B::kType, p.rows, p.cols);
  for (int64_t n = 0; n < p.rows; ++n)
    for (int64_t b = 0; b < p.cols / 32; ++b) {
      B& block = buffer->template as<B>()[n * (p.cols / 32) + b];
      block.d.set(p.scales[size_t(p.g_idx[size_t(32 * b)] * p.rows + n)]);
      uint8_t q[32];
      for (int i = 0; i < 32; ++i) q[i] = p.q[size_t((32 * b + i) * p.rows + n)];
      put(block, q);
    }
  return owned(B::kType, {p.rows, p.cols}, std::move(buffer));
}

Tensor from_packed(const Packed& p, int bits) {
  const bool blocks = p.in_order && p.group_size % 32 == 0 && p.cols % 32 == 0 && are_halves(p.scales);
  if (blocks && bits == 4 && all_are(p.zeros, 8))
    return as_blocks<BlockQ4_0>(p, [](BlockQ4_0& block, const uint8_t* q) { block.set_quants(q); });
  if (blocks && bits == 8 && all_are(p.zeros, 128))
    return as_blocks<BlockQ8_0>(p, [](BlockQ8_0& block, const uint8_t* q) {
      for (int i = 0; i < 32; ++i) block.qs[i] = int8_t(int(q[i]) - 128);
    });
  auto buffer = room(DType::kF32, p.rows, p.cols);
  auto* to = buffer->as<float>();
  for (int64_t k = 0; k < p.cols; ++k) {
    const size_t g = size_t(p.g_idx[size_t(k)] * p.rows);
    for (int64_t n = 0; n < p.rows; ++n)
      to[n * p.cols + k] =
          p.scales[g + size_t(n)] * float(int(p.q[size_t(k * p.rows + n)]) - int(p.zeros[g + size_t(n)]));
  }
  return owned(DType::kF32, {p.rows, p.cols}, std::move(buffer));
}

std::string stem_of(const std::string& name) {
  return name.ends_with(".weight") ? name.substr(0, name.size() - 6) : "";
}

}  // namespace

QuantisedFormat read_quantisation(const nlohmann::json& config, const std::string& where) {
  QuantisedFormat f;
  const auto found = config.find("quantization_config");
  if (found == config.end() || found->is_null()) return f;
  try {
    const auto method = found->at("quant_method").get<std::string>();
    if (method == "bitsandbytes") {
      f.method = QuantisedFormat::Method::kBitsandbytes;
      if (found->value("load_in_8bit", false)) f.int8_outliers = found->value("llm_int8_threshold", 6.0f);
      if (!(f.int8_outliers >= 0))
        throw Error(where + ": llm_int8_threshold is below 0", "6 is usual; 0 switches it off");
      return f;
    }
    if (method == "gptq")
      f.method = QuantisedFormat::Method::kGptq;
    else if (method == "awq")
      f.method = QuantisedFormat::Method::kAwq;
    else
      throw Error(where + ": weights quantised by \"" + printable(method) + "\" are not known here",
                  "take a model in bitsandbytes, GPTQ or AWQ form, or the plain one");
    f.bits = found->at("bits").get<int>(), f.group_size = found->at("group_size").get<int64_t>();
    f.zeros_less_one = found->value("checkpoint_format", "gptq") != "gptq_v2";
    if (method == "awq" && found->value("version", "gemm") != "gemm" && found->value("version", "GEMM") != "GEMM")
      throw Error(where + ": AWQ of another version than gemm is not known here");
    if ((f.bits != 2 && f.bits != 4 && f.bits != 8) || f.group_size > kLargest || f.group_size == 0 ||
        f.group_size < -1)
      throw Error(where + ": " + std::to_string(f.bits) + " bits in groups of " + std::to_string(f.group_size) +
                  " are not known here");
  } catch (const nlohmann::json::exception&) {
    throw Error(where + ": quantization_config lacks quant_method, bits or group_size", "fetch config.json again");
  }
  return f;
}

QuantisedFormat read_quantisation(const std::filesystem::path& folder) {
  const std::filesystem::path config = folder / "config.json";
  if (!std::filesystem::exists(config)) return {};
  return read_quantisation(try_parse_json(read_file(config)), config.string());
}

bool has_quantised(const TensorSource& source, const std::string& name) {
  const std::string stem = stem_of(name);
  if (stem.empty()) return false;
  return source.find(name + kNf4State) || source.find(stem + "SCB") || source.find(stem + "qweight");
}

Tensor read_quantised(const TensorSource& source, const std::string& name, const QuantisedFormat& format) {
  const std::string stem = stem_of(name);
  if (source.find(name + kNf4State)) return read_nf4(source, name);
  if (source.find(stem + "SCB")) return read_int8(source, name);
  if (format.method == QuantisedFormat::Method::kGptq)
    return from_packed(read_gptq_parts(source, stem, format), format.bits);
  if (format.method == QuantisedFormat::Method::kAwq) return from_packed(read_awq_parts(source, stem, format), 4);
  throw Error(source.where() + ": " + printable(stem) + "qweight: config.json does not say how it is quantised",
              "its quantization_config must name gptq or awq");
}

namespace {

constexpr std::string_view kParts[] = {".qweight",
                                       ".qzeros",
                                       ".scales",
                                       ".g_idx",
                                       ".SCB",
                                       ".weight_format",
                                       ".weight.absmax",
                                       ".weight.nested_absmax",
                                       ".weight.nested_quant_map",
                                       ".weight.quant_map",
                                       ".weight.quant_state.bitsandbytes__nf4"};

// The matrix that a tensor is a part of; "" if it is none.
std::string matrix_of(const std::string& part) {
  for (const std::string_view suffix : kParts)
    if (part.ends_with(suffix)) return part.substr(0, part.size() - suffix.size()) + ".weight";
  return "";
}

class AssembledSource : public TensorSource {
 public:
  AssembledSource(std::unique_ptr<TensorSource> source, const QuantisedFormat& format)
      : state_(std::make_shared<State>()), format_(format) {
    state_->source = std::move(source);
    for (const std::string& name : state_->source->names()) {
      const std::string matrix = matrix_of(name), whole = matrix.empty() ? name : matrix;
      if (state_->seen.insert(whole).second) names_.push_back(whole);
    }
  }
  const std::vector<std::string>& names() const override { return names_; }
  const StoredTensor* find(std::string_view view) const override {
    const std::string name(view);
    const std::lock_guard lock(state_->mutex);
    if (const auto made = state_->made.find(name); made != state_->made.end()) return &made->second.stored;
    if (!has_quantised(*state_->source, name)) return state_->source->find(name);
    Made made{read_quantised(*state_->source, name, format_), {}};
    const Tensor& t = made.tensor;
    made.stored = {name, t.dtype(), {t.size(0), t.size(1)}, t.raw(), t.bytes()};
    return &state_->made.emplace(name, std::move(made)).first->second.stored;
  }
  std::shared_ptr<const void> owner() const override { return state_; }
  std::string where() const override { return state_->source->where(); }

 private:
  struct Made {
    Tensor tensor;
    StoredTensor stored;
  };
  struct State {
    std::unique_ptr<TensorSource> source;
    std::set<std::string> seen;
    std::mutex mutex;  // of `made`
    std::map<std::string, Made> made;
  };
  std::shared_ptr<State> state_;
  QuantisedFormat format_;
  std::vector<std::string> names_;
};

}  // namespace

std::shared_ptr<const TensorSource> assembled(std::unique_ptr<TensorSource> source, const QuantisedFormat& format) {
  if (format.method == QuantisedFormat::Method::kNone) return source;
  return std::make_shared<AssembledSource>(std::move(source), format);
}

}  // namespace sedum
