#pragma once
// Weights in the panels of quantised_panel.h: what pack_int8 makes.

#include <span>

#include "base/arena.h"
#include "compute/kernels/quantised.h"
#include "compute/kernels/quantised_panel.h"

namespace sedum {

class PackedInt8 final : public PackedMatrix {
 public:
  PackedInt8(int format, int64_t rows, int64_t cols);  // zeroed, to be filled
  // Panels that lie elsewhere; they have panel_bytes() and `owner` keeps them.
  PackedInt8(int format, int64_t rows, int64_t cols, const std::byte* panels, std::shared_ptr<const void> owner);
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return size_t(panels()) * panel_bytes_; }
  Compute compute() const override { return Compute::kInt8; }

  int format() const { return format_; }
  int64_t panels() const { return (rows_ + kPanelColumns - 1) / kPanelColumns; }
  uint8_t* panel(int64_t i) const { return base_ + size_t(i) * panel_bytes_; }
  // A panel's weight when panels are shared out between threads: also with K = 0, when there is nothing to read, each is written.
  size_t split_bytes() const { return panel_bytes_ > 0 ? panel_bytes_ : 1; }
  ProductCut cut = {};

  // outliers.h: above which activations are multiplied with the weights as they are stored; 0: none are.
  float outlier_threshold = 0;
  ConstMatrix stored = {};

 private:
  int format_;
  int64_t rows_, cols_;
  size_t panel_bytes_ = 0;
  Buffer panels_;
  uint8_t* base_ = nullptr;  // in panels_, or the owner's
  std::shared_ptr<const void> owner_;
};

struct PackedProduct;
// product_packed_int8 without a look at the threshold.
void multiply_packed_int8(ThreadPool& pool, ConstMatrix x, std::span<const PackedProduct> products);

}  // namespace sedum
