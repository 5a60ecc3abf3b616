#include "compute/kernels/isa.h"

#include <atomic>
#include <cstdlib>

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace sedum {
namespace {

// Tiles are there when the processor has them and the kernel lets this process use them: their state is large, so that it wants to be
// asked (Documentation/arch/x86/xstate.rst). Asked once; threads that begin later inherit the grant.
bool tiles_granted() {
  static const bool granted = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25, all = bf16 | tile | int8;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & all) != all) return false;
    constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return granted;
}

constexpr Isa kAll[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx};

Isa choose() {
  if (const char* wanted = std::getenv("SEDUM_ISA"); wanted && *wanted) {
    std::vector<std::string> names;
    for (const Isa candidate : kAll) {
      if (std::string_view(wanted) == name(candidate)) {
        if (available(candidate)) return candidate;
        throw Error("SEDUM_ISA=" + std::string(wanted) + ": this processor does not have it", "unset SEDUM_ISA");
      }
      names.push_back(name(candidate));
    }
    const std::string near = nearest_name(wanted, names);
    throw Error("SEDUM_ISA=" + std::string(wanted) + ": no such instruction set",
                near.empty() ? "choose portable, avx2, avx512, avx512_bf16 or amx" : "did you mean " + near + "?");
  }
  return available_isas().back();
}

std::atomic<int> forced{-1};

}  // namespace

const char* name(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
    case Isa::kAmx:
      return "amx";
  }
  return "?";
}

bool available(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool avx512_bf16 = avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  switch (isa) {
    case Isa::kPortable:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512:
      return avx512;
    case Isa::kAvx512Bf16:
      return avx512_bf16;
    case Isa::kAmx:
      return avx512_bf16 && tiles_granted();
  }
  return false;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> all;
  for (const Isa candidate : kAll)
    if (available(candidate)) all.push_back(candidate);
  return all;
}

Isa isa() {
  static const Isa chosen = choose();
  const int f = forced.load(std::memory_order_relaxed);
  return f >= 0 ? Isa(f) : chosen;
}

ScopedIsa::ScopedIsa(Isa wanted) : before_(Isa(forced.load())) {
  SEDUM_CHECK(available(wanted));
  forced = int(wanted);
}
ScopedIsa::~ScopedIsa() { forced = int(before_); }

}  // namespace sedum
