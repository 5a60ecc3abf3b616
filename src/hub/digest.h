#pragma once
// Checksums of files.
//
//   Checksum{Checksum::Kind::kSha256, "b179…"}.matches(path)

#include <filesystem>
#include <string>

namespace sedum::hub {

struct Checksum {
  // kGitBlob is how git names a file's content: SHA-1 over "blob SIZE\0" and the bytes; the hub gives it for small files.
  enum class Kind { kNone, kSha256, kGitBlob };
  Kind kind = Kind::kNone;
  std::string hex = {};

  bool known() const { return kind != Kind::kNone; }
  bool matches(const std::filesystem::path& file) const;  // true when there is none
};

std::string digest(const std::filesystem::path& file, Checksum::Kind kind);  // hexadecimal, lower case

}  // namespace sedum::hub
