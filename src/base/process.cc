#include "base/process.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

extern char** environ;

namespace sedum {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const std::vector<std::string>& extra) {
  std::vector<std::string> all = extra;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('=') + 1);
    if (std::none_of(extra.begin(), extra.end(), [&](const std::string& e) { return e.starts_with(name); }))
      all.push_back(text);
  }
  return all;
}

constexpr size_t kKeptOutput = 64 << 10;

// The program's standard output and error; nothing when it shares the terminal.
struct Pipe {
  int read = -1, write = -1;
  void open(const std::string& program) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw_system_error("cannot start", program);
    read = ends[0], write = ends[1];
  }
  void close_write() {
    if (write >= 0) ::close(write);
    write = -1;
  }
  ~Pipe() {
    close_write();
    if (read >= 0) ::close(read);
  }
};

// Starts the program; 0 when there is none of that name.
pid_t spawn(const std::vector<std::string>& command, const ProcessOptions& options, const Pipe& output,
            const Pipe& input) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (!options.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
  if (!options.terminal) {
    if (input.read >= 0)
      posix_spawn_file_actions_adddup2(&actions, input.read, STDIN_FILENO);
    else
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output.write, STDERR_FILENO);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  if (options.group) posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  const std::vector<std::string> variables = environment_with(options.environment);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, command[0].c_str(), &actions, &attributes, pointers(command).data(),
                                    pointers(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return failed ? 0 : pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void keep(std::string& kept, std::string_view piece) {
  kept.append(piece);
  if (kept.size() > 2 * kKeptOutput) kept.erase(0, kept.size() - kKeptOutput);
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& command, const ProcessOptions& options) {
  SEDUM_CHECK(!command.empty() && options.input.size() <= kKeptOutput);
  Pipe output, input;
  if (!options.terminal) output.open(command[0]);
  if (!options.input.empty()) {
    input.open(command[0]);
    // A pipe of Linux holds 64 KiB, so that this never waits.
    if (::write(input.write, options.input.data(), options.input.size()) < 0)
      throw_system_error("cannot write to", command[0]);
    input.close_write();
  }
  const pid_t pid = spawn(command, options, output, input);
  if (pid == 0) return {127, command[0] + ": no such program"};
  output.close_write();
  if (options.terminal) return {wait_for(pid), ""};

  ProcessResult result;
  bool ended_by_us = false;
  for (char buffer[4096];;) {
    pollfd readable{output.read, POLLIN, 0};
    if (::poll(&readable, 1, 100) > 0) {
      const ssize_t n = ::read(output.read, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      keep(result.output, {buffer, size_t(n)});
      if (options.output) options.output({buffer, size_t(n)});
    }
    if (options.tick && !ended_by_us && !options.tick()) {
      ended_by_us = true;
      ::kill(options.group ? -pid : pid, SIGTERM);
    }
  }
  result.exit_code = wait_for(pid);
  if (result.output.size() > kKeptOutput) result.output.erase(0, result.output.size() - kKeptOutput);
  return result;
}

}  // namespace sedum
