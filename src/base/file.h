#pragma once
// Files: read by mapping, written whole or not at all.
//
//   MappedFile file("model.gguf");            // bytes() stays valid while `file` (or a copy) lives
//   AtomicFile out("adapter.safetensors");    // writes beside its name
//   out.write(bytes); out.commit();           // sync, rename, sync the folder; without commit() nothing is left

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sedum {

// A read-only private mapping of a whole file. Copies share it. Throws Error with the path and the system's reason.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  const std::filesystem::path& path() const { return path_; }
  std::shared_ptr<const void> owner() const { return owner_; }  // keeps the mapping alive
  void forget_pages() const;                                    // no longer resident here until they are read again

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

// A file that appears under its name only when it is complete: written as NAME.partial-PID, synced, then renamed over NAME.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();  // without commit(): removes what was written
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  uint64_t size() const { return size_; }
  void commit();

 private:
  void flush();
  std::filesystem::path path_, partial_;
  int descriptor_ = -1;
  std::string buffer_;
  uint64_t size_ = 0;
};

// A place beside a file or a folder that is being written, gone with this (and the folders above it, if they were made for it and are empty): whoever finds the result right moves it to target().
//
//   const Staging staging("out");     // or "out.gguf"
//   write(staging.path());            // the same file name, in a folder OUT.partial-PID; where OUT is a folder, within it
class Staging {
 public:
  explicit Staging(const std::filesystem::path& target);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& target() const { return target_; }  // absolute, links followed

 private:
  std::filesystem::path target_, folder_, path_;
  std::vector<std::filesystem::path> parents_;  // that were made for it, the deepest first
};

void make_folders(const std::filesystem::path& folder);                              // as mkdir -p
void move_over(const std::filesystem::path& from, const std::filesystem::path& to);  // rename(2)
void write_file(const std::filesystem::path& path, std::string_view content);        // whole, by AtomicFile
std::string read_file(const std::filesystem::path& path);
void append_bytes(const std::filesystem::path& path, std::string_view bytes);  // one write() call
void append_line(const std::filesystem::path& path, std::string_view line);    // one write() call, newline added
void sync_folder(const std::filesystem::path& folder);
// "path: No such file or directory" as an Error, from errno.
[[noreturn]] void throw_system_error(const std::string& what, const std::filesystem::path& path,
                                     const std::string& mend = "");

}  // namespace sedum
