#pragma once
// Running another program, without a shell.
//
//   ProcessResult result = run_process({"python3", "-m", "pip", "--version"});
//   if (result.exit_code != 0) throw Error(result.output);

#include <functional>
#include <string>
#include <vector>

namespace sedum::hub {

struct ProcessResult {
  int exit_code = 0;   // 127: no such program; 128 + n: ended by signal n
  std::string output;  // standard output and error, the last 64 KiB
};

struct ProcessOptions {
  std::vector<std::string> environment = {};  // "NAME=value", beside the program's own
  std::function<bool()> tick = {};            // ten times a second; false ends the program
};

ProcessResult run_process(const std::vector<std::string>& command, const ProcessOptions& options = {});

}  // namespace sedum::hub
