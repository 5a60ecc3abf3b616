#include "compute/ops/experts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"

namespace sedum::ops {
namespace {

// The k largest of n values, by falling value; the lower index of two alike.
template <class T>
void largest(const T* values, int64_t n, int64_t k, int32_t* chosen) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [values](int32_t a, int32_t b) {
    const auto x = static_cast<stat_t<T>>(values[a]), y = static_cast<stat_t<T>>(values[b]);
    return x > y || (x == y && a < b);
  });
  std::copy_n(order.begin(), k, chosen);
}

// Sorts the slots by expert, rows ascending within each.
std::shared_ptr<const Routing> sorted_by_expert(std::vector<int32_t> expert, int64_t experts, int64_t per_row) {
  auto routing = std::make_shared<Routing>();
  Routing& r = *routing;
  r.experts_per_row = per_row;
  r.begin.assign(size_t(experts) + 1, 0);
  for (const int32_t e : expert) ++r.begin[size_t(e) + 1];
  std::partial_sum(r.begin.begin(), r.begin.end(), r.begin.begin());
  std::vector<int64_t> next(r.begin.begin(), r.begin.end() - 1);
  r.row.resize(expert.size()), r.place.resize(expert.size());
  for (size_t slot = 0; slot < expert.size(); ++slot) {
    const int64_t at = next[size_t(expert[slot])]++;
    r.place[slot] = int32_t(at), r.row[size_t(at)] = int32_t(int64_t(slot) / per_row);
  }
  r.expert = std::move(expert);
  return routing;
}

template <class F>
void each_row(Context& ctx, int64_t rows, F&& work) {
  ctx.pool->parallel_for(
      rows,
      [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) work(r);
      },
      16);
}

// dlogits of one row from the gradients of its weights. With s the chosen experts and w their weights:
// normalised, w is a softmax over the chosen alone; else dp is dw on the chosen and 0 elsewhere, through the softmax over all.
template <class T>
void route_backward(const T* dw, const T* w, const T* p, const int32_t* chosen, int64_t k, int64_t experts,
                    bool normalised, T* dlogits) {
  using S = stat_t<T>;
  S mean = 0;
  for (int64_t j = 0; j < k; ++j) mean += static_cast<S>(dw[j]) * static_cast<S>(w[j]);
  for (int64_t e = 0; e < experts; ++e) dlogits[e] = T(normalised ? S(0) : -mean * static_cast<S>(p[e]));
  for (int64_t j = 0; j < k; ++j) {
    T& to = dlogits[chosen[j]];
    to = T(normalised ? static_cast<S>(w[j]) * (static_cast<S>(dw[j]) - mean)
                      : static_cast<S>(to) + static_cast<S>(p[chosen[j]]) * static_cast<S>(dw[j]));
  }
}

}  // namespace

Routed route(Context& ctx, const Variable& logits, const RoutingOptions& options) {
  const int64_t rows = logits.shape().rows(), experts = logits.shape()[-1], k = options.experts_per_row;
  check(k >= 1 && k <= experts, "route",
        std::to_string(k) + " of " + std::to_string(experts) + " experts cannot be chosen");
  check_contiguous("route", logits.value());
  Tensor p = ctx.empty(logits.dtype(), logits.shape()), w = ctx.empty(logits.dtype(), {rows, k});
  std::vector<int32_t> chosen(size_t(rows * k));
  if (ctx.runs())
    with_type("route", logits.dtype(), [&]<class T>(T) {
      using S = stat_t<T>;
      softmax_forward<T>(*ctx.pool, logits.value().data<T>(), 1, rows, experts, p.data<T>());
      each_row(ctx, rows, [&](int64_t r) {
        const T* probability = p.data<T>() + r * experts;
        int32_t* best = &chosen[size_t(r * k)];
        largest(probability, experts, k, best);
        S sum = 0;
        for (int64_t j = 0; j < k; ++j) sum += static_cast<S>(probability[best[j]]);
        for (int64_t j = 0; j < k; ++j)
          w.data<T>()[r * k + j] = T(static_cast<S>(probability[best[j]]) / (options.normalised ? sum : S(1)));
      });
    });
  else
    for (size_t slot = 0; slot < chosen.size(); ++slot) chosen[slot] = int32_t(int64_t(slot) % experts);
  const auto routing = sorted_by_expert(std::move(chosen), experts, k);
  const Variable weights =
      record(ctx, "route", {&logits}, w,
             [w, p, routing, rows, experts, k, normalised = options.normalised](BackwardPass& pass) {
               Tensor dlogits = pass.context().empty(p.dtype(), p.shape());
               if (pass.context().runs())
                 with_type("route", p.dtype(), [&]<class T>(T) {
                   each_row(pass.context(), rows, [&](int64_t r) {
                     route_backward<T>(pass.gradient().data<T>() + r * k, w.data<T>() + r * k,
                                       p.data<T>() + r * experts, &routing->expert[size_t(r * k)], k, experts,
                                       normalised, dlogits.data<T>() + r * experts);
                   });
                 });
               pass.add(0, dlogits);
             });
  return {weights, routing};
}

Variable dispatch(Context& ctx, const Variable& x, const std::shared_ptr<const Routing>& routing) {
  const int64_t rows = x.shape().rows(), cols = x.shape()[-1], k = routing->experts_per_row;
  check(int64_t(routing->row.size()) == rows * k, "dispatch", "the routing is of another x than " + x.shape().text());
  check_contiguous("dispatch", x.value());
  const size_t bytes = row_bytes(x.dtype(), cols);
  Tensor y = ctx.empty(x.dtype(), {rows * k, cols});
  if (ctx.runs())
    each_row(ctx, rows * k, [&](int64_t i) {
      std::memcpy(static_cast<char*>(y.raw()) + size_t(i) * bytes,
                  static_cast<const char*>(x.value().raw()) + size_t(routing->row[size_t(i)]) * bytes, bytes);
    });
  return record(ctx, "dispatch", {&x}, y, [routing, rows, cols, k, shape = x.shape()](BackwardPass& pass) {
    Tensor dx = pass.context().empty(pass.gradient().dtype(), shape);
    if (pass.context().runs())
      with_type("dispatch", dx.dtype(), [&]<class T>(T) {
        using S = stat_t<T>;
        const T* dy = pass.gradient().data<T>();
        each_row(pass.context(), rows, [&](int64_t r) {
          const int32_t* places = &routing->place[size_t(r * k)];
          for (int64_t c = 0; c < cols; ++c) {
            S sum = 0;
            for (int64_t j = 0; j < k; ++j) sum += static_cast<S>(dy[places[j] * cols + c]);
            dx.data<T>()[r * cols + c] = T(sum);
          }
        });
      });
    pass.add(0, dx);
  });
}

Variable row_range(Context& ctx, const Variable& x, int64_t begin, int64_t count) {
  check(x.shape().rank() == 2 && begin >= 0 && count >= 0 && begin + count <= x.shape()[0], "row_range",
        "no rows " + std::to_string(begin) + " to " + std::to_string(begin + count) + " in " + x.shape().text());
  return record(ctx, "row_range", {&x}, x.value().slice(0, begin, begin + count), [begin, count](BackwardPass& pass) {
    Tensor dx = pass.sum(0), part = dx.slice(0, begin, begin + count);
    if (pass.context().runs())
      with_type("row_range", dx.dtype(), [&]<class T>(T) {
        sedum::add<T>(*pass.context().pool, part.data<T>(), pass.gradient().data<T>(), part.count(), part.data<T>());
      });
  });
}

namespace {

std::vector<const Variable*> pointers(const Variable& first, const std::vector<Variable>& rest) {
  std::vector<const Variable*> all{&first};
  for (const Variable& v : rest) all.push_back(v.defined() ? &v : nullptr);
  return all;
}

// Each expert's output and the first of its sorted rows.
template <class T>
struct Outputs {
  const std::vector<Tensor>& of;
  const Routing& routing;
  const T* row(int64_t slot, int64_t cols) const {
    const size_t e = size_t(routing.expert[size_t(slot)]);
    return of[e].template data<T>() + (routing.place[size_t(slot)] - routing.begin[e]) * cols;
  }
};

void combine_backward(BackwardPass& pass, const Tensor& w, const std::vector<Tensor>& outputs, const Routing& routing) {
  Context& ctx = pass.context();
  const Tensor& dy = pass.gradient();
  const int64_t rows = dy.shape().rows(), cols = dy.size(-1), k = routing.experts_per_row;
  Tensor dw = ctx.empty(w.dtype(), w.shape());
  for (size_t e = 0; e < outputs.size(); ++e) {
    if (!outputs[e].defined() || !pass.wants(e + 1)) continue;
    Tensor d = ctx.empty(outputs[e].dtype(), outputs[e].shape());
    if (ctx.runs())
      with_type("combine", d.dtype(), [&]<class T>(T) {
        using S = stat_t<T>;
        each_row(ctx, routing.rows(int64_t(e)), [&](int64_t i) {
          const int64_t row = routing.row[size_t(routing.begin[e] + i)];
          int64_t slot = row * k;
          while (routing.expert[size_t(slot)] != int32_t(e)) ++slot;
          const S weight = static_cast<S>(w.data<T>()[slot]);
          for (int64_t c = 0; c < cols; ++c)
            d.data<T>()[i * cols + c] = T(weight * static_cast<S>(dy.data<T>()[row * cols + c]));
        });
      });
    pass.add(e + 1, d);
  }
  if (!pass.wants(0)) return;
  if (ctx.runs())
    with_type("combine", w.dtype(), [&]<class T>(T) {
      using S = stat_t<T>;
      const Outputs<T> of{outputs, routing};
      each_row(ctx, rows, [&](int64_t r) {
        for (int64_t slot = r * k; slot < (r + 1) * k; ++slot) {
          const T* y = of.row(slot, cols);
          S sum = 0;
          for (int64_t c = 0; c < cols; ++c) sum += static_cast<S>(y[c]) * static_cast<S>(dy.data<T>()[r * cols + c]);
          dw.data<T>()[slot] = T(sum);
        }
      });
    });
  pass.add(0, dw);
}

}  // namespace

Variable combine(Context& ctx, const Variable& weights, const std::vector<Variable>& outputs,
                 const std::shared_ptr<const Routing>& routing) {
  const int64_t rows = weights.shape().rows(), k = routing->experts_per_row;
  check(int64_t(outputs.size()) == routing->experts() && weights.shape()[-1] == k &&
            int64_t(routing->row.size()) == rows * k,
        "combine", "weights " + weights.shape().text() + " do not fit the routing");
  int64_t cols = 0;
  std::vector<Tensor> values(outputs.size());
  for (size_t e = 0; e < outputs.size(); ++e) {
    check(outputs[e].defined() == (routing->rows(int64_t(e)) > 0), "combine", "an expert's output is missing");
    if (!outputs[e].defined()) continue;
    check_contiguous("combine", outputs[e].value());
    check(outputs[e].shape()[0] == routing->rows(int64_t(e)) && (cols == 0 || outputs[e].shape()[-1] == cols),
          "combine", "an output " + outputs[e].shape().text() + " does not fit the routing");
    cols = outputs[e].shape()[-1], values[e] = outputs[e].value();
  }
  Tensor y = ctx.empty(weights.dtype(), {rows, cols});
  if (ctx.runs())
    with_type("combine", y.dtype(), [&]<class T>(T) {
      using S = stat_t<T>;
      const Outputs<T> of{values, *routing};
      each_row(ctx, rows, [&](int64_t r) {
        T* to = y.data<T>() + r * cols;
        for (int64_t j = 0; j < k; ++j) {
          const S weight = static_cast<S>(weights.value().data<T>()[r * k + j]);
          const T* from = of.row(r * k + j, cols);
          for (int64_t c = 0; c < cols; ++c)
            to[c] = T(weight * static_cast<S>(from[c]) + (j == 0 ? S(0) : static_cast<S>(to[c])));
        }
      });
    });
  return record_all(ctx, "combine", pointers(weights, outputs), y,
                    [w = weights.value(), values = std::move(values), routing](BackwardPass& pass) {
                      combine_backward(pass, w, values, *routing);
                    });
}

Variable beside(Context& ctx, const Variable& a, const Variable& b) {
  const int64_t rows = a.shape().rows();
  check(b.shape().rows() == rows && a.dtype() == b.dtype(), "beside",
        a.shape().text() + " and " + b.shape().text() + " have other rows or types");
  check_contiguous("beside", a.value()), check_contiguous("beside", b.value());
  const size_t left = row_bytes(a.dtype(), a.shape()[-1]), right = row_bytes(a.dtype(), b.shape()[-1]);
  Tensor y = ctx.empty(a.dtype(), {rows, a.shape()[-1] + b.shape()[-1]});
  if (ctx.runs())
    each_row(ctx, rows, [&](int64_t r) {
      char* to = static_cast<char*>(y.raw()) + size_t(r) * (left + right);
      std::memcpy(to, static_cast<const char*>(a.value().raw()) + size_t(r) * left, left);
      std::memcpy(to + left, static_cast<const char*>(b.value().raw()) + size_t(r) * right, right);
    });
  return record(
      ctx, "beside", {&a, &b}, y, [rows, left, right, shapes = std::array{a.shape(), b.shape()}](BackwardPass& pass) {
        for (const size_t side : {0u, 1u}) {
          if (!pass.wants(side)) continue;
          Tensor d = pass.context().empty(pass.gradient().dtype(), shapes[side]);
          const size_t bytes = side ? right : left;
          if (pass.context().runs())
            each_row(pass.context(), rows, [&](int64_t r) {
              std::memcpy(
                  static_cast<char*>(d.raw()) + size_t(r) * bytes,
                  static_cast<const char*>(pass.gradient().raw()) + size_t(r) * (left + right) + (side ? left : 0),
                  bytes);
            });
          pass.add(side, d);
        }
      });
}

namespace {

// Of all layers' rows: how often each expert was chosen, and the sum of its probabilities.
struct Balance {
  std::vector<double> chosen, probability;
  int64_t rows = 0;
};

template <class T>
void add_layer(Balance& b, const T* p, int64_t rows, int64_t experts, int64_t k) {
  std::vector<int32_t> best(static_cast<size_t>(k));
  for (int64_t r = 0; r < rows; ++r, p += experts) {
    largest(p, experts, k, best.data());
    for (const int32_t e : best) ++b.chosen[size_t(e)];
    for (int64_t e = 0; e < experts; ++e) b.probability[size_t(e)] += double(static_cast<stat_t<T>>(p[e]));
  }
  b.rows += rows;
}

}  // namespace

Variable load_balancing_loss(Context& ctx, const std::vector<Variable>& router_logits, int experts_per_row,
                             float factor) {
  check(!router_logits.empty(), "load_balancing_loss", "no layer has a router");
  const int64_t experts = router_logits[0].shape()[-1];
  check(experts_per_row >= 1 && experts_per_row <= experts, "load_balancing_loss", "more choices than experts");
  const DType type = router_logits[0].dtype();
  auto balance = std::make_shared<Balance>();
  balance->chosen.resize(size_t(experts)), balance->probability.resize(size_t(experts));
  std::vector<Tensor> probabilities;
  std::vector<const Variable*> inputs;
  for (const Variable& logits : router_logits) {
    check(logits.shape()[-1] == experts && logits.dtype() == type, "load_balancing_loss",
          "layers have other numbers of experts");
    inputs.push_back(&logits);
    Tensor p = ctx.empty(type, logits.shape());
    if (ctx.runs())
      with_type("load_balancing_loss", type, [&]<class T>(T) {
        const int64_t rows = p.shape().rows();
        softmax_forward<T>(*ctx.pool, logits.value().data<T>(), 1, rows, experts, p.data<T>());
        add_layer<T>(*balance, p.data<T>(), rows, experts, experts_per_row);
      });
    probabilities.push_back(std::move(p));
  }
  Tensor y = ctx.empty(type == DType::kF64 ? DType::kF64 : DType::kF32, {});
  if (ctx.runs()) {
    const double n = double(balance->rows);
    double sum = 0;
    for (size_t e = 0; e < size_t(experts); ++e) sum += balance->chosen[e] / n * (balance->probability[e] / n);
    with_statistic(y.dtype(), [&]<class T>(T) { *y.data<T>() = T(double(factor) * double(experts) * sum); });
  }
  return record_all(ctx, "load_balancing_loss", inputs, y,
                    [balance, probabilities = std::move(probabilities), experts, factor](BackwardPass& pass) {
                      Context& c = pass.context();
                      for (size_t l = 0; l < probabilities.size(); ++l) {
                        if (!pass.wants(l)) continue;
                        const Tensor& p = probabilities[l];
                        Tensor d = c.empty(p.dtype(), p.shape());
                        if (c.runs())
                          with_type("load_balancing_loss", p.dtype(), [&]<class T>(T) {
                            using S = stat_t<T>;
                            const double n = double(balance->rows), seed = double(*statistics<T>(pass.gradient()));
                            const double scale = seed * double(factor) * double(experts) / (n * n);
                            each_row(c, p.shape().rows(), [&](int64_t r) {
                              const T* probability = p.data<T>() + r * experts;
                              double mean = 0;
                              for (int64_t e = 0; e < experts; ++e)
                                mean += double(static_cast<S>(probability[e])) * balance->chosen[size_t(e)];
                              for (int64_t e = 0; e < experts; ++e)
                                d.data<T>()[r * experts + e] = T(S(scale * double(static_cast<S>(probability[e])) *
                                                                   (balance->chosen[size_t(e)] - mean)));
                            });
                          });
                        pass.add(l, d);
                      }
                    });
}

}  // namespace sedum::ops
