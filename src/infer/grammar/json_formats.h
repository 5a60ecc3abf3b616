#pragma once
#include <string>

namespace sedum::grammar {

// A regular expression for texts of a JSON-schema format; "" for a format that is not known: it is an annotation then.
std::string format_pattern(const std::string& format);

}  // namespace sedum::grammar
