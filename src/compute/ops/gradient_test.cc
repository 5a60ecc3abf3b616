// Every operator's backward pass against central differences in double.

#include <cmath>
#include <filesystem>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

struct Bench {
  ThreadPool pool{2};
  Arena arena;
};

Tensor normal(Arena& arena, const Shape& shape, uint32_t stream) {
  Tensor t = Tensor::empty(arena, DType::kF64, shape);
  const Random rng(17, Purpose::kTest, stream);
  for (int64_t i = 0; i < t.count(); ++i) t.data<double>()[i] = rng.normal(uint64_t(i));
  return t;
}

double weighted_sum(const Tensor& y, const Tensor& weights) {
  double total = 0;
  for (int64_t i = 0; i < y.count(); ++i) total += y.data<double>()[i] * weights.data<double>()[i];
  return total;
}

void check_gradients(const OperatorExample& example) {
  Bench bench;
  std::vector<Variable> inputs;
  for (const Shape& shape : example.inputs)
    inputs.push_back(Variable::parameter(normal(bench.arena, shape, uint32_t(inputs.size())), "input"));
  Tape tape;
  Context ctx{.pool = &bench.pool, .arena = &bench.arena, .tape = &tape};
  const Variable y = example.apply(ctx, inputs);
  ASSERT_EQ(y.dtype(), DType::kF64);
  const Tensor weights = normal(bench.arena, y.shape(), 99);
  Tensor seed = Tensor::empty(bench.arena, DType::kF64, y.shape());
  std::copy_n(weights.data<double>(), weights.count(), seed.data<double>());
  tape.backward(ctx, y, seed);

  Context plain{.pool = &bench.pool, .arena = &bench.arena};
  for (size_t which = 0; which < inputs.size(); ++which) {
    ASSERT_TRUE(inputs[which].gradient().defined()) << "input " << which;
    double* x = inputs[which].value().data<double>();
    const double* dx = inputs[which].gradient().data<double>();
    for (int64_t i = 0; i < inputs[which].value().count(); ++i) {
      const double before = x[i], h = example.step;
      x[i] = before + h;
      const double up = weighted_sum(example.apply(plain, inputs).value(), weights);
      x[i] = before - h;
      const double down = weighted_sum(example.apply(plain, inputs).value(), weights);
      x[i] = before;
      // Truncation h²·f‴/6 and rounding ε·|f|/h, with room for f‴ and |f| up to some hundreds.
      const double tolerance = 500 * (h * h + 2.2e-16 / h) * (1 + std::abs(up));
      EXPECT_NEAR(dx[i], (up - down) / (2 * h), tolerance) << example.name << ", input " << which << ", value " << i;
    }
  }
}

TEST(Gradients, AgreeWithFiniteDifferences) {
  ASSERT_FALSE(operator_examples().empty());
  for (const auto& example : operator_examples()) {
    SCOPED_TRACE(example.name);
    check_gradients(example);
  }
}

TEST(Gradients, EveryRecordedOperatorHasAnExample) {
  std::set<std::string> tested;
  for (const auto& example : operator_examples()) tested.insert(example.name);
  const std::regex call("record(?:_all)?\\(\\s*ctx, \"([a-z_0-9]+)\"");
  for (const auto& entry : std::filesystem::directory_iterator(std::string(SEDUM_SOURCE_DIR) + "/src/compute/ops")) {
    if (entry.path().extension() != ".cc") continue;
    const std::string text = read_file(entry.path());
    for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it)
      EXPECT_TRUE(tested.count((*it)[1])) << entry.path() << " records " << (*it)[1] << ", which no example checks";
  }
}

}  // namespace
}  // namespace sedum::ops
