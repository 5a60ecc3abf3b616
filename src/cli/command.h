#pragma once
// A subcommand is one file: it declares its flags on a CLI11 app and gives a function to run.
//
//   SEDUM_COMMAND(pull, "fetches a model") {          // in pull.cc
//     auto options = std::make_shared<Options>();
//     app.add_option("name", options->name, "…")->required();
//     app.footer("example: sedum pull smollm2-135m");
//     return [options] { …; };
//   }
//
// What the command throws becomes one line on standard error and exit code 1 (Error) in main.cc.

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sedum::cli {

using Run = std::function<void()>;
using Setup = Run (*)(CLI::App& app);

struct Command {
  const char* name;
  const char* summary;
  Setup setup;
};

}  // namespace sedum::cli

// Defines the function sedum::cli::setup_NAME; commands.cc lists it.
#define SEDUM_COMMAND(NAME) ::sedum::cli::Run sedum::cli::setup_##NAME([[maybe_unused]] CLI::App& app)
