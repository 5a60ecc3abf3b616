#pragma once
// The driver: how threads, row blocks, column groups and chunks of K follow each other.
//
// Threads share nothing that is written: each packs the part of A and of B that it needs. A cache line takes 350 ns between two virtual
// cores; A packed once for all threads cost 15 % at 1024 × 576 × 576. Each thread owns a rectangle of C; it packs A for a block of
// rows, all of K, then for each group of columns, chunk of K, pass over some rows and panel: packs the panel (or finds it) and runs through
// the strips.

#include "compute/kernels/generic/products_packing.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

// Units of K in one pass: a panel of 96 KiB streams from L2 without loss; 128-288 cost 3-8 % at K = 4096 for the passes over C.
constexpr int64_t kChunk = 768;
constexpr int64_t kGroup = 512;  // columns in one pass over the chunks: bounds the scratch of results that are not f32
// Rows of A packed at a time: 256 to 1024 are alike, the whole of a 16384 × 576 dW costs 2-8 % (A then streams from memory).
constexpr int64_t kBlockRows = 1024;
constexpr int64_t kBlockBytes = 24 << 20;  // of packed A for each thread
// Of packed A in one pass over the panels of a group: it stays in L2 while panels come from L3. All rows at once read A from L3 for each panel
// of 32 columns: 4 to 9 % at K = 4096 and at 49,152 columns.
constexpr int64_t kPassBytes = 224 << 10;
constexpr int64_t kFewUnits = 32;  // of a panel at a time when there are few rows: 4 KiB

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// How a right operand lies in memory: in panels, or with K along its rows or down them.
enum class Lies { kInPanels, kAlongRows, kDownRows };

// A right operand, and where its product with A goes.
struct Term {
  const ConstMatrix* b;
  Lies lies;
  PanelPacker pack_b;   // null: `panels` are there
  const float* panels;  // [panel][pair of vectors][units rounded up to pieces][two vectors]
  const MutableMatrix* c;
  bool accumulate;
  int64_t whole_panels() const { return round_up(c->cols, kPiece) / kPiece; }
};

struct Work {
  int64_t m, n, units;  // of the product as this kernel sees it: C (m,n), sums over `units`; n of all terms together
  const ConstMatrix* a;
  StripPacker pack_a;
  const Term* terms;  // side by side along n, each in whole panels
  int count;
  bool packs_b;
  bool halves;  // operands are rounded to f16 when they are packed
  const Tile* tiles;
  int64_t piece;  // units
};

// Packed operands, in place. `n` is a multiple of a piece or of a vector.
inline void round_halves(float* values, int64_t n) {
  for (int64_t i = 0; i < n; i += Simd::lanes) Simd::store(values + i, Simd::round_f16(Simd::load(values + i)));
}

// Threads as a grid over C: the one with the least work for the slowest thread, where packing a row or column costs as much as
// multiplying it with seven others (measured; a packed panel is only read).
struct Grid {
  int64_t down, across;
};
inline Grid grid_for(const Work& w, int64_t threads) {
  Grid best{1, threads};
  double least_cost = 0;
  for (int64_t down = 1; down <= threads; ++down) {
    if (threads % down) continue;
    const int64_t rows = (w.m + down - 1) / down,
                  panels = (round_up(w.n, kPiece) / kPiece * down + threads - 1) / threads;
    const double cost =
        double(rows) * double(panels * kPiece) + 7.0 * double(rows) + (w.packs_b ? 7.0 : 1.0) * double(panels * kPiece);
    if (down == 1 || cost < least_cost) best = {down, threads / down}, least_cost = cost;
  }
  return best;
}

// Where each panel meets A but a few times it is packed, used and forgotten: it stays in L2 (LoRA of the 135M shape 1.02 ×).
inline bool in_one_pass(const Work& w) { return w.units <= kChunk && w.n <= 8 * kGroup; }

inline float read_result(const MutableMatrix& c, int64_t row, int64_t col) {
  const std::byte* at = static_cast<const std::byte*>(c.data) + size_t(row) * c.row_bytes;
  return c.dtype == DType::kF32 ? reinterpret_cast<const float*>(at)[col]
                                : float(reinterpret_cast<const bf16*>(at)[col]);
}
inline void write_result(const MutableMatrix& c, int64_t row, int64_t col, float value) {
  std::byte* at = static_cast<std::byte*>(c.data) + size_t(row) * c.row_bytes;
  if (c.dtype == DType::kF32)
    reinterpret_cast<float*>(at)[col] = value;
  else
    reinterpret_cast<bf16*>(at)[col] = bf16(value);
}

// A rectangle of C on one thread: rows of one block, columns of one group, panels of C's own grid.
struct Rectangle {
  int64_t row0, rows, col0, cols;
};

// Sums in scratch stand for columns whose results can't be summed in place: all when C is bf16, the last incomplete pair of vectors
// when it is f32. `from` is the first such column.
inline void load_scratch(const MutableMatrix& c, const Rectangle& r, int64_t from, float* scratch) {
  for (int64_t i = 0; i < r.rows; ++i)
    for (int64_t j = from; j < r.cols; ++j) scratch[i * kGroup + j] = read_result(c, r.row0 + i, r.col0 + j);
}
inline void store_scratch(const MutableMatrix& c, const Rectangle& r, int64_t from, const float* scratch) {
  for (int64_t i = 0; i < r.rows; ++i)
    for (int64_t j = from; j < r.cols; ++j) write_result(c, r.row0 + i, r.col0 + j, scratch[i * kGroup + j]);
}

struct Range {
  int64_t begin, end;
};

// Some strips of a block against one pair of vectors of one panel.
inline void run_strips(const Work& w, const Term& t, const Strips& strips, const Range& pass, const Rectangle& r,
                       int64_t col, int64_t u, int64_t len, const float* a, const float* b, const Ahead& ahead,
                       float* scratch) {
  const bool f32 = t.c->dtype == DType::kF32, whole = col + kPair <= r.cols, last = u + len >= w.units;
  const int64_t room = round_up(len, w.piece);
  Destination to{};
  to.resume = u > 0 || t.accumulate;
  to.sums_stride = f32 && whole ? int64_t(t.c->row_bytes / 4) : kGroup;
  to.half_stride = int64_t(t.c->row_bytes / 2);
  const auto sums_at = [&](int64_t row) {
    return f32 && whole ? reinterpret_cast<float*>(static_cast<std::byte*>(t.c->data) + size_t(row) * t.c->row_bytes) +
                              r.col0 + col
                        : scratch + (row - r.row0) * kGroup + col;
  };
  for (int64_t s = pass.begin; s < pass.end; ++s) {
    const int64_t row = strips.row(s), height = strips.height(s);
    to.fetch = ahead.share(s - pass.begin, pass.end - pass.begin);
    to.sums = sums_at(row);
    to.next_sums = s + 1 < pass.end ? sums_at(row + height) : to.sums;
    to.half = !f32 && whole && last
                  ? reinterpret_cast<uint16_t*>(static_cast<std::byte*>(t.c->data) + size_t(row) * t.c->row_bytes) +
                        r.col0 + col
                  : nullptr;
    w.tiles[height - 1](a + strips.offset(s, room), b, len, to);
  }
}

// Columns col … col + 31 of C, units u … u + step − 1.
inline Ahead ahead_of(const Work& w, const Term& t, int64_t step, int64_t col, int64_t u) {
  const int64_t values = kPiece / w.piece;
  if (t.lies == Lies::kAlongRows) return ahead_as_stored(*t.b, col, kPiece, u * values, step * values);
  if (t.lies == Lies::kDownRows) return ahead_as_stored(*t.b, u * values, step * values, col, kPiece);
  return {};
}
// The panel after the one at column g + col, unit u: of the same group, of its next chunk, or of the next group.
inline Ahead ahead_after(const Work& w, const Term& t, int64_t step, int64_t g, int64_t col, int64_t col1, int64_t u) {
  if (col + kPiece < least(kGroup, col1 - g)) return ahead_of(w, t, step, g + col + kPiece, u);
  if (u + step < w.units) return ahead_of(w, t, step, g, u + step);
  return g + kGroup < col1 ? ahead_of(w, t, step, g + kGroup, 0) : Ahead{};
}

// A group's panels of one chunk, units u … u + len − 1, against some strips. The first pass packs them, later ones find them packed.
inline void run_pass(const Work& w, const Term& t, const Strips& strips, const Range& pass, const Rectangle& r,
                     int64_t step, int64_t col1, int64_t u, int64_t len, const float* a, float* panels,
                     float* scratch) {
  const int64_t all_units = round_up(w.units, w.piece), room = round_up(len, w.piece);
  const bool packs = t.pack_b && pass.begin == 0;
  for (int64_t col = 0; col < r.cols; col += kPiece) {
    float* const panel = in_one_pass(w) ? panels : panels + col * room;
    if (packs) t.pack_b(*t.b, r.col0 + col, u, len, {u, u + len, kPiece}, room, panel);
    if (packs && w.halves) round_halves(panel, room * kPiece);
    for (int64_t p = 0; p < kPiece / kPair && col + p * kPair < r.cols; ++p) {
      const float* const b =
          t.pack_b ? panel + p * room * kPair : t.panels + (r.col0 + col) * all_units + (p * all_units + u) * kPair;
      Ahead next = ahead_in_a_row(b + (t.pack_b ? room : all_units) * kPair, len * kPair * 4);
      if (packs) next = p > 0 ? Ahead{} : ahead_after(w, t, step, r.col0, col, col1, u);
      run_strips(w, t, strips, pass, r, col + p * kPair, u, len, a, b, next, scratch);
    }
  }
}

// C (block of rows, columns col0 … col1); A is packed, chunk after chunk.
inline void run_block(const Work& w, const Term& t, const Strips& strips, int64_t step, int64_t col0, int64_t col1,
                      const float* a, float* panels, float* scratch) {
  for (int64_t g = col0; g < col1; g += kGroup) {
    const Rectangle r{strips.row0, strips.rows, g, least(kGroup, col1 - g)};
    const int64_t in_scratch = t.c->dtype == DType::kF32 ? r.cols / kPair * kPair : 0;
    if (t.accumulate) load_scratch(*t.c, r, in_scratch, scratch);
    for (int64_t u = 0; u < w.units; u += step) {
      const int64_t len = least(step, w.units - u), strip_bytes = len * Simd::rows * 4;
      const int64_t fill = (strips.count * strip_bytes + kPassBytes - 1) / kPassBytes;
      const int64_t passes = in_one_pass(w) ? 1 : least(strips.count, fill);
      const float* const a_chunk = a + strips.rows * u + u / step * strips.count * Simd::lanes;
      for (int64_t i = 0; i < passes; ++i) {
        const Range pass{strips.count * i / passes, strips.count * (i + 1) / passes};
        run_pass(w, t, strips, pass, r, step, col1, u, len, a_chunk, panels, scratch);
      }
    }
    store_scratch(*t.c, r, t.c->dtype == DType::kF32 ? in_scratch : r.cols / kPair * kPair, scratch);
  }
}

// Equal chunks of whole pieces.
inline int64_t chunk_units(int64_t units, int64_t piece) {
  const int64_t chunks = (units + kChunk - 1) / kChunk;
  return round_up((units + chunks - 1) / chunks, piece);
}

// One thread's working memory, in floats: A packed for a block of rows and all of K, a panel of B, the sums of a group of columns.
struct ThreadMemory {
  int64_t step, blocks;  // of `rows` rows
  int64_t a, panel, sums;
  int64_t floats() const { return a + panel + sums; }
};
inline ThreadMemory memory_for(const Work& w, int64_t rows) {
  const int64_t step = chunk_units(w.units, w.piece), room = round_up(w.units, w.piece);
  int64_t block_rows = kBlockBytes / 4 / room / Simd::rows * Simd::rows;
  block_rows = least(kBlockRows, block_rows < 8 * Simd::rows ? 8 * Simd::rows : block_rows);
  const int64_t blocks = (rows + block_rows - 1) / block_rows, most_rows = (rows + blocks - 1) / blocks;
  const int64_t most_strips = (most_rows + Simd::rows - 1) / Simd::rows;
  return {.step = step,
          .blocks = blocks,
          .a = round_up(most_rows * room + (w.units / step + 1) * most_strips * Simd::lanes, 16),
          .panel = w.packs_b ? step * (in_one_pass(w) ? kPiece : least(kGroup, round_up(w.n, kPiece))) + 16 : 0,
          .sums = most_rows * kGroup};
}
inline ThreadMemory memory_for_few(const Work& w) {
  return {.step = kFewUnits,
          .blocks = 1,
          .a = round_up(w.m * round_up(w.units, w.piece) + Simd::lanes, 16),
          .panel = kFewUnits * kPiece + 16,
          .sums = w.m * kGroup};
}
inline float* take(const ThreadMemory& memory) {
  return reinterpret_cast<float*>(product_scratch(size_t(memory.floats()) * 4));
}

inline void run_thread(const Work& w, const Grid& grid, int64_t thread) {
  const int64_t down = thread / grid.across, across = thread % grid.across;
  const int64_t panels = round_up(w.n, kPiece) / kPiece;
  const int64_t first_panel = panels * across / grid.across, end_panel = panels * (across + 1) / grid.across;
  const int64_t row0 = w.m * down / grid.down, rows = w.m * (down + 1) / grid.down - row0;
  if (rows == 0 || first_panel >= end_panel) return;

  const ThreadMemory memory = memory_for(w, rows);
  const int64_t step = memory.step, blocks = memory.blocks;
  float* const a = take(memory);
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t first = row0 + rows * i / blocks, count = row0 + rows * (i + 1) / blocks - first;
    const Strips strips{first, count, (count + Simd::rows - 1) / Simd::rows};
    for (int64_t u = 0; u < w.units; u += step) {
      const int64_t room = round_up(least(step, w.units - u), w.piece);
      float* const chunk = a + count * u + u / step * strips.count * Simd::lanes;
      w.pack_a(*w.a, strips, u, room, chunk);
      if (w.halves) round_halves(chunk, count * room + strips.count * Simd::lanes);
    }
    int64_t before = 0;  // panels of earlier terms
    for (int t = 0; t < w.count; before += w.terms[t++].whole_panels()) {
      const Term& term = w.terms[t];
      const int64_t col0 = most(first_panel - before, 0) * kPiece,
                    col1 = least((end_panel - before) * kPiece, term.c->cols);
      if (col0 < col1) run_block(w, term, strips, step, col0, col1, a, a + memory.a, a + memory.a + memory.panel);
    }
  }
}

// One strip of rows, weights along rows: a panel is never whole; a little of it is packed into L1 and used while the next is on its
// way. One row costs what packing costs: 15 cycles for 32 bf16 weights (the transposition, and memory behind it), 16 for Q4_0.
inline void run_few(const Work& w, int64_t threads, int64_t thread) {
  const int64_t panels = round_up(w.n, kPiece) / kPiece, first = panels * thread / threads,
                end = panels * (thread + 1) / threads;
  if (first >= end) return;
  const Strips strips{0, w.m, 1};
  const int64_t room = round_up(w.units, w.piece);
  const ThreadMemory memory = memory_for_few(w);
  float* const a = take(memory);
  float* const panel = a + memory.a;
  float* const scratch = panel + memory.panel;
  w.pack_a(*w.a, strips, 0, room, a);
  if (w.halves) round_halves(a, w.m * room + Simd::lanes);
  const Term* term = w.terms;
  int64_t before = 0;  // panels of earlier terms
  for (int64_t p = first; p < end; ++p) {
    while (p - before >= term->whole_panels()) before += term++->whole_panels();
    const int64_t col = (p - before) * kPiece;
    const Rectangle r{0, w.m, col, least(kPiece, term->c->cols - col)};
    if (term->accumulate) load_scratch(*term->c, r, 0, scratch);
    Destination to{};
    to.sums_stride = kGroup;
    for (int64_t u = 0; u < w.units; u += kFewUnits) {
      const int64_t len = least(kFewUnits, w.units - u), piece_room = round_up(len, w.piece);
      term->pack_b(*term->b, r.col0, u, len, {0, w.units, kPiece}, piece_room, panel);
      if (w.halves) round_halves(panel, piece_room * kPiece);
      to.resume = u > 0 || term->accumulate;
      for (int64_t q = 0; q < kPiece / kPair; ++q) {
        to.sums = scratch + q * kPair, to.next_sums = to.sums;
        w.tiles[w.m - 1](a + u * w.m, panel + q * piece_room * kPair, len, to);
      }
    }
    store_scratch(*term->c, r, 0, scratch);
  }
}

// A parallel region takes some microseconds: what takes less (packing a row or column again counted as eight of the other side) stays
// on the caller.
constexpr int64_t kAlone = 1 << 18;

inline int64_t threads_for(const Work& w, int64_t threads) {
  return (w.m + 8) * (w.n + 8) * w.units < kAlone ? 1 : threads;
}

inline void run(ThreadPool& pool, const Work& w, bool few) {
  const int64_t threads = threads_for(w, pool.size());
  const Grid grid = grid_for(w, threads);
  const auto work = [&](int thread) {
    if (few)
      run_few(w, threads, thread);
    else
      run_thread(w, grid, thread);
  };
  if (threads == 1)
    work(0);
  else
    pool.run(work);
}

template <class Unit>
StripPacker left_packer(DType dtype, bool along_rows) {
  if (dtype == DType::kF32) return along_rows ? &strips_of_rows<Unit, ReadF32> : &strips_of_columns<Unit, ReadF32>;
  return along_rows ? &strips_of_rows<Unit, ReadBF16> : &strips_of_columns<Unit, ReadBF16>;
}
template <class Unit, class R>
PanelPacker right_packer(bool along_rows) {
  return along_rows ? &panel_of_rows<Unit, R> : &panel_of_columns<Unit, R>;
}
template <class Unit>
PanelPacker right_packer(DType dtype, bool along_rows) {
  if (dtype == kNF4) return right_packer<Unit, ReadTable<BlockNF4>>(along_rows);
  if (dtype == kQ2_K) return right_packer<Unit, ReadBlocks<BlockQ2_K>>(along_rows);
  if (dtype == kQ3_K) return right_packer<Unit, ReadBlocks<BlockQ3_K>>(along_rows);
  if (dtype == kIQ4_NL) return right_packer<Unit, ReadTable<BlockIQ4_NL>>(along_rows);
  if (dtype == kIQ4_XS) return right_packer<Unit, ReadTable<BlockIQ4_XS>>(along_rows);
  if (dtype == kMXFP4) return right_packer<Unit, ReadTable<BlockMXFP4>>(along_rows);
  switch (dtype) {
    case DType::kF32:
      return right_packer<Unit, ReadF32>(along_rows);
    case DType::kF16:
      return right_packer<Unit, ReadF16>(along_rows);
    case DType::kBF16:
      return right_packer<Unit, ReadBF16>(along_rows);
    case DType::kQ8_0:
      return right_packer<Unit, ReadBlocks<BlockQ8_0>>(along_rows);
    case DType::kQ4_0:
      return right_packer<Unit, ReadBlocks<BlockQ4_0>>(along_rows);
    case DType::kQ4_1:
      return right_packer<Unit, ReadBlocks<BlockQ4_1>>(along_rows);
    case DType::kQ5_0:
      return right_packer<Unit, ReadBlocks<BlockQ5_0>>(along_rows);
    case DType::kQ5_1:
      return right_packer<Unit, ReadBlocks<BlockQ5_1>>(along_rows);
    case DType::kQ4_K:
      return right_packer<Unit, ReadBlocks<BlockQ4_K>>(along_rows);
    case DType::kQ5_K:
      return right_packer<Unit, ReadBlocks<BlockQ5_K>>(along_rows);
    case DType::kQ6_K:
      return right_packer<Unit, ReadBlocks<BlockQ6_K>>(along_rows);
    default:
      return right_packer<Unit, ReadDecoded>(along_rows);
  }
}

template <class Unit>
void multiply(ThreadPool& pool, Product product, const ConstMatrix& a, const ProductTerm* products, int count,
              bool halves) {
  const bool a_along = product != Product::kTN, b_along = product == Product::kNT;
  const int64_t k = a_along ? a.cols : a.rows, m = products[0].c.rows;
  Term terms[kMostTerms];
  int64_t n = 0;
  for (int t = 0; t < count; ++t) {
    const ProductTerm& p = products[t];
    terms[t] = {.b = &p.b,
                .lies = b_along ? Lies::kAlongRows : Lies::kDownRows,
                .pack_b = right_packer<Unit>(p.b.dtype, b_along),
                .panels = nullptr,
                .c = &p.c,
                .accumulate = p.accumulate};
    n += count == 1 ? p.c.cols : round_up(p.c.cols, kPiece);
  }
  const Work work{.m = m,
                  .n = n,
                  .units = (k + Unit::values - 1) / Unit::values,
                  .a = &a,
                  .pack_a = left_packer<Unit>(a.dtype, a_along),
                  .terms = terms,
                  .count = count,
                  .packs_b = true,
                  .halves = halves,
                  .tiles = tiles<Unit>.of,
                  .piece = kPieceUnits<Unit>};
  run(pool, work, b_along && m <= Simd::rows);
}

// What each thread takes for a product of these sizes, operand types apart. Sums that go to C lie at the end of its memory, untouched.
template <class Unit>
ProductScratch scratch(int64_t threads, Product product, int64_t m, int64_t n, int64_t k, DType result) {
  const Work work{.m = m,
                  .n = n,
                  .units = (k + Unit::values - 1) / Unit::values,
                  .a = nullptr,
                  .pack_a = nullptr,
                  .terms = nullptr,
                  .count = 0,
                  .packs_b = true,
                  .halves = false,
                  .tiles = nullptr,
                  .piece = kPieceUnits<Unit>};
  const int64_t used = threads_for(work, threads), down = grid_for(work, used).down;
  if (product == Product::kNT && m <= Simd::rows) return {used, size_t(memory_for_few(work).floats()) * 4};
  ThreadMemory memory = memory_for(work, (m + down - 1) / down);
  if (result == DType::kF32 && n % kPair == 0) memory.sums = 0;
  return {used, size_t(memory.floats()) * 4};
}

// Panels of all columns, each over all of K.
template <class Unit>
void pack_panels(ThreadPool& pool, const ConstMatrix& w, void* panels, bool halves = false) {
  const int64_t units = (w.cols + Unit::values - 1) / Unit::values, room = round_up(units, kPieceUnits<Unit>);
  const PanelPacker pack = right_packer<Unit>(w.dtype, true);
  pool.parallel_for(round_up(w.rows, kPiece) / kPiece, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      if constexpr (std::is_same_v<Unit, RoundedUnits>) {
        float* wide = reinterpret_cast<float*>(product_scratch(size_t(room * kPiece + 16) * 4));
        pack(w, p * kPiece, 0, units, {0, units, kPiece}, room, wide);
        uint16_t* to = static_cast<uint16_t*>(panels) + p * room * kPiece;
        for (int64_t i = 0; i < room * kPiece; i += kPair)
          Simd::store_bf16(to + i, Simd::load(wide + i), Simd::load(wide + i + Simd::lanes));
      } else {
        float* const to = static_cast<float*>(panels) + p * room * kPiece;
        pack(w, p * kPiece, 0, units, {0, units, kPiece}, room, to);
        if (halves) round_halves(to, room * kPiece);
      }
    }
  });
}

template <class Unit>
void multiply_panels(ThreadPool& pool, const ConstMatrix& x, const void* panels, const MutableMatrix& y,
                     bool accumulate, bool f16 = false) {
  constexpr bool halves = std::is_same_v<Unit, RoundedUnits>;
  const int64_t units = (x.cols + Unit::values - 1) / Unit::values;
  const ConstMatrix stored{DType::kBF16, panels, y.cols, round_up(units, kPieceUnits<Unit>), 0};
  const Term term{.b = &stored,
                  .lies = Lies::kInPanels,
                  .pack_b = halves ? &panel_of_halves : nullptr,
                  .panels = static_cast<const float*>(panels),
                  .c = &y,
                  .accumulate = accumulate};
  const Work work{.m = y.rows,
                  .n = y.cols,
                  .units = units,
                  .a = &x,
                  .pack_a = left_packer<Unit>(x.dtype, true),
                  .terms = &term,
                  .count = 1,
                  .packs_b = halves,
                  .halves = f16,
                  .tiles = tiles<Unit>.of,
                  .piece = kPieceUnits<Unit>};
  run(pool, work, halves && y.rows <= Simd::rows);
}

// What the table of an instruction set holds; Bf16Unit is how it multiplies bf16.
template <class Bf16Unit>
struct Products {
  // f16: its operands are rounded, and then multiplied as f32 are.
  static void multiply(ThreadPool& pool, Compute compute, Product product, const ConstMatrix& a,
                       const ProductTerm* terms, int count) {
    if (compute == Compute::kBF16)
      SEDUM_ISA_NAMESPACE::multiply<Bf16Unit>(pool, product, a, terms, count, false);
    else
      SEDUM_ISA_NAMESPACE::multiply<ExactUnits>(pool, product, a, terms, count, compute == kF16Products);
  }
  static size_t packed_bytes(Compute compute, int64_t rows, int64_t cols) {
    return size_t(round_up(rows, kPiece) * round_up(cols, kPiece)) * (compute == Compute::kBF16 ? 2 : 4);
  }
  static void pack(ThreadPool& pool, Compute compute, const ConstMatrix& w, void* panels) {
    if (compute == Compute::kBF16)
      pack_panels<Bf16Unit>(pool, w, panels);
    else
      pack_panels<ExactUnits>(pool, w, panels, compute == kF16Products);
  }
  static void multiply_packed(ThreadPool& pool, Compute compute, const ConstMatrix& x, const void* panels,
                              const MutableMatrix& y, bool accumulate) {
    if (compute == Compute::kBF16)
      multiply_panels<Bf16Unit>(pool, x, panels, y, accumulate);
    else
      multiply_panels<ExactUnits>(pool, x, panels, y, accumulate, compute == kF16Products);
  }
  static ProductScratch scratch(int64_t threads, Compute compute, Product product, int64_t m, int64_t n, int64_t k,
                                DType result) {
    return compute == Compute::kBF16 ? SEDUM_ISA_NAMESPACE::scratch<Bf16Unit>(threads, product, m, n, k, result)
                                     : SEDUM_ISA_NAMESPACE::scratch<ExactUnits>(threads, product, m, n, k, result);
  }
  static constexpr ProductKernels kTable{&multiply, &packed_bytes, &pack, &multiply_packed, &scratch};
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
