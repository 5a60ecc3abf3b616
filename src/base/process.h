#pragma once
// Running another program, without a shell.
//
//   ProcessResult result = run_process({"python3", "-m", "pip", "--version"});
//   if (result.exit_code != 0) throw Error(result.output);
//
// `directory`, `output` and `terminal` decide where it runs and who reads what it writes:
//
//   run_process({"ninja"}, {.directory = "build", .output = [](std::string_view piece) { show(piece); }});
//   run_process({"cmake", "--build", "."}, {.terminal = true});      // as if the user had typed it

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace sedum {

struct ProcessResult {
  int exit_code = 0;   // 127: no such program; 128 + n: ended by signal n
  std::string output;  // standard output and error, the last 64 KiB
};

struct ProcessOptions {
  std::vector<std::string> environment = {};          // "NAME=value", beside the program's own
  std::filesystem::path directory = {};               // where it runs; default: here
  std::function<void(std::string_view)> output = {};  // what it writes, in pieces as they come
  std::function<bool()> tick = {};                    // ten times a second; false ends the program
  bool terminal = false;                              // shares standard input, output and error; nothing is kept
  bool group = false;                                 // a process group of its own, ended as a whole by `tick`
  std::string input = {};                             // its standard input, at most 64 KiB; default: nothing
};

ProcessResult run_process(const std::vector<std::string>& command, const ProcessOptions& options = {});

}  // namespace sedum
