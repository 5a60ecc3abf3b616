#pragma once
// The bf16 products on AMX tiles: the driver and the innermost loop.
//
// A tile instruction multiplies 16 rows × 32 values of A with 32 values × 16 columns of B in 16 cycles, eight times what AVX-512 does.
// Everything around it costs eight times as much in comparison: B is packed once for all rows, and what a loop touches must lie near.
//
//   block   rows of A, packed whole (24 MB): one pass over B for each
//   group   panels of B, packed once and used by each part of the block; one panel where there is one part
//   part    rows of A that stay in L2 while the panels of a group pass by
//   chunk   of K: 32 columns of B that stay in L1 while the strips of a part pass by
//   strip   32 rows × 32 columns of C: four tiles of sums, two of A, two of B: 2 KiB of A from L2 for 64 cycles
//
// Packed A is [16 rows][pieces of 32 values][16 rows][64 bytes]: a tile is one KiB in a row. Panels of B are those of the driver of
// AVX-512. A sum goes piece by piece along K: the same bits for any number of rows, threads, chunks. In a piece the even values
// are summed, the odd ones, and then both are added to the sum (Intel SDM, TDPBF16PS); subnormals count as zero.

#include "compute/kernels/generic/products_driver.h"
#include "compute/kernels/simd/tile_config.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

constexpr int64_t kTileRows = 16, kStripRows = 32, kPieceFloats = 256;  // of a tile: 16 rows × 16 units
constexpr int64_t kChunkPieces = 12;
constexpr int64_t kPartBytes = 640 << 10, kGroupBytes = 1 << 20;

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

// One strip of kHalves · 16 rows over some pieces: sums 0 to 3, A in 4 and 5, B in 6 and 7.
template <int kHalves>
void run_strip(const float* a, int64_t a_half, const float* b, int64_t pieces, float* sums, int64_t stride, bool resume,
               bool far) {
  const int64_t row_bytes = stride * 4;
  if (resume) {
    load_tile<0>(sums, row_bytes), load_tile<1>(sums + 16, row_bytes);
    if constexpr (kHalves == 2)
      load_tile<2>(sums + 16 * stride, row_bytes), load_tile<3>(sums + 16 * stride + 16, row_bytes);
  } else {
    clear_tile<0>(), clear_tile<1>(), clear_tile<2>(), clear_tile<3>();
  }
  for (int64_t p = 0; p < pieces; ++p, a += kPieceFloats, b += 2 * kPieceFloats) {
    if (far)
      for (int line = 0; line < 32; ++line) __builtin_prefetch(b + 16 * kPieceFloats + 16 * line, 0, 2);
    load_tile<6>(b, 128);
    load_tile<4>(a, 64);
    multiply_tiles<0, 4, 6>();
    load_tile<7>(b + 16, 128);
    multiply_tiles<1, 4, 7>();
    if constexpr (kHalves == 2) {
      load_tile<5>(a + a_half, 64);
      multiply_tiles<2, 5, 6>();
      multiply_tiles<3, 5, 7>();
    }
  }
  store_tile<0>(sums, row_bytes), store_tile<1>(sums + 16, row_bytes);
  if constexpr (kHalves == 2)
    store_tile<2>(sums + 16 * stride, row_bytes), store_tile<3>(sums + 16 * stride + 16, row_bytes);
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

// Measured: packing a row or column of bf16 costs as much as multiplying it with 60 others.
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

// One thread's working memory, in floats.
struct TileMemory {
  int64_t block_rows, part_rows, group_panels;
  int64_t a, panels, sums;
  int64_t floats() const { return a + panels + sums; }
};
inline TileMemory tile_memory(const TileWork& w, int64_t rows) {
  const int64_t row_bytes = w.pieces * 64, tiles = round_up(rows, kTileRows);
  const auto rows_in = [&](int64_t bytes) {
    const int64_t fit = bytes / row_bytes / kStripRows * kStripRows;
    return fit < kStripRows ? kStripRows : fit;
  };
  const int64_t block = least(rows_in(kBlockBytes), tiles);
  const int64_t parts = (block + rows_in(kPartBytes) - 1) / rows_in(kPartBytes);
  const int64_t part = least(round_up((block + parts - 1) / parts, kStripRows), block);
  const int64_t fit = kGroupBytes / 4 / w.panel_floats(), group = parts == 1 ? 1 : fit < 1 ? 1 : fit;
  return {.block_rows = block,
          .part_rows = part,
          .group_panels = group,
          .a = block / kTileRows * w.a_floats(),
          .panels = w.pack_b ? group * w.panel_floats() + 16 : 0,
          .sums = part * kPiece + kStripRows * kPiece};
}

// Rows row0 … row0 + rows − 1 of C against one panel; their A is packed at `a`.
inline void run_panel(const TileWork& w, int64_t row0, int64_t rows, int64_t col, const float* a, const float* panel,
                      float* scratch) {
  const bool f32 = w.c->dtype == DType::kF32, whole = col + kPiece <= w.n, few = rows <= kStripRows;
  const int64_t cols = least(kPiece, w.n - col), chunks = (w.pieces + kChunkPieces - 1) / kChunkPieces;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t piece = w.pieces * chunk / chunks, count = w.pieces * (chunk + 1) / chunks - piece;
    for (int64_t i = 0; i < rows; i += kStripRows) {
      const int64_t height = least(kStripRows, rows - i);
      const bool direct = f32 && whole && (height == kStripRows || height == kTileRows);
      std::byte* const results = static_cast<std::byte*>(w.c->data) + size_t(row0 + i) * w.c->row_bytes;
      float* const sums = direct ? reinterpret_cast<float*>(results) + col : scratch + i * kPiece;
      if (chunk == 0 && w.accumulate && !direct)
        for (int64_t r = 0; r < height; ++r)
          for (int64_t j = 0; j < cols; ++j) sums[r * kPiece + j] = read_result(*w.c, row0 + i + r, col + j);
      const float* const strip = a + i / kTileRows * w.a_floats() + piece * kPieceFloats;
      const auto run = height > kTileRows ? &run_strip<2> : &run_strip<1>;
      run(strip, w.a_floats(), panel + piece * 2 * kPieceFloats, count, sums,
          direct ? int64_t(w.c->row_bytes / 4) : kPiece, chunk > 0 || w.accumulate, few);
      if (chunk + 1 < chunks || direct) continue;
      if (!f32 && whole) {
        for (int64_t r = 0; r < height; ++r)
          Simd::store_bf16(reinterpret_cast<uint16_t*>(results + size_t(r) * w.c->row_bytes) + col,
                           Simd::load(sums + r * kPiece), Simd::load(sums + r * kPiece + Simd::lanes));
      } else {
        for (int64_t r = 0; r < height; ++r)
          for (int64_t j = 0; j < cols; ++j) write_result(*w.c, row0 + i + r, col + j, sums[r * kPiece + j]);
      }
    }
  }
}

inline void run_tiles_thread(const TileWork& w, const Grid& grid, int64_t thread) {
  const int64_t down = thread / grid.across, across = thread % grid.across;
  const int64_t panels = round_up(w.n, kPiece) / kPiece;
  const int64_t first = panels * across / grid.across, last = panels * (across + 1) / grid.across;
  const int64_t row0 = w.m * down / grid.down, end = w.m * (down + 1) / grid.down;
  if (row0 == end || first == last) return;

  const TileMemory memory = tile_memory(w, end - row0);
  float* const a = reinterpret_cast<float*>(product_scratch(size_t(memory.floats()) * 4));
  float* const packed = a + memory.a;
  float* const scratch = packed + memory.panels;
  const TileRegisters registers;
  for (int64_t block = row0; block < end; block += memory.block_rows) {
    const int64_t block_end = least(block + memory.block_rows, end);
    for (int64_t row = block; row < block_end; row += kTileRows)
      w.pack_a(*w.a, row, block_end, w.pieces, a + (row - block) / kTileRows * w.a_floats());
    for (int64_t group = first; group < last; group += memory.group_panels) {
      const int64_t group_end = least(group + memory.group_panels, last);
      for (int64_t part = block; part < block_end; part += memory.part_rows)
        for (int64_t p = group; p < group_end; ++p) {
          const float* panel = w.panels + p * w.panel_floats();
          if (w.pack_b) {
            float* const own = packed + (p - group) * w.panel_floats();
            const int64_t units = w.pieces * kTileRows;
            if (part == block) w.pack_b(*w.b, p * kPiece, 0, units, {0, units, kPiece}, units, own);
            panel = own;
          }
          run_panel(w, part, least(memory.part_rows, block_end - part), p * kPiece,
                    a + (part - block) / kTileRows * w.a_floats(), panel, scratch);
        }
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
  static void multiply(ThreadPool& pool, Compute compute, Product product, const ConstMatrix& a, const ConstMatrix& b,
                       const MutableMatrix& c, bool accumulate) {
    if (compute == Compute::kF32) return kAvx512Bf16Products.multiply(pool, compute, product, a, b, c, accumulate);
    const bool a_along = product != Product::kTN, b_along = product == Product::kNT;
    TileWork work = sizes(c.rows, c.cols, a_along ? a.cols : a.rows);
    work.a = &a, work.pack_a = tile_packer(a.dtype, a_along);
    work.b = &b, work.pack_b = right_packer<PairUnits>(b.dtype, b_along);
    work.c = &c, work.accumulate = accumulate;
    run_tiles(pool, work);
  }
  static void multiply_packed(ThreadPool& pool, Compute compute, const ConstMatrix& x, const void* panels,
                              const MutableMatrix& y, bool accumulate) {
    if (compute == Compute::kF32) return kAvx512Bf16Products.multiply_packed(pool, compute, x, panels, y, accumulate);
    TileWork work = sizes(y.rows, y.cols, x.cols);
    work.a = &x, work.pack_a = tile_packer(x.dtype, true);
    work.pack_b = nullptr, work.panels = static_cast<const float*>(panels);
    work.c = &y, work.accumulate = accumulate;
    run_tiles(pool, work);
  }
  static ProductScratch scratch(int64_t threads, Compute compute, Product product, int64_t m, int64_t n, int64_t k,
                                DType result) {
    if (compute == Compute::kF32) return kAvx512Bf16Products.scratch(threads, compute, product, m, n, k, result);
    const TileWork work = sizes(m, n, k);
    const int64_t used = tile_threads(work, threads), down = tile_grid(work, used).down;
    return {used, size_t(tile_memory(work, (m + down - 1) / down).floats()) * 4};
  }
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
