// Importance matrices, both forms: mean squares, or an Error.

#include "base/error.h"
#include "quant/importance.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sedum;
  alignas(8) static thread_local std::vector<std::byte> aligned;
  aligned.assign(reinterpret_cast<const std::byte*>(bytes), reinterpret_cast<const std::byte*>(bytes) + size);
  try {
    const ImportanceMatrix m = ImportanceMatrix::parse(aligned, "fuzz.imatrix");
    if (m.size() == 0) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
