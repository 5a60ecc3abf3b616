#pragma once
// Checksums of files and of bytes.
//
//   Checksum{Checksum::Kind::kSha256, "b179…"}.matches(path)

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace sedum {

struct Checksum {
  // kGitBlob is how git names a file's content: SHA-1 over "blob SIZE\0" and the bytes; the hub gives it for small files.
  enum class Kind { kNone, kSha256, kGitBlob };
  Kind kind = Kind::kNone;
  std::string hex = {};

  bool known() const { return kind != Kind::kNone; }
  bool matches(const std::filesystem::path& file) const;  // true when there is none
};

std::string digest(const std::filesystem::path& file, Checksum::Kind kind);  // hexadecimal, lower case
std::string sha256(std::string_view bytes);                                  // likewise

// Finds accidents, not forgeries, at the speed of memory. Bytes of one 64-bit word that differ always give another sum.
uint64_t quick_sum(std::span<const std::byte> bytes);

}  // namespace sedum
