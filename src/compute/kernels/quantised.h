#pragma once
// The int8 product: low-bit weights, repacked once, times activations that are quantised on the way.
//
//   auto w = pack_int8(pool, weights);                       // once; null where there is no packed form
//   product_packed_int8(pool, x, *w, y);                     // y (M,N) = x (M,K) · W (N,K)ᵀ, one row or many
//   product_packed_int8(pool, x, {{wq, q}, {wk, k}, {wv, v}});   // several weights, x quantised once, one parallel region
//
// What is computed, exactly (kernels/ref/quantised.h says the same in code): each row of x in blocks of 32, scale = largest
// magnitude / 127, values to the nearest integer, ties to even. Within a block (a half one for Q6_K) the dot product is an exact
// integer; a result is one chain in ascending k, f = fma(float(dot), weight scale · activation scale, f), and, for formats with a
// minimum, f = fma(minimum, activation scale · Σ activations, f). The chain knows neither the thread nor the rows beside it nor the
// instruction set: all give the same bits.
//
// The error against the exact product with the stored weights: each activation is off by at most half its block's scale,
// so |error| ≤ Σ_blocks max|x| / 254 · Σ|w|, plus float rounding.

#include <initializer_list>
#include <span>

#include "compute/kernels/products.h"

namespace sedum {

// Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K keep their bits; f32, f16, bf16 are rounded to Q8_0 first. Null for other types and
// where K is not a multiple of 32.
std::unique_ptr<PackedMatrix> pack_int8(ThreadPool& pool, ConstMatrix w, bool fill = true);

// Wᵀ for the product backward by data, dx (M,K) = dy (M,N) · W (N,K): product_packed_int8(pool, dy, *t, dx). Whatever W is stored in, Wᵀ is
// rounded to 7 bits along N (0.8 % of a block's largest weight at most). Null where N is not a multiple of 32. Without `fill` nothing is
// written and no memory used: for plans.
std::unique_ptr<PackedMatrix> pack_int8_transposed(ThreadPool& pool, ConstMatrix w, bool fill = true);

struct PackedProduct {
  const PackedMatrix& w;  // from pack_int8
  MutableMatrix y;        // f32 or bf16
  bool accumulate = false;
};

// x is f32 or bf16. A row with an infinity or NaN gives NaN in all its results; other rows are not touched by it. Blocks whose
// largest magnitude is below 2^-118 count as zero. Scratch stays with each thread, at most 512 KiB (or one tile of 12 rows) and a panel of
// bytes, 17 K.
void product_packed_int8(ThreadPool& pool, ConstMatrix x, std::span<const PackedProduct> products);

inline void product_packed_int8(ThreadPool& pool, ConstMatrix x, std::initializer_list<PackedProduct> products) {
  product_packed_int8(pool, x, std::span(products.begin(), products.size()));
}
inline void product_packed_int8(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, MutableMatrix y,
                                bool accumulate = false) {
  product_packed_int8(pool, x, {{w, y, accumulate}});
}

// Panels as bytes, to be kept in a file, and back. They are the same for every instruction set; kPanelLayout grows when they change.
// `panels` is 64-byte aligned and kept alive by `owner`; null where size, type and bytes do not agree.
constexpr int kPanelLayout = 1;
struct PackedPanels {
  DType dtype;  // which the panels are of: not that of W where W was rounded
  std::span<const std::byte> bytes;
};
PackedPanels packed_int8_panels(const PackedMatrix& w);
std::unique_ptr<PackedMatrix> packed_int8_from(DType dtype, int64_t rows, int64_t cols,
                                               std::span<const std::byte> panels, std::shared_ptr<const void> owner);

// How a product is cut into pieces that fit a processor's caches; no bit of a result depends on it. 0: as the kernels choose.
// Of several weights that are multiplied together the first one's counts.
struct ProductCut {
  int tile_rows = 0;  // rows computed at once, at most what the kernels can
  int block_kib = 0;  // quantised activations that stay in a core's cache while the panels pass by
  bool operator==(const ProductCut&) const = default;
};
void set_product_cut(PackedMatrix& w, ProductCut cut);
int highest_product_tile();  // rows, on the instruction set in force

// A row of W as decode() gives it, read from the panels: an embedding table tied to the output layer needs no second copy.
void unpack_int8_row(const PackedMatrix& w, int64_t row, float* to);
// Sixteen values of W's column k: of rows 16 · panel and up; zeros behind the last row.
void unpack_int8_column(const PackedMatrix& w, int64_t panel, int64_t k, float* to);

}  // namespace sedum
