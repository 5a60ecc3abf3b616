#include "compute/kernels/products.h"

#include <cstring>
#include <string>

#include "base/arena.h"
#include "base/error.h"
#include "compute/kernels/generic/products_table.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/quantised.h"
#include "compute/kernels/ref/products.h"

namespace sedum {
namespace {

const ProductKernels& kernels_of(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return kAvx2Products;
    case Isa::kAvx512:
      return kAvx512Products;
    case Isa::kAvx512Bf16:
      return kAvx512Bf16Products;
    case Isa::kAmx:
      return kAmxProducts;
    case Isa::kPortable:
      break;
  }
  return kPortableProducts;
}

template <class M>
std::string shape(const M& m) {
  return std::string(name(m.dtype)) + " (" + std::to_string(m.rows) + ", " + std::to_string(m.cols) + ")";
}

bool is_activation(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16; }

void check(const char* where, Product product, const ConstMatrix& a, const ConstMatrix& b, const MutableMatrix& c) {
  const int64_t k_of_a = product == Product::kTN ? a.rows : a.cols, k_of_b = product == Product::kNT ? b.cols : b.rows;
  const int64_t m = product == Product::kTN ? a.cols : a.rows, n = product == Product::kNT ? b.rows : b.cols;
  const auto fail = [&](const std::string& what) {
    throw ApiError(where, what + ": " + shape(a) + ", " + shape(b) + " to " + shape(c));
  };
  if (k_of_a != k_of_b || c.rows != m || c.cols != n || a.rows < 0 || a.cols < 0 || b.rows < 0 || b.cols < 0)
    fail("sizes do not fit");
  if (a.dtype == DType::kF64 || c.dtype == DType::kF64) {
    if (a.dtype != DType::kF64 || b.dtype != DType::kF64 || c.dtype != DType::kF64) fail("f64 goes with f64 only");
    return;
  }
  if (!is_activation(a.dtype) || !is_activation(c.dtype) || (product == Product::kTN && !is_activation(b.dtype)))
    fail("activations and results are f32 or bf16");
}

void clear(const MutableMatrix& c) {
  for (int64_t i = 0; i < c.rows; ++i)
    std::memset(static_cast<std::byte*>(c.data) + size_t(i) * c.row_bytes, 0, row_bytes(c.dtype, c.cols));
}

void multiply(const char* where, ThreadPool& pool, Compute compute, Product product, const ConstMatrix& a,
              std::span<const ProductTerm> terms) {
  for (const ProductTerm& t : terms) check(where, product, a, t.b, t.c);
  if (compute == Compute::kInt8) throw ApiError(where, "int8 products take packed weights");
  ProductTerm together[kMostTerms];
  int count = 0;
  const auto run = [&] {
    if (count > 0) kernels_of(isa()).multiply(pool, compute, product, a, together, count);
    count = 0;
  };
  for (const ProductTerm& t : terms) {
    if (t.c.rows == 0 || t.c.cols == 0) continue;
    if ((product == Product::kTN ? a.rows : a.cols) == 0) {
      if (!t.accumulate) clear(t.c);
    } else if (t.c.dtype == DType::kF64) {
      ref::multiply(pool, product, a, t.b, t.c, t.accumulate);
    } else {
      together[count++] = t;
      if (count == kMostTerms) run();
    }
  }
  run();
}

std::span<const ProductTerm> one(const ProductTerm& term) { return {&term, 1}; }

// Panels in the geometry of the instruction set that packed them, which is also the one that multiplies them.
class FloatPanels : public PackedMatrix {
 public:
  FloatPanels(ThreadPool& pool, Compute compute, const ConstMatrix& w)
      : kernels_(kernels_of(isa())),
        compute_(compute),
        rows_(w.rows),
        cols_(w.cols),
        panels_(kernels_.packed_bytes(compute, w.rows, w.cols)) {
    if (panels_.size() > 0) kernels_.pack(pool, compute, w, panels_.as<void>());
  }
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return panels_.size(); }
  Compute compute() const override { return compute_; }
  void multiply(ThreadPool& pool, const ConstMatrix& x, const MutableMatrix& y, bool accumulate) const {
    kernels_.multiply_packed(pool, compute_, x, panels_.as<void>(), y, accumulate);
  }

 private:
  const ProductKernels& kernels_;
  Compute compute_;
  int64_t rows_, cols_;
  Buffer panels_;
};

}  // namespace

const char* name(Compute compute) {
  switch (compute) {
    case Compute::kF32:
      return "f32";
    case Compute::kBF16:
      return "bf16";
    case Compute::kInt8:
      return "int8";
  }
  if (compute == kF16Products) return "f16";
  return "?";
}

ProductScratch scratch_of(int64_t threads, Compute compute, Product product, int64_t m, int64_t n, int64_t k,
                          DType result) {
  return kernels_of(isa()).scratch(threads, compute, product, m, n, k, result);
}

void product_nt(ThreadPool& pool, Compute compute, ConstMatrix x, ConstMatrix w, MutableMatrix y, bool accumulate) {
  multiply("product_nt", pool, compute, Product::kNT, x, one({w, y, accumulate}));
}
void product_nn(ThreadPool& pool, Compute compute, ConstMatrix dy, ConstMatrix w, MutableMatrix dx, bool accumulate) {
  multiply("product_nn", pool, compute, Product::kNN, dy, one({w, dx, accumulate}));
}
void product_tn(ThreadPool& pool, Compute compute, ConstMatrix dy, ConstMatrix x, MutableMatrix dw, bool accumulate) {
  multiply("product_tn", pool, compute, Product::kTN, dy, one({x, dw, accumulate}));
}
void products_nt(ThreadPool& pool, Compute compute, ConstMatrix x, std::span<const ProductTerm> terms) {
  multiply("products_nt", pool, compute, Product::kNT, x, terms);
}
void products_nn(ThreadPool& pool, Compute compute, ConstMatrix dy, std::span<const ProductTerm> terms) {
  multiply("products_nn", pool, compute, Product::kNN, dy, terms);
}

std::unique_ptr<PackedMatrix> pack(ThreadPool& pool, Compute compute, ConstMatrix w) {
  if (compute == Compute::kInt8) return pack_int8(pool, w);
  return std::make_unique<FloatPanels>(pool, compute, w);
}

void product_packed(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, MutableMatrix y, bool accumulate) {
  const ConstMatrix shape_of_w{DType::kF32, nullptr, w.rows(), w.cols(), 0};
  check("product_packed", Product::kNT, x, shape_of_w, y);
  if (y.rows == 0 || y.cols == 0) return;
  if (x.cols == 0) {
    if (!accumulate) clear(y);
    return;
  }
  if (w.compute() == Compute::kInt8) return product_packed_int8(pool, x, {{w, y, accumulate}});
  static_cast<const FloatPanels&>(w).multiply(pool, x, y, accumulate);
}

// A map is 4 KiB-aligned; sizes are rounded up to whole huge pages so that growth is rare.
size_t product_scratch_size(size_t bytes) {
  constexpr size_t page = size_t(2) << 20;
  return (bytes + page - 1) / page * page;
}

std::byte* product_scratch(size_t bytes) {
  thread_local Buffer buffer;
  if (bytes > buffer.size()) {
    buffer = Buffer();  // the old one goes first
    buffer = Buffer(product_scratch_size(bytes));
  }
  return buffer.as<std::byte>();
}

}  // namespace sedum
