#pragma once
// The bf16 products on AMX tiles: the driver and the innermost loop.
//
// A tile instruction multiplies 16 rows × 32 values of A with 32 values × 16 columns of B in 16 cycles. Everything around it is dear in
// comparison: B is packed once for all rows, A for each group of panels, just before it is used.
//
//   group   panels of B, 32 columns each, that stay in L2: packed with the first strip, or packed beforehand
//   strip   32 rows of A, all of K: packed, then multiplied with one panel after the other
//   step    32 values along K: four tiles of sums, two of A, two of B
//
// Packed A is [16 rows][pieces of 32 values][16 rows][64 bytes]: a tile is one KiB in a row; tiles of rows as they are stored run at
// two thirds of the speed. Panels of B are those of AVX-512's driver. The sums stay in their tiles over all of K: passes over chunks of
// it, for panels that fit L1, cost more in sums than they saved. A sum goes piece by piece along K: the same bits for any number of
// rows and threads. In a piece the even values are summed, the odd ones, and then both are added to the sum (Intel SDM, TDPBF16PS);
// subnormals count as zero.

#include "compute/kernels/generic/products_driver.h"
#include "compute/kernels/simd/tile_config.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

constexpr int64_t kTileRows = 16, kStripRows = 32, kPieceFloats = 256;  // of a tile: 16 rows × 16 units
constexpr int64_t kGroupBytes = 1 << 20, kGroupPanels = 8;              // at least: A is packed for each

// The registers of tiles for a scope: in use they make every switch between threads dearer.
class TileRegisters {
 public:
  TileRegisters() { asm volatile("ldtilecfg %0" ::"m"(kWholeTiles) : "memory"); }
  ~TileRegisters() { asm volatile("tilerelease" ::: "memory"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// The intrinsics of GCC 12 do not say that they touch memory.
template <int kTile>
[[gnu::always_inline]] inline void load_tile(const float* p, int64_t row_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(row_bytes), "i"(kTile) : "memory");
}
template <int kTile>
[[gnu::always_inline]] inline void store_tile(float* p, int64_t row_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(row_bytes), "i"(kTile) : "memory");
}
template <int kTile>
[[gnu::always_inline]] inline void clear_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kSums, int kA, int kB>
[[gnu::always_inline]] inline void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kA), "i"(kB));
}

// One strip of kHalves · 16 rows against one panel: sums 0 to 3, A in 4 and 5, B in 6 and 7. The loads come first: interleaved with the
// multiplications they were a tenth slower. `far`: the panel comes from memory and is used once.
template <int kHalves>
void run_strip(const float* a, const float* b, int64_t pieces, float* sums, int64_t row_bytes, bool resume, bool far) {
  float* const lower = sums + 4 * row_bytes;  // 16 rows on, in floats
  const float* a_lower = a + pieces * kPieceFloats;
  if (resume) {
    load_tile<0>(sums, row_bytes), load_tile<1>(sums + 16, row_bytes);
    if constexpr (kHalves == 2) load_tile<2>(lower, row_bytes), load_tile<3>(lower + 16, row_bytes);
  } else {
    clear_tile<0>(), clear_tile<1>(), clear_tile<2>(), clear_tile<3>();
  }
  for (int64_t p = 0; p < pieces; ++p, a += kPieceFloats, a_lower += kPieceFloats, b += 2 * kPieceFloats) {
    if (far)
      for (int line = 0; line < 32; ++line) __builtin_prefetch(b + 16 * kPieceFloats + 16 * line, 0, 2);
    load_tile<6>(b, 128), load_tile<4>(a, 64), load_tile<7>(b + 16, 128);
    if constexpr (kHalves == 2) load_tile<5>(a_lower, 64);
    multiply_tiles<0, 4, 6>(), multiply_tiles<1, 4, 7>();
    if constexpr (kHalves == 2) multiply_tiles<2, 5, 6>(), multiply_tiles<3, 5, 7>();
  }
  store_tile<0>(sums, row_bytes), store_tile<1>(sums + 16, row_bytes);
  if constexpr (kHalves == 2) store_tile<2>(lower, row_bytes), store_tile<3>(lower + 16, row_bytes);
}

// Packing of A: rows row0 … row0 + 15 (zeros beyond `end`), all pieces.
using TilePacker = void (*)(const ConstMatrix&, int64_t row0, int64_t end, int64_t pieces, float* out);

template <class R>
void tiles_of_rows(const ConstMatrix& m, int64_t row0, int64_t end, int64_t pieces, float* out) {
  constexpr int value_bytes = sizeof(typename R::Value);
  for (int64_t i = 0; i < kTileRows; ++i, out += 16) {
    if (row0 + i >= end) {
      for (int64_t p = 0; p < pieces; ++p) Simd::store(out + p * kPieceFloats, Simd::zero());
      continue;
    }
    const std::byte* row = static_cast<const std::byte*>(m.data) + size_t(row0 + i) * m.row_bytes;
    const int64_t whole = m.cols / kPiece;
    Simd::I v[1];
    for (int64_t p = 0; p < whole; ++p) {
      row_units<PairUnits, R>(m, row, p * kPiece, v);
      Simd::store_bits(out + p * kPieceFloats, v[0]);
    }
    if (whole == pieces) continue;
    alignas(64) std::byte tail[kPiece * 4] = {};
    __builtin_memcpy(tail, row + whole * kPiece * value_bytes, size_t(m.cols - whole * kPiece) * value_bytes);
    row_units<PairUnits, R>(m, tail, 0, v);
    Simd::store_bits(out + whole * kPieceFloats, v[0]);
  }
}

// K runs down the rows: 16 columns of 32 rows become pairs, and then a tile.
template <class R>
void tiles_of_columns(const ConstMatrix& m, int64_t col, int64_t end, int64_t pieces, float* out) {
  constexpr int64_t value_bytes = sizeof(typename R::Value);
  const int64_t inside = end - col;
  const auto row = [&](int64_t k) { return static_cast<const std::byte*>(m.data) + size_t(k) * m.row_bytes; };
  for (int64_t p = 0; p < pieces; ++p, out += kPieceFloats) {
    Simd::I r[16];
    unroll<16>([&](auto u) __attribute__((always_inline)) {
      const int64_t k = p * kPiece + 2 * u;
      __builtin_prefetch(row(k + kRowsAhead) + col * value_bytes, 0, 2);
      __builtin_prefetch(row(k + 1 + kRowsAhead) + col * value_bytes, 0, 2);
      r[u] = PairUnits::zip_columns<R>(row(k), k < m.rows ? inside : 0, row(k + 1), k + 1 < m.rows ? inside : 0, col);
    });
    Simd::transpose(r);
    unroll<16>([&](auto i) __attribute__((always_inline)) { Simd::store_bits(out + i * 16, r[i]); });
  }
}

struct TileWork {
  int64_t m, n, pieces;
  const ConstMatrix* a;
  TilePacker pack_a;
  const ConstMatrix* b;
  PanelPacker pack_b;   // null: `panels` are there
  const float* panels;  // [panel][unit][32 columns]
  const MutableMatrix* c;
  bool accumulate;

  int64_t a_floats() const { return pieces * kPieceFloats; }  // of 16 rows
  int64_t panel_floats() const { return pieces * 2 * kPieceFloats; }
};

// As grid_for(), where packing is eight times dearer beside multiplying (7 columns there). An estimate, not tuned.
inline Grid tile_grid(const TileWork& w, int64_t threads) {
  constexpr double packing = 60;
  Grid best{1, threads};
  double least_cost = 0;
  for (int64_t down = 1; down <= threads; ++down) {
    if (threads % down) continue;
    const int64_t rows = (w.m + down - 1) / down,
                  panels = (round_up(w.n, kPiece) / kPiece * down + threads - 1) / threads;
    const double columns = double(panels * kPiece);
    const double cost =
        double(round_up(rows, kTileRows)) * columns + 15 * double(rows) + (w.pack_b ? packing : 8) * columns;
    if (down == 1 || cost < least_cost) best = {down, threads / down}, least_cost = cost;
  }
  return best;
}

// One thread's working memory, in floats: a strip of A, a group of panels, a strip's sums.
struct TileMemory {
  int64_t group_panels;
  int64_t a, panels, sums;
  int64_t floats() const { return a + panels + sums; }
};
inline TileMemory tile_memory(const TileWork& w, int64_t rows) {
  const int64_t fit = kGroupBytes / 4 / w.panel_floats(), group = rows <= kStripRows   ? 1
                                                                  : fit < kGroupPanels ? kGroupPanels
                                                                                       : fit;
  return {.group_panels = group,
          .a = kStripRows / kTileRows * w.a_floats(),
          .panels = w.pack_b ? group * w.panel_floats() + 16 : 0,
          .sums = kStripRows * kPiece};
}

// A strip of C, against one panel.
struct StripOfC {
  int64_t row, rows, col, cols;
};

// Results that are not f32, or of an incomplete strip, go by scratch.
inline void load_sums(const MutableMatrix& c, const StripOfC& s, float* sums) {
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.cols; ++j) sums[r * kPiece + j] = read_result(c, s.row + r, s.col + j);
}
inline void store_sums(const MutableMatrix& c, const StripOfC& s, const float* sums) {
  if (c.dtype == DType::kBF16 && s.cols == kPiece) {
    uint16_t* to = reinterpret_cast<uint16_t*>(static_cast<std::byte*>(c.data) + size_t(s.row) * c.row_bytes) + s.col;
    for (int64_t r = 0; r < s.rows; ++r, to += c.row_bytes / 2, sums += kPiece)
      Simd::store_bf16(to, Simd::load(sums), Simd::load(sums + Simd::lanes));
    return;
  }
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.cols; ++j) write_result(c, s.row + r, s.col + j, sums[r * kPiece + j]);
}

inline void multiply_strip(const TileWork& w, const StripOfC& s, const float* a, const float* panel, bool far,
                           float* scratch) {
  const bool direct = w.c->dtype == DType::kF32 && s.cols == kPiece && s.rows % kTileRows == 0;
  float* sums = scratch;
  if (direct)
    sums = reinterpret_cast<float*>(static_cast<std::byte*>(w.c->data) + size_t(s.row) * w.c->row_bytes) + s.col;
  else if (w.accumulate)
    load_sums(*w.c, s, sums);
  const auto run = s.rows > kTileRows ? &run_strip<2> : &run_strip<1>;
  run(a, panel, w.pieces, sums, direct ? int64_t(w.c->row_bytes) : kPiece * 4, w.accumulate, far);
  if (!direct) store_sums(*w.c, s, sums);
}

inline void run_tiles_thread(const TileWork& w, const Grid& grid, int64_t thread) {
  const int64_t down = thread / grid.across, across = thread % grid.across;
  const int64_t panels = round_up(w.n, kPiece) / kPiece, units = w.pieces * kTileRows;
  const int64_t first = panels * across / grid.across, last = panels * (across + 1) / grid.across;
  const int64_t row0 = w.m * down / grid.down, end = w.m * (down + 1) / grid.down;
  if (row0 == end || first == last) return;

  const TileMemory memory = tile_memory(w, end - row0);
  float* const a = reinterpret_cast<float*>(product_scratch(size_t(memory.floats()) * 4));
  float* const packed = a + memory.a;
  const bool far = !w.pack_b && end - row0 <= kStripRows;
  const TileRegisters registers;
  for (int64_t group = first; group < last; group += memory.group_panels)
    for (int64_t row = row0; row < end; row += kStripRows) {
      const int64_t rows = least(kStripRows, end - row);
      if (end - row0 > kStripRows || group == first)
        for (int64_t half = 0; half < rows; half += kTileRows)
          w.pack_a(*w.a, row + half, end, w.pieces, a + half / kTileRows * w.a_floats());
      for (int64_t p = group; p < least(group + memory.group_panels, last); ++p) {
        float* const own = packed + (p - group) * w.panel_floats();
        if (w.pack_b && row == row0) w.pack_b(*w.b, p * kPiece, 0, units, {0, units, kPiece}, units, own);
        multiply_strip(w, {row, rows, p * kPiece, least(kPiece, w.n - p * kPiece)}, a,
                       w.pack_b ? own : w.panels + p * w.panel_floats(), far, packed + memory.panels);
      }
    }
}

constexpr int64_t kTilesAlone = 1 << 20;  // kAlone, where a product takes an eighth of the time
inline int64_t tile_threads(const TileWork& w, int64_t threads) {
  return (w.m + 64) * (w.n + 64) * w.pieces * 16 < kTilesAlone ? 1 : threads;
}

inline void run_tiles(ThreadPool& pool, const TileWork& w) {
  const int64_t threads = tile_threads(w, pool.size());
  const Grid grid = tile_grid(w, threads);
  if (threads == 1)
    run_tiles_thread(w, grid, 0);
  else
    pool.run([&](int thread) { run_tiles_thread(w, grid, thread); });
}

inline TilePacker tile_packer(DType dtype, bool along_rows) {
  if (dtype == DType::kF32) return along_rows ? &tiles_of_rows<ReadF32> : &tiles_of_columns<ReadF32>;
  return along_rows ? &tiles_of_rows<ReadBF16> : &tiles_of_columns<ReadBF16>;
}

// What the table holds for bf16; f32 is the business of AVX-512.
struct TileProducts {
  static TileWork sizes(int64_t m, int64_t n, int64_t k) {
    return {.m = m,
            .n = n,
            .pieces = (k + kPiece - 1) / kPiece,
            .a = nullptr,
            .pack_a = nullptr,
            .b = nullptr,
            .pack_b = right_packer<PairUnits>(DType::kF32, true),
            .panels = nullptr,
            .c = nullptr,
            .accumulate = false};
  }
  // Terms one after the other: a strip of A is packed where its tiles are used, and is not there for a whole block of rows.
  static void multiply(ThreadPool& pool, Compute compute, Product product, const ConstMatrix& a,
                       const ProductTerm* terms, int count) {
    if (compute != Compute::kBF16) return kAvx512Bf16Products.multiply(pool, compute, product, a, terms, count);
    const bool a_along = product != Product::kTN, b_along = product == Product::kNT;
    for (int t = 0; t < count; ++t) {
      const ProductTerm& p = terms[t];
      TileWork work = sizes(p.c.rows, p.c.cols, a_along ? a.cols : a.rows);
      work.a = &a, work.pack_a = tile_packer(a.dtype, a_along);
      work.b = &p.b, work.pack_b = right_packer<PairUnits>(p.b.dtype, b_along);
      work.c = &p.c, work.accumulate = p.accumulate;
      run_tiles(pool, work);
    }
  }
  static void multiply_packed(ThreadPool& pool, Compute compute, const ConstMatrix& x, const void* panels,
                              const MutableMatrix& y, bool accumulate) {
    if (compute != Compute::kBF16) return kAvx512Bf16Products.multiply_packed(pool, compute, x, panels, y, accumulate);
    TileWork work = sizes(y.rows, y.cols, x.cols);
    work.a = &x, work.pack_a = tile_packer(x.dtype, true);
    work.pack_b = nullptr, work.panels = static_cast<const float*>(panels);
    work.c = &y, work.accumulate = accumulate;
    run_tiles(pool, work);
  }
  static ProductScratch scratch(int64_t threads, Compute compute, Product product, int64_t m, int64_t n, int64_t k,
                                DType result) {
    if (compute != Compute::kBF16) return kAvx512Bf16Products.scratch(threads, compute, product, m, n, k, result);
    const TileWork work = sizes(m, n, k);
    const int64_t used = tile_threads(work, threads), down = tile_grid(work, used).down;
    return {used, size_t(tile_memory(work, (m + down - 1) / down).floats()) * 4};
  }
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
