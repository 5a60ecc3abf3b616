#pragma once
// Which instruction set the kernels use: the best that the processor has, or the one that SEDUM_ISA names.
//
// A topic (rows, products, quantised products, attention, optimizer) has one table of function pointers, filled by each of its
// files in isa/, and one accessor that chooses by isa(), e.g. row_kernels(). Tests walk over available_isas() with ScopedIsa.

#include <string>
#include <string_view>
#include <vector>

namespace sedum {

enum class Isa {
  kPortable,    // C++ and whatever the baseline (SSE2) makes of it: the naive twins
  kAvx2,        // AVX2, FMA, F16C
  kAvx512,      // AVX-512 F, BW, VL, DQ
  kAvx512Bf16,  // and VNNI, BF16
  kAmx,         // and AMX tiles of bf16 and int8
};

const char* name(Isa isa);
bool available(Isa isa);            // on this processor
std::vector<Isa> available_isas();  // worst first
Isa isa();                          // the one in force

// Forces an instruction set for a scope (tests); not while kernels run.
class ScopedIsa {
 public:
  explicit ScopedIsa(Isa forced);
  ~ScopedIsa();
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;

 private:
  Isa before_;
};

}  // namespace sedum
