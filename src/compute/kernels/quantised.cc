#include "compute/kernels/quantised.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/outliers.h"
#include "compute/kernels/quantised_packed.h"

namespace sedum {
namespace {

const QuantisedKernels& kernels() {
  switch (isa()) {
    case Isa::kPortable:
      return kQuantisedPortable;
    case Isa::kAvx2:
      return kQuantisedAvx2;
    case Isa::kAvx512:
      return kQuantisedAvx512;
    case Isa::kAvx512Bf16:
    case Isa::kAmx:
      return kQuantisedAvx512Bf16;
  }
  return kQuantisedPortable;
}

// Quantised activations that stay in half of a core's L2 while the panels pass by; no more was measured to help. With all of Zen 3's
// 512 KiB, 512 rows of 576 on one thread took 12 to 30 % more time, by the kernel.
size_t row_block_bytes() {
  static const size_t bytes = [] {
    const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);  // 0 or −1: unknown
    return l2 > 0 ? std::clamp(size_t(l2) / 2, size_t{64} << 10, size_t{512} << 10) : size_t{256} << 10;
  }();
  return bytes;
}

// Grows, is kept by its thread, and is never shared with a call that could run meanwhile.
enum class Holds { kActivations, kPanel };
template <Holds>
uint8_t* scratch(size_t bytes) {
  thread_local Buffer buffer;
  if (buffer.size() < bytes) buffer = Buffer(), buffer = Buffer(bytes);
  return buffer.as<uint8_t>();
}

size_t wide_bytes(const PackedInt8& w) {
  size_t bytes = 0;
  with_panel_block(w.format(), [&]<class B>(B*) { bytes = Panel<Wide<B>>::bytes(w.cols()); });
  return bytes;
}

struct Product {
  const PackedInt8* w;
  MutableMatrix y;
  bool accumulate;
  size_t begin;  // bytes of panels before it
};

// Rows cut into tiles of even height: 512 = 39 × 12 + 4 × 11, without a small rest.
struct Tiles {
  int64_t count, low, extra;
  Tiles(int64_t rows, int highest) : count((rows + highest - 1) / highest), low(rows / count), extra(rows % count) {}
  int64_t first(int64_t tile) const { return tile * low + std::min(tile, extra); }
  int height(int64_t tile) const { return int(first(tile + 1) - first(tile)); }
  int64_t highest() const { return low + (extra > 0); }
};

template <class T>
T* cell(MutableMatrix y, int64_t row, int64_t col) {
  return reinterpret_cast<T*>(static_cast<char*>(y.data) + size_t(row) * y.row_bytes) + col;
}

// A tile's results to where they are rounded to bf16, added to what is there, or fewer than 16 columns.
void store(const float* tile, int rows, int columns, MutableMatrix y, int64_t row, int64_t col, bool accumulate) {
  for (int r = 0; r < rows; ++r, tile += kPanelColumns) {
    if (y.dtype == DType::kF32) {
      float* const to = cell<float>(y, row + r, col);
      for (int c = 0; c < columns; ++c) to[c] = accumulate ? to[c] + tile[c] : tile[c];
    } else {
      bf16* const to = cell<bf16>(y, row + r, col);
      for (int c = 0; c < columns; ++c) to[c] = bf16(accumulate ? float(to[c]) + tile[c] : tile[c]);
    }
  }
}

// Everything a thread does for one call.
class Work {
 public:
  Work(ThreadPool& pool, ConstMatrix x, std::span<const Product> products, size_t panel_bytes)
      : pool_(pool),
        x_(x),
        products_(products),
        panel_bytes_(panel_bytes),
        tiles_(x.rows, highest_tile(products[0].w->cut)) {
    const size_t tile = activation_bytes(tiles_.highest(), x.cols);
    const int kib = products[0].w->cut.block_kib;
    const size_t block = kib > 0 ? size_t(kib) << 10 : row_block_bytes();
    tiles_at_once_ = tile ? std::clamp<int64_t>(int64_t(block / tile), 1, tiles_.count) : tiles_.count;
    block_bytes_ = size_t(tiles_at_once_) * tile;
    int64_t columns = 0;
    for (const Product& product : products) columns += product.w->rows();
    // Quantising a row costs as much as 28 columns of a product. Where that is little beside a thread's columns, each thread quantises
    // all rows for itself: no barrier, and no line written by one core and read by another (350 ns each).
    alone_ = columns >= int64_t{kAloneColumns} * pool.size();
    if (!alone_) shared_ = scratch<Holds::kActivations>(block_bytes_);
  }

  void run(int thread) {
    uint8_t* const rows = alone_ ? scratch<Holds::kActivations>(block_bytes_) : shared_;
    for (int64_t from = 0; from < tiles_.count; from += tiles_at_once_) {
      const int64_t to = std::min(tiles_.count, from + tiles_at_once_);
      if (alone_) {
        quantise(from, to, 0, 1, rows);
      } else {
        if (from > 0) pool_.barrier();
        quantise(from, to, thread, pool_.size(), rows);
        pool_.barrier();
      }
      // A thread takes the panels that begin within its part of all the bytes: contiguous ones, because with alternate panels two
      // threads reached half the bandwidth.
      const size_t begin = panel_bytes_ * size_t(thread) / size_t(pool_.size());
      const size_t end = panel_bytes_ * size_t(thread + 1) / size_t(pool_.size());
      for (const Product& product : products_) multiply(product, begin, end, from, to, rows);
    }
  }

 private:
  static constexpr int kAloneColumns = 256;

  int highest_tile(ProductCut cut) const {
    return cut.tile_rows > 0 ? std::min(cut.tile_rows, kernels_.highest_tile) : kernels_.highest_tile;
  }

  uint8_t* place(uint8_t* rows, int64_t from, int64_t tile) const {
    return rows + activation_bytes(tiles_.first(tile) - tiles_.first(from), x_.cols);
  }

  void quantise(int64_t from, int64_t to, int part, int parts, uint8_t* rows) const {
    for (int64_t tile = from + part; tile < to; tile += parts) {
      const char* const x = static_cast<const char*>(x_.data) + size_t(tiles_.first(tile)) * x_.row_bytes;
      kernels_.quantise(x_.dtype, x, x_.row_bytes, tiles_.height(tile), x_.cols, place(rows, from, tile));
    }
  }

  void multiply(const Product& product, size_t begin, size_t end, int64_t from, int64_t to, uint8_t* rows) const {
    const PackedInt8& w = *product.w;
    const int64_t panels = w.panels();
    if (panels == 0) return;
    const auto panel_at = [&](size_t byte) {  // the first panel that begins at or after `byte` of all
      if (byte <= product.begin) return int64_t{0};
      return std::min(panels, int64_t((byte - product.begin + w.split_bytes() - 1) / w.split_bytes()));
    };
    const int wide_from = kernels_.wide_from[w.format()];
    const bool widens = wide_from > 0 && to - from >= wide_from;
    const auto& tile_kernels = widens ? kernels_.wide_tiles[w.format()] : kernels_.tiles[w.format()];
    uint8_t* const wide = widens ? scratch<Holds::kPanel>(wide_bytes(w)) : nullptr;
    for (int64_t panel = panel_at(begin), last = panel_at(end); panel < last; ++panel) {
      const int64_t column = panel * kPanelColumns;
      const int columns = int(std::min<int64_t>(kPanelColumns, w.rows() - column));
      if (widens) kernels_.widen[w.format()](w.panel(panel), x_.cols, wide);
      const uint8_t* const weights = widens ? wide : w.panel(panel);
      const bool direct = columns == kPanelColumns && product.y.dtype == DType::kF32 && !product.accumulate;
      for (int64_t tile = from; tile < to; ++tile) {
        const int height = tiles_.height(tile);
        const auto kernel = tile_kernels[height - 1];
        if (direct) {
          kernel(place(rows, from, tile), weights, x_.cols, cell<float>(product.y, tiles_.first(tile), column),
                 product.y.row_bytes);
        } else {
          alignas(64) float results[kHighestTile * kPanelColumns];
          kernel(place(rows, from, tile), weights, x_.cols, results, kPanelColumns * sizeof(float));
          store(results, height, columns, product.y, tiles_.first(tile), column, product.accumulate);
        }
      }
    }
  }

  const QuantisedKernels& kernels_ = kernels();
  ThreadPool& pool_;
  ConstMatrix x_;
  std::span<const Product> products_;
  size_t panel_bytes_;
  Tiles tiles_;
  int64_t tiles_at_once_ = 0;
  size_t block_bytes_ = 0;
  bool alone_ = false;
  uint8_t* shared_ = nullptr;
};

bool is_value_type(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16; }

void check(ConstMatrix x, const PackedProduct& product, const PackedInt8* w) {
  constexpr const char* where = "product_packed_int8";
  const auto shape = [](int64_t rows, int64_t cols) {
    return "(" + std::to_string(rows) + ", " + std::to_string(cols) + ")";
  };
  if (!w) throw ApiError(where, "the weights were not packed by pack_int8");
  if (!is_value_type(x.dtype) || !is_value_type(product.y.dtype))
    throw ApiError(where,
                   std::string("x and y must be f32 or bf16, not ") + name(x.dtype) + " and " + name(product.y.dtype));
  if (x.cols != w->cols() || product.y.rows != x.rows || product.y.cols != w->rows())
    throw ApiError(where, "shapes do not fit: x " + shape(x.rows, x.cols) + ", W " + shape(w->rows(), w->cols()) +
                              ", y " + shape(product.y.rows, product.y.cols));
}

}  // namespace

int highest_product_tile() { return kernels().highest_tile; }

void product_packed_int8(ThreadPool& pool, ConstMatrix x, std::span<const PackedProduct> given) {
  const auto keeps = [](const PackedProduct& each) {
    const auto* w = dynamic_cast<const PackedInt8*>(&each.w);
    return w && w->outlier_threshold > 0;
  };
  if (std::none_of(given.begin(), given.end(), keeps)) return multiply_packed_int8(pool, x, given);
  for (const PackedProduct& each : given) {
    if (keeps(each))
      product_packed_outliers(pool, x, each.w, each.y, each.accumulate);
    else
      multiply_packed_int8(pool, x, {&each, 1});
  }
}

void multiply_packed_int8(ThreadPool& pool, ConstMatrix x, std::span<const PackedProduct> given) {
  constexpr size_t kAtOnce = 8;  // a layer has at most three beside each other
  for (; given.size() > kAtOnce; given = given.subspan(kAtOnce)) multiply_packed_int8(pool, x, given.first(kAtOnce));
  Product products[kAtOnce];
  size_t bytes = 0;
  for (size_t i = 0; i < given.size(); ++i) {
    const auto* w = dynamic_cast<const PackedInt8*>(&given[i].w);
    check(x, given[i], w);
    products[i] = {w, given[i].y, given[i].accumulate, bytes};
    bytes += size_t(w->panels()) * w->split_bytes();
  }
  if (x.rows == 0 || bytes == 0) return;
  Work work(pool, x, std::span(products, given.size()), bytes);
  pool.run([&](int thread) { work.run(thread); });
}

}  // namespace sedum
