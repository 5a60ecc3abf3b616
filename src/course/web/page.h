#pragma once
// The course's page: page.html, as the build put it into the program. {{token}} and {{nonce}} are filled in for each answer.

#include <string_view>

namespace sedum::course::web {

std::string_view page();

}  // namespace sedum::course::web
