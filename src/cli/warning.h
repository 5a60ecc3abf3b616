#pragma once
// A line on standard error for what the user should know of while the command goes on. Nothing for an empty text.
//
//   print_warning(gguf_limit(checkpoint.config()));

#include <cstdio>
#include <string>

namespace sedum::cli {

inline void print_warning(const std::string& text) {
  if (!text.empty()) std::fputs(("warning: " + text + "\n").c_str(), stderr);
}

}  // namespace sedum::cli
