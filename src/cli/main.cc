// The program: finds the command, runs it, and turns what it throws into one line and an exit code.
//   0 success · 1 a user's or a file's mistake · 2 wrong usage · 130 interrupted

#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "cli/command.h"

namespace {

void report(const char* kind, const std::string& message) {
  std::string line = message;
  for (char& c : line)
    if (c == '\n') c = ' ';
  std::fprintf(stderr, "%s: %s\n", kind, line.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Sedum: the whole life of a language model, on the CPU.", "sedum");
  app.require_subcommand(1);
  app.set_version_flag("--version", "sedum " SEDUM_VERSION);
  bool quiet = false;
  app.add_flag("-q,--quiet", quiet, "no progress on standard error");
  app.footer("sedum COMMAND --help explains a command and gives an example.");
  sedum::cli::Run run;
  for (const auto& command : sedum::cli::commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->callback([&run, chosen = command.setup(sedum::cli::Flags(sub))] { run = chosen; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  sedum::Progress::silence(quiet);
  try {
    if (run) run();
    return 0;
  } catch (const sedum::cli::UsageError& e) {
    report("error", e.what());
    return 2;
  } catch (const sedum::Error& e) {
    report("error", e.what());
  } catch (const std::exception& e) {
    report("internal error", e.what());
  }
  return 1;
}
