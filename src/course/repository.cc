#include "course/repository.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/process.h"

namespace sedum::course {
namespace {

// English messages, no questions, no pager, and not the repository of a git hook that we may have been started by.
const std::vector<std::string> kEnvironment{"LC_ALL=C.UTF-8", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0"};

ProcessResult git(const std::filesystem::path& folder, std::vector<std::string> arguments) {
  std::vector<std::string> command{"env", "-u", "GIT_DIR",       "-u", "GIT_WORK_TREE",     "-u", "GIT_INDEX_FILE",
                                   "git", "-C", folder.string(), "-c", "core.quotepath=off"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_process(command, {.environment = kEnvironment});
}

// The line of git's answer that tells why: the first of "fatal:" or "error:", or else the last.
std::string reason(const std::string& output) {
  std::string last;
  for (size_t begin = 0; begin < output.size();) {
    const size_t end = std::min(output.find('\n', begin), output.size());
    const std::string line = output.substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with("fatal: ") || line.starts_with("error: ")) return line.substr(7);
    if (!line.empty()) last = line;
  }
  return last;
}

std::string mend_of(const std::string& output) {
  if (output.find("user.email") != std::string::npos || output.find("user.name") != std::string::npos)
    return "tell git who you are: git config --global user.name NAME; git config --global user.email MAIL";
  if (output.find("index.lock") != std::string::npos)
    return "wait for the other git, or remove the lock it left behind";
  if (output.find("merge") != std::string::npos || output.find("rebase") != std::string::npos)
    return "finish or abort what git is in the middle of, then check in again";
  return "mend it and check in again, or pass --no-commit; the log is as it was before";
}

}  // namespace

Repository Repository::around(const std::filesystem::path& folder) {
  const ProcessResult result = git(folder, {"rev-parse", "--show-toplevel"});
  if (result.exit_code == 127)
    throw Error("git is not installed, and a check-in is a commit", "apt-get install git, or pass --no-commit");
  if (result.exit_code != 0) {
    const bool none = result.output.find("not a git repository") != std::string::npos;
    throw Error(none ? fmt::format("{} is in no git repository, and a check-in is a commit", folder.string())
                     : fmt::format("git cannot use {}: {}", folder.string(), reason(result.output)),
                fmt::format("make one with `git init {}`, or pass --no-commit", folder.string()));
  }
  std::string root = result.output;
  while (root.ends_with('\n')) root.pop_back();
  return Repository(root);
}

bool Repository::contains(const std::filesystem::path& path) const {
  const auto relative = std::filesystem::weakly_canonical(path).lexically_relative(root_);
  return !relative.empty() && *relative.begin() != "..";
}

bool Repository::changed(const std::filesystem::path& path) const {
  const std::string status = git(root_, {"status", "--porcelain", "--", path.string()}).output;
  return !status.empty() && !status.starts_with("??");
}

int Repository::changed_files() const {
  const std::string status = git(root_, {"status", "--porcelain", "--untracked-files=no"}).output;
  return int(std::count(status.begin(), status.end(), '\n'));
}

std::string Repository::commit(const std::vector<std::filesystem::path>& paths, const std::string& message) const {
  std::vector<std::string> names{"--"};
  for (const auto& path : paths) names.push_back(path.string());
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), names.begin(), names.end());
    return git(root_, arguments);
  };
  const auto fail = [&](const ProcessResult& result) {
    const bool first = git(root_, {"rev-parse", "--verify", "-q", "HEAD"}).exit_code != 0;
    if (first)
      run({"rm", "-r", "-q", "--cached", "--ignore-unmatch"});
    else
      run({"reset", "-q"});
    throw Error("git does not commit: " + reason(result.output), mend_of(result.output));
  };
  if (const auto added = run({"add"}); added.exit_code != 0) fail(added);
  if (run({"status", "--porcelain"}).output.empty()) return "";
  if (const auto made = run({"commit", "-q", "--only", "-m", message}); made.exit_code != 0) fail(made);
  std::string hash = git(root_, {"rev-parse", "--short", "HEAD"}).output;
  while (hash.ends_with('\n')) hash.pop_back();
  return hash;
}

}  // namespace sedum::course
