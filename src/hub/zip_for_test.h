#pragma once
// Making small archives for tests.

#include <cstdint>
#include <string>
#include <vector>

#include <zlib.h>

namespace sedum::hub {

struct ZipContent {
  std::string name, content;
  bool deflated;
};

inline std::string make_zip(const std::vector<ZipContent>& members) {
  const auto bytes = [](uint64_t value, int size) {
    std::string text;
    for (int i = 0; i < size; ++i, value >>= 8) text += char(value);
    return text;
  };
  std::string archive, directory;
  for (const ZipContent& member : members) {
    std::string packed = member.content;
    if (member.deflated) {
      z_stream stream{};
      deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
      packed.resize(deflateBound(&stream, uLong(member.content.size())));
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(member.content.data()));
      stream.avail_in = uInt(member.content.size());
      stream.next_out = reinterpret_cast<Bytef*>(packed.data());
      stream.avail_out = uInt(packed.size());
      deflate(&stream, Z_FINISH);
      packed.resize(stream.total_out);
      deflateEnd(&stream);
    }
    const uLong crc =
        crc32_z(crc32(0, nullptr, 0), reinterpret_cast<const Bytef*>(member.content.data()), member.content.size());
    const std::string common = bytes(20, 2) + bytes(0, 2) + bytes(member.deflated ? 8 : 0, 2) + bytes(0, 4) +
                               bytes(crc, 4) + bytes(packed.size(), 4) + bytes(member.content.size(), 4) +
                               bytes(member.name.size(), 2);
    directory += "PK\x01\x02" + bytes(20, 2) + common + bytes(0, 12) + bytes(archive.size(), 4) + member.name;
    archive += "PK\x03\x04" + common + bytes(0, 2) + member.name + packed;
  }
  const uint64_t start = archive.size(), count = members.size();
  return archive + directory + "PK\x05\x06" + bytes(0, 4) + bytes(count, 2) + bytes(count, 2) +
         bytes(directory.size(), 4) + bytes(start, 4) + bytes(0, 2);
}

}  // namespace sedum::hub
