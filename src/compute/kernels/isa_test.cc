#include "compute/kernels/isa.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace sedum {
namespace {

TEST(Isa, PortableIsAlwaysThereAndFirst) {
  const auto all = available_isas();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.front(), Isa::kPortable);
}

TEST(Isa, ForcingWorksAndNests) {
  const Isa before = isa();
  for (const Isa each : available_isas()) {
    const ScopedIsa forced(each);
    EXPECT_EQ(isa(), each);
    {
      const ScopedIsa inner(Isa::kPortable);
      EXPECT_EQ(isa(), Isa::kPortable);
    }
    EXPECT_EQ(isa(), each);
  }
  EXPECT_EQ(isa(), before);
}

TEST(Isa, EnvironmentIsHonoured) {
  if (const char* wanted = std::getenv("SEDUM_ISA"))
    EXPECT_STREQ(name(isa()), wanted);
  else
    EXPECT_EQ(isa(), available_isas().back());
}

}  // namespace
}  // namespace sedum
