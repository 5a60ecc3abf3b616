#include "formats/tensorboard.h"

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    table[i] = crc;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// Protocol buffers, by hand: key = field number << 3 | wire type (0 varint, 1 fixed 64, 2 length-delimited, 5 fixed 32).
void varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += char(value | 0x80);
  out += char(value);
}
void number(std::string& out, int field, uint64_t value) { varint(out, uint64_t(field) << 3), varint(out, value); }
void bytes(std::string& out, int field, std::string_view value) {
  varint(out, uint64_t(field) << 3 | 2), varint(out, value.size());
  out += value;
}
template <class T>
void fixed(std::string& out, int field, T value) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  varint(out, uint64_t(field) << 3 | (sizeof(T) == 8 ? 1 : 5)), append(out, value);
}

// Field numbers: tensorflow/core/util/event.proto and framework/{summary,tensor,tensor_shape}.proto.
enum EventField { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
enum ValueField { kTag = 1, kSimpleValue = 2, kTensor = 8, kMetadata = 9 };
constexpr int kDtypeString = 7, kSessionStart = 1;

std::string summary(const std::string& value) {
  std::string summary_message, event;
  bytes(summary_message, 1, value);
  bytes(event, kSummary, summary_message);
  return event;
}

std::string file_name() {
  static std::atomic<int> files{0};  // two writers in one second and process
  char host[256] = "host";
  ::gethostname(host, sizeof(host) - 1);
  return fmt::format("events.out.tfevents.{:010}.{}.{}.{}", std::time(nullptr), host, ::getpid(), files++);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = kCrcTable[(crc ^ uint8_t(c)) & 255] ^ crc >> 8;
  return ~crc;
}

std::string tf_record(std::string_view data) {
  std::string record;
  append(record, uint64_t{data.size()});
  append(record, masked_crc(record));
  record += data;
  append(record, masked_crc(data));
  return record;
}

TensorboardWriter::TensorboardWriter(const std::filesystem::path& folder, int64_t first_step) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error("cannot create " + folder.string() + ": " + error.message(), "check the path");
  path_ = folder / file_name();
  std::string version;
  bytes(version, kFileVersion, "brain.Event:2");
  event(version, 0);
  if (first_step <= 0) return;
  std::string log, start;
  number(log, 1, kSessionStart);
  bytes(start, kSessionLog, log);
  event(start, first_step);
}

void TensorboardWriter::event(std::string_view fields, int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string message;
  fixed(message, kWallTime, std::chrono::duration<double>(now).count());
  if (step != 0) number(message, kStep, uint64_t(step));
  message += fields;
  append_bytes(path_, tf_record(message));
}

void TensorboardWriter::scalar(std::string_view tag, double value, int64_t step) {
  std::string message;
  bytes(message, kTag, tag);
  fixed(message, kSimpleValue, float(value));
  event(summary(message), step);
}

void TensorboardWriter::text(std::string_view tag, std::string_view markdown, int64_t step) {
  std::string plugin, metadata, dimension, shape, tensor, message;
  bytes(plugin, 1, "text");
  bytes(metadata, 1, plugin);
  number(dimension, 1, 1);
  bytes(shape, 2, dimension);
  number(tensor, 1, kDtypeString);
  bytes(tensor, 2, shape);
  bytes(tensor, 8, markdown);
  bytes(message, kTag, tag);
  bytes(message, kTensor, tensor);
  bytes(message, kMetadata, metadata);
  event(summary(message), step);
}

}  // namespace sedum
