#pragma once
// The chat page and what belongs to it, as the build put them into the program.

#include <string_view>
#include <vector>

namespace sedum::serve::web {

struct Asset {
  const char *path, *type;
  std::string_view content;
};
const std::vector<Asset>& assets();

// The page needs nothing from elsewhere, and nothing that a model writes may run or fetch anything.
inline constexpr char kContentSecurityPolicy[] =
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

}  // namespace sedum::serve::web
