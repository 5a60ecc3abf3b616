#pragma once
// Loops that the compiler unrolls for certain. Included inside a target region, after <utility> and <type_traits>.

namespace sedum::SEDUM_ISA_NAMESPACE {

// Compile-time loop: every array index is a constant from the start, so that GCC 12 keeps the sums in registers. After any change
// look into the disassembly: 2 · kRows multiply-adds for each unit and no vector store to the stack.
template <int N, class F>
[[gnu::always_inline]] inline void unroll(F&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

}  // namespace sedum::SEDUM_ISA_NAMESPACE
