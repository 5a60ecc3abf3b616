#pragma once
// The sampling options that generate, chat and serve share.

#include <CLI/CLI.hpp>

#include "infer/engine.h"

namespace sedum::cli {

void add_sampling_options(CLI::App& app, SamplingParams& sampling);

}  // namespace sedum::cli
