#pragma once
// A subcommand is one file that defines one function: it declares flags on a CLI11 app and returns what to run.
//
//   SEDUM_COMMAND(pull) {                               // pull.cc
//     auto options = std::make_shared<Options>();
//     app.add_option("name", options->name, "…")->required();
//     app.footer("example: sedum pull smollm2-135m");
//     return [options] { …; };
//   }
//
// commands.cc lists them. What a command throws becomes one line on standard error in main.cc, and exit code 1; 2 for a UsageError.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/flags.h"

namespace sedum::cli {

// Options that do not make a command together: exit code 2, as for what the parser of the command line refuses.
struct UsageError : Error {
  using Error::Error;
};

using Run = std::function<void()>;
using Setup = Run (*)(Flags app);

struct Command {
  const char* name;
  const char* summary;
  Setup setup;
};
const std::vector<Command>& commands();

}  // namespace sedum::cli

// `sedum tokenizer train` has the function setup_tokenizer_train.
#define SEDUM_COMMAND(NAME)    \
  namespace sedum::cli {       \
  Run setup_##NAME(Flags app); \
  }                            \
  ::sedum::cli::Run sedum::cli::setup_##NAME(Flags app)
