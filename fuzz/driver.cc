// Runs a fuzz target where libFuzzer is not to be had: g++ builds.
//
//   fuzz_gguf --seconds 60 --seed 1          mutates the seeds it was built with and what it found; exit 1 and a file on failure
//   fuzz_gguf FILE_OR_FOLDER...              with files: those inputs, once each (to repeat a failure)
//   fuzz_gguf --corpus FOLDER                more seeds
//
// A target is a file fuzz_NAME.cc with the entry point that libFuzzer calls; it catches sedum::Error and nothing else, so that any
// other exception ends the program. Inputs that reach new edges (coverage.h) join the corpus. The same seed and the same number of
// executions (--runs) give the same inputs. Failures: a crash, an exception, more than --cpu-seconds for one input, more than
// --rss-mib in all.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "fuzz/coverage.h"
#include "fuzz/mutator.h"
#include "fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Sanitizers end by SIGABRT, where the input is kept. The usual quarantine of 256 MiB would hide what an input costs; one
// allocation of a GiB is a failure.
extern "C" const char* __asan_default_options() {
  return "abort_on_error=1:quarantine_size_mb=8:max_allocation_size_mb=1024";
}
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace sedum::fuzz {
namespace {

namespace fs = std::filesystem;

struct Options {
  double seconds = 10;
  uint64_t seed = 1, runs = 0, max_size = 1 << 16;
  long cpu_seconds = 5, rss_mib = 2048;
  std::vector<fs::path> corpus, inputs;
};

// Read by signal handlers, so: plain memory.
const std::string* running = nullptr;
char artifact[256];
long rss_limit_mib, cpu_limit_ticks;
volatile long ticks;
constexpr long kTicksPerSecond = 10;

// Only calls that a signal handler may make.
[[noreturn]] void fail(const char* why) {
  const auto say = [](const char* text) { return ::write(2, text, std::strlen(text)) > 0; };
  say("\nfuzz: "), say(why);
  if (running) {
    const int file = ::open(artifact, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file >= 0 && ::write(file, running->data(), running->size()) >= 0) say("; the input is in "), say(artifact);
  }
  say("\n");
  ::_exit(1);
}

void check_memory() {
  rusage use;
  ::getrusage(RUSAGE_SELF, &use);
  if (use.ru_maxrss >> 10 > rss_limit_mib) fail("too much memory");
}

void on_tick(int) {
  check_memory();
  ticks = ticks + 1;
  if (ticks > cpu_limit_ticks) fail("too slow");
}

void catch_failures(const Options& options) {
  std::snprintf(artifact, sizeof(artifact), "fuzz_%s.failure-%d", target::kName, int(::getpid()));
  rss_limit_mib = options.rss_mib;
  cpu_limit_ticks = options.cpu_seconds * kTicksPerSecond;
  struct sigaction action = {};
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  action.sa_handler = on_tick;
  ::sigaction(SIGPROF, &action, nullptr);
  action.sa_handler = [](int) { fail("crashed"); };
  ::sigaction(SIGABRT, &action, nullptr);
#ifndef __SANITIZE_ADDRESS__  // which says more about these, then aborts
  static char stack[1 << 16];
  const stack_t alternate{stack, 0, sizeof(stack)};
  ::sigaltstack(&alternate, nullptr);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::sigaction(signal, &action, nullptr);
#endif
  const itimerval every{{0, 1'000'000 / kTicksPerSecond}, {0, 1'000'000 / kTicksPerSecond}};
  ::setitimer(ITIMER_PROF, &every, nullptr);  // of processor time: a busy machine makes nothing fail
}

void run_one(const std::string& input) {
  // A copy of just its size: a string's own memory ends in a zero that reading beyond the input would find.
  const auto bytes = std::make_unique_for_overwrite<uint8_t[]>(input.size());
  std::copy(input.begin(), input.end(), bytes.get());
  ticks = 0;
  running = &input;
  LLVMFuzzerTestOneInput(bytes.get(), input.size());
  check_memory();
  running = nullptr;
}

// Adds what the last run reached to `seen`; true when some edge is new, or ran a new order of magnitude of times.
bool remember(Coverage& seen) {
  bool news = false;
  const Coverage& now = coverage();
  for (size_t i = 0; i < now.size(); i += 8) {
    if (uint64_t word; std::memcpy(&word, &now[i], 8), word == 0) continue;
    for (size_t j = i; j < i + 8; ++j) {
      const auto bucket = now[j] == 0 ? 0 : uint8_t(1u << (31 - __builtin_clz(now[j])));
      if (bucket & ~seen[j]) seen[j] = uint8_t(seen[j] | bucket), news = true;
    }
  }
  return news;
}

std::vector<std::string> read_all(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path))
      files.push_back(path);
    else
      for (const auto& entry : fs::recursive_directory_iterator(path))
        if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> contents;
  for (const fs::path& file : files) contents.push_back(read_file(file));
  return contents;
}

// Seeds longer than max_size are left out: each run would cost their length.
std::vector<std::string> first_corpus(const Options& options) {
  std::vector<std::string> corpus;
  for (std::string& seed : read_all(options.corpus))
    if (seed.size() <= options.max_size) corpus.push_back(std::move(seed));
  if (corpus.empty()) corpus = {"", std::string(64, '\0')};
  return corpus;
}

void fuzz(const Options& options, std::vector<std::string> dictionary) {
  constexpr size_t kMostInputs = 20'000;
  std::vector<std::string> corpus = first_corpus(options);
  const size_t seeds = corpus.size();
  Mutator mutator(options.seed, std::move(dictionary));
  static Coverage seen{};
  uint64_t runs = 0;
  const auto run = [&](const std::string& input) {
    coverage().fill(0);
    run_one(input);
    ++runs;
    return remember(seen);
  };
  for (const std::string& seed : corpus) run(seed);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  while (options.runs ? runs < options.runs : elapsed() < options.seconds) {
    const size_t recent = std::max<size_t>(corpus.size() / 4, 1);
    const size_t pick = mutator.below(2) ? mutator.below(corpus.size()) : corpus.size() - 1 - mutator.below(recent);
    std::string input = mutator.mutate(corpus[pick], corpus[mutator.below(corpus.size())], options.max_size);
    if (run(input) && corpus.size() < kMostInputs) corpus.push_back(std::move(input));
  }
  const auto edges = std::count_if(seen.begin(), seen.end(), [](uint8_t n) { return n != 0; });
  fmt::print("{}: {} executions in {:.0f} s ({:.0f}/s), {} seeds, {} inputs kept, {} edges\n", target::kName, runs,
             elapsed(), double(runs) / std::max(elapsed(), 1e-3), seeds, corpus.size() - seeds, edges);
}

Options parse_arguments(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (!name.starts_with("--")) {
      options.inputs.emplace_back(name);
      continue;
    }
    if (++i == argc) throw Error(name + " needs a value");
    const char* value = argv[i];
    if (name == "--seconds")
      options.seconds = std::strtod(value, nullptr);
    else if (name == "--seed")
      options.seed = std::strtoull(value, nullptr, 10);
    else if (name == "--runs")
      options.runs = std::strtoull(value, nullptr, 10);
    else if (name == "--max-size")
      options.max_size = std::strtoull(value, nullptr, 10);
    else if (name == "--cpu-seconds")
      options.cpu_seconds = std::strtol(value, nullptr, 10);
    else if (name == "--rss-mib")
      options.rss_mib = std::strtol(value, nullptr, 10);
    else if (name == "--corpus")
      options.corpus.emplace_back(value);
    else
      throw Error("unknown option " + name, "see the top of fuzz/driver.cc");
  }
  return options;
}

// target::kSeeds: files and folders, separated by colons, that CMake knows of.
void add_built_in_seeds(Options& options) {
  std::string_view rest = target::kSeeds;
  while (!rest.empty()) {
    const std::string_view path = rest.substr(0, rest.find(':'));
    if (fs::exists(path)) options.corpus.emplace_back(path);
    rest.remove_prefix(std::min(path.size() + 1, rest.size()));
  }
}

int run_driver(int argc, char** argv) {
  Options options = parse_arguments(argc, argv);
  catch_failures(options);
  if (!options.inputs.empty()) {
    const auto inputs = read_all(options.inputs);
    for (const std::string& input : inputs) run_one(input);
    fmt::print("{}: {} inputs, no failure\n", target::kName, inputs.size());
    return 0;
  }
  add_built_in_seeds(options);
  const bool has_dictionary = fs::exists(target::kDictionary);
  fuzz(options, has_dictionary ? parse_dictionary(read_file(target::kDictionary)) : std::vector<std::string>{});
  return 0;
}

}  // namespace
}  // namespace sedum::fuzz

int main(int argc, char** argv) {
  try {
    return sedum::fuzz::run_driver(argc, argv);
  } catch (const sedum::Error& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
