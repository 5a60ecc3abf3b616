// Counts what is asked of operator new, for survives() in formats_testing.h.

#include <cstdlib>
#include <new>

#include "formats/formats_testing.h"

namespace {
size_t requested = 0;  // the tests of this room run on one thread
}

size_t sedum::requested_bytes() { return requested; }

#ifndef __SANITIZE_ADDRESS__
void* operator new(size_t bytes) {
  requested += bytes;
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

TEST(Allocation, IsCounted) {
  const size_t before = sedum::requested_bytes();
  const std::string text(1000, 'x');
  EXPECT_GE(sedum::requested_bytes() - before, text.size());
}
#endif
