#pragma once
// The folder in which fetched models live: home/models/NAME/, or home/models/OWNER/REPO/.
//
//   FolderLock lock(folder, say);                 // one pull at a time
//   Manifest manifest(folder);
//   if (manifest.verified("model.gguf")) …        // its checksum was seen to match, and it has not been touched since
//
// Hashing half a gigabyte at each start would cost a second: `verified.json` remembers size and time of what was verified.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace sedum::hub {

std::filesystem::path models_folder(const std::filesystem::path& home);

// The file or folder that `name` means: a path, a catalogue name, or OWNER/REPO[:FILE], the latter two when they have been
// fetched. Throws Error with the mend otherwise.
std::filesystem::path resolve_model(std::string_view name, const std::filesystem::path& home);

// Held by whoever fetches into a folder; another process waits (and says so). Freed by the system if the holder dies.
class FolderLock {
 public:
  FolderLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& say);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

class Manifest {
 public:
  explicit Manifest(std::filesystem::path folder);
  bool verified(const std::string& file, const Checksum& checksum = {}) const;  // with a checksum: by that one
  void add(const std::string& file, const Checksum& checksum);                  // `file` has just been verified
  void set_whole(const std::vector<std::string>& files);                        // what a model of this folder needs
  std::filesystem::path whole() const;  // the folder, or the file if it is GGUF; empty if not all is here
  std::filesystem::path find(const std::string& file) const;  // by name or by the part of one that `choose_files` takes
  void save() const;

 private:
  struct Entry {
    uint64_t size = 0;
    int64_t modified = 0;  // nanoseconds
    std::string checksum;
  };
  std::filesystem::path folder_;
  std::map<std::string, Entry> entries_;
  std::vector<std::string> whole_;
};

// Throws Error, with both figures, if the file system of `folder` has not that much left.
void check_space(const std::filesystem::path& folder, uint64_t needed);

// OWNER/REPO[:FILE], or nothing if `name` is not of that form.
struct RepositoryName {
  std::string repository, file;
};
bool parse_repository(std::string_view name, RepositoryName* parsed);

}  // namespace sedum::hub
