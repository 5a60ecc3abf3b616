#include "hub/zip.h"

#include <algorithm>

#include <zlib.h>

#include "base/error.h"

namespace sedum::hub {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50, kDirectorySignature = 0x02014b50, kLocalSignature = 0x04034b50;
constexpr size_t kEndSize = 22, kDirectorySize = 46, kLocalSize = 30;

uint64_t little_endian(std::string_view bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= uint64_t(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return value;
}
uint16_t u16(std::string_view bytes, size_t at) { return uint16_t(little_endian(bytes, at, 2)); }
uint32_t u32(std::string_view bytes, size_t at) { return uint32_t(little_endian(bytes, at, 4)); }

}  // namespace

void ZipFile::damaged(const std::string& what) const {
  throw Error("cannot read " + file_.path().string() + " as ZIP: " + what, "fetch it again");
}

std::string_view ZipFile::at(uint64_t offset, uint64_t size) const {
  const std::string_view all = file_.text();
  if (offset > all.size() || size > all.size() - offset)
    damaged("byte " + std::to_string(offset) + " lies beyond its end");
  return all.substr(offset, size);
}

ZipFile::ZipFile(const std::filesystem::path& path) : file_(path) {
  const std::string_view all = file_.text();
  // The end record comes last, before a comment of at most 65,535 bytes.
  size_t end = std::string_view::npos;
  for (size_t back = kEndSize; back <= std::min(all.size(), kEndSize + 65535) && end == std::string_view::npos;
       ++back) {
    if (u32(at(all.size() - back, kEndSize), 0) == kEndSignature) end = all.size() - back;
  }
  if (end == std::string_view::npos) damaged("it has no directory");
  const std::string_view record = at(end, kEndSize);
  const uint16_t count = u16(record, 10);
  if (u16(record, 4) != 0 || u16(record, 8) != count) damaged("it is one part of several");
  if (count == 0xffff || u32(record, 16) == 0xffffffff) damaged("ZIP64 is not supported");

  uint64_t offset = u32(record, 16);
  for (int i = 0; i < count; ++i) {
    const std::string_view head = at(offset, kDirectorySize);
    if (u32(head, 0) != kDirectorySignature) damaged("its directory is broken at byte " + std::to_string(offset));
    const size_t name_size = u16(head, 28);
    members_.push_back({.name = std::string(at(offset + kDirectorySize, name_size)),
                        .size = u32(head, 24),
                        .packed_size = u32(head, 20),
                        .offset = u32(head, 42),
                        .crc = u32(head, 16),
                        .method = u16(head, 10)});
    if (u16(head, 8) & 1) damaged(members_.back().name + " is encrypted");
    offset += kDirectorySize + name_size + u16(head, 30) + u16(head, 32);
  }
}

void ZipFile::extract(std::string_view name, const std::function<void(std::string_view)>& sink) const {
  const auto found = std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.name == name; });
  if (found == members_.end()) damaged("it does not hold " + std::string(name));
  const Member& member = *found;
  const std::string_view local = at(member.offset, kLocalSize);
  if (u32(local, 0) != kLocalSignature) damaged(member.name + " is not where the directory says");
  const std::string_view packed = at(member.offset + kLocalSize + u16(local, 26) + u16(local, 28), member.packed_size);

  uLong crc = crc32(0, nullptr, 0);
  const auto checked = [&](std::string_view piece) {
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(piece.data()), piece.size());
    sink(piece);
  };
  if (member.method == 0) {
    if (member.packed_size != member.size) damaged(member.name + " has two sizes");
    constexpr size_t kPiece = 1 << 20;
    for (size_t done = 0; done < packed.size(); done += kPiece) checked(packed.substr(done, kPiece));
  } else if (member.method == 8) {
    inflate(member, packed, checked);
  } else {
    damaged(member.name + " is packed by method " + std::to_string(member.method) + ", which is not supported");
  }
  if (crc != member.crc) damaged(member.name + " does not match its CRC");
}

void ZipFile::inflate(const Member& member, std::string_view packed,
                      const std::function<void(std::string_view)>& sink) const {
  z_stream stream{};
  SEDUM_CHECK(inflateInit2(&stream, -MAX_WBITS) == Z_OK);  // raw, as ZIP has it
  struct End {
    z_stream& stream;
    ~End() { inflateEnd(&stream); }
  } end{stream};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = uInt(packed.size());  // below 4 GiB: the field has 32 bits
  std::string piece(std::min<uint64_t>(member.size + 1, 1 << 20), '\0');
  uint64_t done = 0;
  for (int state = Z_OK; state != Z_STREAM_END;) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = uInt(piece.size());
    state = ::inflate(&stream, Z_NO_FLUSH);
    const size_t got = piece.size() - stream.avail_out;
    if ((state != Z_OK && state != Z_STREAM_END) || (state == Z_OK && got == 0 && stream.avail_in == 0)) {
      damaged(member.name + " cannot be unpacked");
    }
    done += got;
    if (done > member.size) damaged(member.name + " is longer than it says");
    sink(std::string_view(piece).substr(0, got));
  }
  if (done != member.size) damaged(member.name + " is shorter than it says");
}

}  // namespace sedum::hub
