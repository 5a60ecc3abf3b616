#include "compute/ops/embedding.h"

#include <cstring>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"

namespace sedum::ops {

Variable embedding(Context& ctx, const Variable& table, const Ids& ids) {
  check(table.shape().rank() == 2, "embedding", "the table " + table.shape().text() + " is no matrix");
  const int64_t rows = int64_t(ids->size()), cols = table.shape()[1];
  for (const int32_t id : *ids)
    check(id >= 0 && id < table.shape()[0], "embedding",
          "id " + std::to_string(id) + " is not in the table " + table.shape().text());
  Tensor y = ctx.empty(table.dtype() == DType::kF64 ? DType::kF64 : DType::kF32, {rows, cols});
  if (ctx.runs())
    with_type("embedding", y.dtype(), [&]<class T>(T) {
      embedding_forward<T>(*ctx.pool, table.dtype(), table.value().raw(), row_bytes(table.dtype(), cols), ids->data(),
                           rows, cols, y.data<T>());
    });
  return record(ctx, "embedding", {&table}, y, [ids, rows, cols](BackwardPass& pass) {
    Tensor dtable = pass.sum(0);
    if (pass.context().runs())
      with_type("embedding", pass.gradient().dtype(), [&]<class T>(T) {
        embedding_backward<T>(*pass.context().pool, pass.gradient().data<T>(), ids->data(), rows, cols,
                              statistics<T>(dtable));
      });
  });
}

Variable select_rows(Context& ctx, const Variable& x, const Ids& rows) {
  const size_t bytes = row_bytes(x.dtype(), x.shape()[-1]);
  const int64_t count = int64_t(rows->size());
  Tensor y = ctx.empty(x.dtype(), {count, x.shape()[-1]});
  if (ctx.runs())
    for (int64_t i = 0; i < count; ++i) {
      check((*rows)[size_t(i)] >= 0 && (*rows)[size_t(i)] < x.shape().rows(), "select_rows",
            "row " + std::to_string((*rows)[size_t(i)]) + " is not in " + x.shape().text());
      std::memcpy(static_cast<char*>(y.raw()) + size_t(i) * bytes,
                  static_cast<const char*>(x.value().raw()) + size_t((*rows)[size_t(i)]) * bytes, bytes);
    }
  return record(ctx, "select_rows", {&x}, y, [rows, bytes, shape = x.shape()](BackwardPass& pass) {
    Tensor dx = pass.context().zeros(pass.gradient().dtype(), shape);
    if (pass.context().runs())
      for (size_t i = 0; i < rows->size(); ++i)
        std::memcpy(static_cast<char*>(dx.raw()) + size_t((*rows)[i]) * bytes,
                    static_cast<const char*>(pass.gradient().raw()) + i * bytes, bytes);
    pass.add(0, dx);
  });
}

}  // namespace sedum::ops
