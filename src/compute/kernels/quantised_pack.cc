// Repacking stored rows into panels, and back. Both walk a record at a time: 16 rows' values in 4 KiB, which stays in L1.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "compute/dtype/table_blocks.h"
#include "compute/kernels/quantised.h"
#include "compute/kernels/quantised_packed.h"

namespace sedum {
namespace {

using Word = uint64_t;  // eight values at once
constexpr Word repeated(uint8_t byte) { return 0x0101010101010101u * byte; }

// A line of 64 bytes as eight words; memcpy, because lines are bytes elsewhere.
struct Line {
  Word words[8];
};
Line load(const uint8_t* p) {
  Line line;
  std::memcpy(&line, p, sizeof line);
  return line;
}
void store(const Line& line, uint8_t* p) { std::memcpy(p, &line, sizeof line); }

// lines: the record's values, unsigned, 16 columns × 4 k in each 64 bytes.
template <class B>
void pack_lines(const uint8_t* lines, uint8_t* record) {
  using P = Panel<B>;
  constexpr int kGroups = P::kRecord / 4;
  uint8_t* const low = record + P::kHead;
  if constexpr (B::kBits == 8) {
    std::memcpy(low, lines, size_t(kGroups) * 64);
    return;
  }
  for (int g = 0; g < kGroups; g += 2) {
    Line even = load(lines + 64 * g);
    const Line odd = load(lines + 64 * g + 64);
    for (int i = 0; i < 8; ++i) even.words[i] = (even.words[i] & repeated(15)) | (odd.words[i] & repeated(15)) << 4;
    store(even, low + 32 * g);
  }
  constexpr int kHighBits = B::kBits - 4, kShare = kHighBits > 0 ? 8 / kHighBits : 1;  // groups in a line of high bits
  if constexpr (kHighBits > 0) {
    for (int g = 0; g < kGroups; g += kShare) {
      Line high{};
      for (int s = 0; s < kShare; ++s) {
        const Line line = load(lines + 64 * (g + s));
        for (int i = 0; i < 8; ++i) {
          const Word bits = line.words[i] >> 4 & repeated((1 << kHighBits) - 1);
          const Word moved = bits << kHighBits * s;  // within |=, GCC 12's sanitizer takes it for another index
          high.words[i] |= moved;
        }
      }
      store(high, low + P::kLow + 64 * g / kShare);
    }
  }
}

void put(StoredHalf half, uint8_t* to) { to[0] = half.low, to[1] = half.high; }
StoredHalf negated(StoredHalf half) { return {half.low, uint8_t(half.high ^ 128)}; }

// Scales of column c; b: the block's place in the record.
template <class B>
void pack_scales(const B& block, int b, int c, uint8_t* record) {
  put(block.d, record + 32 * b + 2 * c);
  if constexpr (B::kType == DType::kQ6_K) {
    for (int s = 0; s < 16; ++s) record[64 + 16 * s + c] = uint8_t(block.scales[s]);
  } else if constexpr (B::kValues == 256) {
    put(negated(block.dmin), record + 32 + 2 * c);
    for (int s = 0; s < 8; ++s) {
      record[64 + 16 * s + c] = uint8_t(block.scales.scale(s));
      record[Panel<B>::kMinima + 16 * s + c] = uint8_t(block.scales.minimum(s));
    }
  } else if constexpr (B::kHasMinimum) {
    put(block.m, record + Panel<B>::kMinima + 32 * b + 2 * c);
  }
}

// Rows [0, columns) of `rows` into one panel of zeroed memory.
template <class B>
void pack_panel(const std::byte* rows, size_t row_bytes, int columns, int64_t k, uint8_t* record) {
  using P = Panel<B>;
  constexpr int kBlocks = P::kRecord / B::kValues;
  const int64_t blocks = k / B::kValues;
  alignas(64) uint8_t lines[P::kRecord * 16] = {};
  uint8_t q[P::kRecord] = {};
  for (int64_t at = 0; at < blocks; at += kBlocks, record += P::kBytes) {
    const int here = int(std::min<int64_t>(kBlocks, blocks - at));
    for (int c = 0; c < columns; ++c) {
      const B* const from = reinterpret_cast<const B*>(rows + size_t(c) * row_bytes) + at;
      for (int b = 0; b < here; ++b) from[b].quants(q + b * B::kValues), pack_scales(from[b], b, c, record);
      for (int g = 0; g < here * B::kValues / 4; ++g) std::memcpy(lines + 64 * g + 4 * c, q + 4 * g, 4);
    }
    if (here < kBlocks) std::memset(lines + here * B::kValues * 16, 0, size_t((kBlocks - here) * B::kValues * 16));
    pack_lines<B>(lines, record);
  }
}

template <class B>
int stored_value(const uint8_t* record, int j, int c) {  // k j of the record
  using P = Panel<B>;
  const int g = j / 4, at = 4 * c + j % 4;
  const uint8_t* const low = record + P::kHead;
  if constexpr (B::kBits == 8) return low[64 * g + at];
  int q = low[64 * (g / 2) + at] >> 4 * (g % 2) & 15;
  constexpr int kHighBits = B::kBits - 4;
  if constexpr (kHighBits > 0) {
    constexpr int kShare = 8 / kHighBits;
    q |= (low[P::kLow + 64 * (g / kShare) + at] >> kHighBits * (g % kShare) & ((1 << kHighBits) - 1)) << 4;
  }
  return q;
}

template <class B>
float value_at(const uint8_t* record, int j, int c) {
  using P = Panel<B>;
  const auto half = [&](int at) { return f16_to_f32(uint16_t(record[at + 2 * c] | record[at + 2 * c + 1] << 8)); };
  const int b = j / B::kSub;
  const float scale = !P::kKQuant                ? half(32 * b)
                      : B::kType == DType::kQ6_K ? half(0) * float(int8_t(record[64 + 16 * b + c]))
                                                 : half(0) * float(record[64 + 16 * b + c]);
  const float value = scale * float(stored_value<B>(record, j, c) - B::kZero);
  if constexpr (!B::kHasMinimum)
    return value;
  else if constexpr (P::kKQuant)
    return value + half(32) * float(record[P::kMinima + 16 * b + c]);
  else
    return value + half(P::kMinima + 32 * b);
}

template <class B>
void unpack_row(const uint8_t* record, int c, int64_t k, float* to) {
  for (int64_t at = 0; at < k; record += Panel<B>::kBytes)
    for (int j = 0; j < Panel<B>::kRecord && at < k; ++j, ++at) to[at] = value_at<B>(record, j, c);
}

// What a format is packed as: plain values are rounded to Q8_0; of those that have no panels of their own some are held exactly by
// another one, at more bits.
DType panel_type(DType dtype) {
  if (dtype == kIQ4_NL || dtype == kMXFP4) return DType::kQ8_0;  // f16 scale · 8-bit table value
  if (dtype == kQ3_K) return DType::kQ6_K;                       // f16 scale · signed scale of 16 · 3 of 6 bits
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return DType::kQ8_0;
    default:
      return dtype;
  }
}

bool all_scales_are_halves(const ConstMatrix& w) {
  for (int64_t r = 0; r < w.rows; ++r) {
    const auto* blocks =
        reinterpret_cast<const BlockMXFP4*>(static_cast<const std::byte*>(w.data) + size_t(r) * w.row_bytes);
    for (int64_t b = 0; b < w.cols / 32; ++b)
      if (f16_to_f32(f32_to_f16(blocks[b].scale(0))) != blocks[b].scale(0)) return false;
  }
  return true;
}

template <class B>
void to_q8(const std::byte* from, int64_t k, std::byte* to) {
  const B* blocks = reinterpret_cast<const B*>(from);
  auto* out = reinterpret_cast<BlockQ8_0*>(to);
  for (int64_t b = 0; b < k / 32; ++b) {
    uint8_t q[32];
    blocks[b].quants(q), out[b].d.set(blocks[b].scale(0));
    for (int i = 0; i < 32; ++i) out[b].qs[i] = int8_t(int(q[i]) - B::kZero);
  }
}

// A row as the type that it is packed as. `values`: room for it as floats.
void convert_row(DType dtype, const std::byte* from, int64_t k, float* values, std::byte* to) {
  if (dtype == kIQ4_NL) return to_q8<BlockIQ4_NL>(from, k, to);
  if (dtype == kMXFP4) return to_q8<BlockMXFP4>(from, k, to);
  if (dtype == kQ3_K) {
    for (int64_t b = 0; b < k / 256; ++b) {
      const BlockQ3_K& block = reinterpret_cast<const BlockQ3_K*>(from)[b];
      BlockQ6_K& out = reinterpret_cast<BlockQ6_K*>(to)[b];
      uint8_t q[256];
      block.quants(q);
      for (uint8_t& value : q) value = uint8_t(value + BlockQ6_K::kZero - BlockQ3_K::kZero);
      out.set_quants(q), out.d = block.d;
      for (int i = 0; i < 16; ++i) out.scales[i] = int8_t(block.integer_scale(i));
    }
    return;
  }
  decode(dtype, from, values, k);
  encode(DType::kQ8_0, values, to, k);
}

}  // namespace

void BlockQ7::encode(const float* from, BlockQ7* to, int64_t n) {
  constexpr int kMost = kZero - 1;
  constexpr float kWhole =
      12582912;  // 1.5 · 2^23: added and taken off again it rounds to the nearest integer, ties to even
  for (int64_t b = 0; b < n / kValues; ++b, from += kValues) {
    float top = 0;
    bool finite = true;
    for (int i = 0; i < kValues; ++i) top = std::max(top, std::abs(from[i])), finite &= std::isfinite(from[i]);
    to[b].d.set(finite ? top / kMost : std::numeric_limits<float>::quiet_NaN());
    // Of tiny blocks the scale is 0 as f16, or the inverse infinite.
    const float inverse = finite && top >= 0x1p-100f ? kMost / top : 0;
    for (int i = 0; i < kValues; ++i) to[b].qs[i] = int8_t(int(finite ? from[i] * inverse + kWhole - kWhole : 0));
  }
}

PackedInt8::PackedInt8(int format, int64_t rows, int64_t cols, const std::byte* panels,
                       std::shared_ptr<const void> owner)
    : format_(format), rows_(rows), cols_(cols), owner_(std::move(owner)) {
  with_panel_block(format, [&]<class B>(B*) { panel_bytes_ = Panel<B>::bytes(cols); });
  base_ = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(panels));  // read only from here on
}

PackedInt8::PackedInt8(int format, int64_t rows, int64_t cols) : PackedInt8(format, rows, cols, nullptr, nullptr) {
  panels_ = Buffer(bytes());
  base_ = panels_.as<uint8_t>();
}

std::unique_ptr<PackedMatrix> packed_int8_from(DType dtype, int64_t rows, int64_t cols,
                                               std::span<const std::byte> panels, std::shared_ptr<const void> owner) {
  if (panel_format(dtype) < 0 || rows < 0 || cols < 0 || cols % info(dtype).block != 0) return nullptr;
  auto packed = std::make_unique<PackedInt8>(panel_format(dtype), rows, cols, panels.data(), std::move(owner));
  if (packed->bytes() != panels.size()) return nullptr;
  return packed;
}

PackedPanels packed_int8_panels(const PackedMatrix& w) {
  const auto* packed = dynamic_cast<const PackedInt8*>(&w);
  if (!packed) throw ApiError("packed_int8_panels", "the weights were not packed by pack_int8");
  if (packed->format() == kTransposedFormat) throw ApiError("packed_int8_panels", "these are panels of a transpose");
  return {kPanelTypes[packed->format()], {reinterpret_cast<const std::byte*>(packed->panel(0)), packed->bytes()}};
}

void set_product_cut(PackedMatrix& w, ProductCut cut) {
  auto* packed = dynamic_cast<PackedInt8*>(&w);
  if (!packed) throw ApiError("set_product_cut", "the weights were not packed by pack_int8");
  packed->cut = cut;
}

std::unique_ptr<PackedMatrix> pack_int8(ThreadPool& pool, ConstMatrix w, bool fill) {
  const DType dtype = panel_type(w.dtype);
  const bool plain = dtype != w.dtype;
  if (panel_format(dtype) < 0 || w.cols % kActivationBlock != 0 || w.cols % info(dtype).block != 0) return nullptr;
  if (w.dtype == kMXFP4 && fill && !all_scales_are_halves(w)) return nullptr;
  auto packed = std::make_unique<PackedInt8>(panel_format(dtype), w.rows, w.cols);
  if (!fill || w.cols == 0) return packed;
  const size_t rounded_bytes = row_bytes(dtype, w.cols);
  pool.parallel_for(packed->panels(), [&](int64_t begin, int64_t end) {
    std::vector<std::byte> rounded(plain ? rounded_bytes * kPanelColumns : 0);
    std::vector<float> values(plain ? size_t(w.cols) : 0);
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kPanelColumns;
      const int columns = int(std::min<int64_t>(kPanelColumns, w.rows - first));
      const std::byte* rows = static_cast<const std::byte*>(w.data) + size_t(first) * w.row_bytes;
      size_t stride = w.row_bytes;
      if (plain) {
        for (int c = 0; c < columns; ++c) {
          convert_row(w.dtype, rows + size_t(c) * stride, w.cols, values.data(), &rounded[size_t(c) * rounded_bytes]);
        }
        rows = rounded.data(), stride = rounded_bytes;
      }
      with_block_type(dtype, [&]<class B>(B*) { pack_panel<B>(rows, stride, columns, w.cols, packed->panel(panel)); });
    }
  });
  return packed;
}

std::unique_ptr<PackedMatrix> pack_int8_transposed(ThreadPool& pool, ConstMatrix w, bool fill) {
  using B = BlockQ7;
  constexpr int kBlocks = Panel<B>::kRecord / B::kValues;
  constexpr int64_t kStrip = 256;  // columns of W at a time: a whole block of any format, and 64 KiB of values
  if (w.rows % kActivationBlock != 0 || w.cols % info(w.dtype).block != 0) return nullptr;
  auto packed = std::make_unique<PackedInt8>(kTransposedFormat, w.cols, w.rows);
  if (!fill || w.rows == 0 || w.cols == 0) return packed;
  pool.parallel_for((w.cols + kStrip - 1) / kStrip, [&](int64_t begin, int64_t end) {
    std::vector<float> values(size_t(Panel<B>::kRecord * kStrip));
    float column[Panel<B>::kRecord];
    B blocks[kPanelColumns][kBlocks];
    for (int64_t first = begin * kStrip; first < std::min(end * kStrip, w.cols); first += kStrip) {
      const int64_t width = std::min(kStrip, w.cols - first);
      for (int64_t row = 0; row < w.rows; row += Panel<B>::kRecord) {
        const int64_t height = std::min<int64_t>(Panel<B>::kRecord, w.rows - row);
        for (int64_t r = 0; r < height; ++r)
          decode(w.dtype, static_cast<const char*>(w.data) + size_t(row + r) * w.row_bytes + row_bytes(w.dtype, first),
                 &values[size_t(r * kStrip)], width);
        for (int64_t at = 0; at < width; at += kPanelColumns) {
          const int columns = int(std::min<int64_t>(kPanelColumns, width - at));
          for (int c = 0; c < columns; ++c) {
            for (int64_t r = 0; r < height; ++r) column[r] = values[size_t(r * kStrip + at + c)];
            B::encode(column, blocks[c], height);
          }
          pack_panel<B>(reinterpret_cast<const std::byte*>(blocks), sizeof blocks[0], columns, height,
                        packed->panel((first + at) / kPanelColumns) + row / Panel<B>::kRecord * Panel<B>::kBytes);
        }
      }
    }
  });
  return packed;
}

void unpack_int8_row(const PackedMatrix& w, int64_t row, float* to) {
  const auto* packed = dynamic_cast<const PackedInt8*>(&w);
  if (!packed) throw ApiError("unpack_int8_row", "the weights were not packed by pack_int8");
  if (row < 0 || row >= packed->rows()) throw ApiError("unpack_int8_row", "there is no row " + std::to_string(row));
  with_panel_block(packed->format(), [&]<class B>(B*) {
    unpack_row<B>(packed->panel(row / kPanelColumns), int(row % kPanelColumns), packed->cols(), to);
  });
}

void unpack_int8_column(const PackedMatrix& w, int64_t panel, int64_t k, float* to) {
  const auto* packed = dynamic_cast<const PackedInt8*>(&w);
  if (!packed) throw ApiError("unpack_int8_column", "the weights were not packed by pack_int8");
  if (panel < 0 || panel >= packed->panels() || k < 0 || k >= packed->cols())
    throw ApiError("unpack_int8_column", "there is no column " + std::to_string(k));
  with_panel_block(packed->format(), [&]<class B>(B*) {
    const uint8_t* const record = packed->panel(panel) + k / Panel<B>::kRecord * Panel<B>::kBytes;
    for (int c = 0; c < kPanelColumns; ++c) to[c] = value_at<B>(record, int(k % Panel<B>::kRecord), c);
  });
}

}  // namespace sedum
