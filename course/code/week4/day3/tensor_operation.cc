// 第 4 周第 3 天  张量：创建、索引、变形
//
//   元素 x[i][j] 的地址 = 起点 + i · 步幅₀ + j · 步幅₁
//
// 张量是一块一维的内存，加上三样东西：形状、步幅（stride）、起点。transpose 和 slice 只改这三样，不动内存；
// reshape 却要求元素在内存里本来就按顺序排着。混淆这两件事，是“维度变换易错”的根源。
#include <set>

#include "base/error.h"
#include "compute/tensor/tensor.h"
#include "course/frame/lesson.h"
#include "report/diagram.h"
#include "report/heatmap.h"

using namespace sedum;
using course::Lesson;

// 元素 (i, j) 在内存里排第几：由步幅算出来，与 t.raw() 的差相加就是真正的位置。
int64_t offset(const Tensor& whole, const Tensor& view, int64_t i, int64_t j) {
  const int64_t start = static_cast<const float*>(view.raw()) - static_cast<const float*>(whole.raw());
  return start + i * view.stride(0) + j * view.stride(1);
}

// 把一个视图画成格子：格子里写的是元素在内存中的序号。
report::Heatmap places(const std::string& title, const Tensor& whole, const Tensor& view) {
  std::vector<std::vector<double>> cells(size_t(view.size(0)), std::vector<double>(size_t(view.size(1))));
  for (int64_t i = 0; i < view.size(0); ++i)
    for (int64_t j = 0; j < view.size(1); ++j) cells[size_t(i)][size_t(j)] = double(offset(whole, view, i, j));
  report::Heatmap heat(title, cells);
  heat.range(0, double(whole.count() - 1)).cell({40, 26});
  return heat;
}

std::string describe(const Tensor& t) {
  return fmt::format("形状 {}，步幅 ({}, {})，{}", t.shape().text(), t.stride(0), t.stride(1),
                     t.contiguous() ? "连续" : "不连续");
}

int main(int argc, char** argv) {
  Lesson lesson(
      argc, argv,
      {.title = "张量运算：创建、索引、变形",
       .difficulty = "张量维度变换易错",
       .remedy = "练习 reshape、transpose、slice，画出步幅",
       .bugs = {{"swap", "转置时只换了形状，没有换步幅"}, {"copy", "切片做成了拷贝：改它不会改到原来的张量"}}});
  lesson.exercise("x 的形状是 (3, 4)，按行存放。x[2][1] 在内存里排第几（从 0 数）？", "place_2_1");
  lesson.exercise("xᵀ 的形状是 (4, 3)。它沿第 0 维的步幅是多少？", "transposed_stride_0");

  lesson.section("创建：0 … 11 排成 (3, 4)");
  Arena arena;
  Tensor x = Tensor::empty(arena, DType::kF32, {3, 4});
  for (int64_t i = 0; i < x.count(); ++i) x.data<float>()[i] = float(i);
  lesson.say("x：{}", describe(x));
  lesson.value("place_2_1", double(2 * x.stride(0) + 1 * x.stride(1)), "2 × 4 + 1 × 1");

  lesson.section("三种视图");
  Tensor t = x.transpose(0, 1);                      // (4, 3)
  if (lesson.broken("swap")) t = x.reshape({4, 3});  // 只换形状
  Tensor s = x.slice(1, 1, 3);                       // (3, 2)：第 1、2 列
  const Tensor r = x.reshape({2, 6});                // (2, 6)
  Tensor copied = Tensor::empty(arena, DType::kF32, s.shape());
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 2; ++j) copied.data<float>()[i * 2 + j] = x.data<float>()[offset(x, s, i, j)];
  if (lesson.broken("copy")) s = copied;
  lesson.say("x.transpose(0, 1)：{}", describe(t));
  lesson.say("x.slice(1, 1, 3)： {}", describe(s));
  lesson.say("x.reshape({{2, 6}})：{}", describe(r));
  lesson.value("transposed_stride_0", double(t.stride(0)), "行与列的步幅对调");
  lesson.claim("转置共用存储", t.shares_storage_with(x));
  lesson.claim("变形共用存储", r.shares_storage_with(x));

  double wrong = 0;
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 3; ++j) wrong += offset(x, t, i, j) != offset(x, x, j, i);
  lesson.equal("转置：xᵀ[i][j] 就是 x[j][i]，读错的元素", wrong, 0);

  static_cast<float*>(s.raw())[0] = 100;  // 通过切片改一个元素
  lesson.equal("改切片 s[0][0]，x[0][1] 也变", double(x.data<float>()[1]), 100);
  lesson.equal("拷贝不受影响", double(copied.data<float>()[0]), 1);
  static_cast<float*>(x.raw())[1] = 1;

  lesson.section("不合法的变形被拒绝");
  const auto refused = [&](const char* what, const auto& make) {
    try {
      make();
    } catch (const ApiError& e) {
      lesson.say("{}：{}", what, e.what());
      return true;
    }
    return false;
  };
  lesson.claim("12 个元素排不成 (5, 3)", refused("x.reshape({5, 3})", [&] { (void)x.reshape({5, 3}); }));
  lesson.claim("转置之后元素不再按顺序排着，不能直接变形",
               refused("x.transpose(0, 1).reshape({12})", [&] { (void)x.transpose(0, 1).reshape({12}); }));
  lesson.claim("切到外面", refused("x.slice(0, 2, 5)", [&] { (void)x.slice(0, 2, 5); }));

  lesson.section("为什么要在意：按什么次序走过内存");
  // 沿着行走，每步前进 4 字节；沿着列走，每步前进一整行。一条缓存线 64 字节：前者 16 个元素取一次，后者每个元素取一次。
  const int64_t n = lesson.quick() ? 64 : 512;
  Tensor big = Tensor::zeros(arena, DType::kF32, {n, n});
  const auto lines_touched = [&](const Tensor& view) {  // 依次读 n 个元素（一行），碰到的不同缓存线
    std::set<uintptr_t> lines;
    for (int64_t j = 0; j < n; ++j)
      lines.insert(reinterpret_cast<uintptr_t>(static_cast<const float*>(view.raw()) + j * view.stride(1)) / 64);
    return double(lines.size());
  };
  const double by_row = lesson.value("lines_by_row", lines_touched(big), "读一行碰到的缓存线");
  const double by_column =
      lesson.value("lines_by_column", lines_touched(big.transpose(0, 1)), "读转置的一行，也就是一列");
  lesson.equal("读一列要取的缓存线是读一行的 16 倍", by_column / by_row, 16);

  report::Figure figure("格子里的数：元素在内存中的序号", 2);
  figure.add(places("x (3, 4)，步幅 (4, 1)", x, x)).add(places("转置 (4, 3)，步幅 (1, 4)", x, t));
  figure.add(places("slice(1, 1, 3)：(3, 2)，步幅 (4, 1)", x, x.slice(1, 1, 3)));
  figure.add(places("reshape (2, 6)，步幅 (6, 1)", x, r));
  lesson.picture("strides", figure);
  return lesson.finish();
}
