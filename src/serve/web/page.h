#pragma once
// The chat page: page.html, as the build put it into the program.

#include <string_view>

namespace sedum::serve::web {

std::string_view page();

// The page needs nothing from elsewhere, and nothing that a model writes may fetch anything.
inline constexpr char kContentSecurityPolicy[] =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

}  // namespace sedum::serve::web
