#pragma once
// Walks over the bytes of a GGUF file without believing them: every read is checked against what is left.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "formats/gguf.h"

namespace sedum {

class GgufCursor {
 public:
  // `label` begins every message.
  GgufCursor(std::string_view bytes, std::string_view label) : bytes_(bytes), label_(label) {}

  template <class T>
  T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  std::string_view string(std::string_view what) { return take(read<uint64_t>(what), what); }
  std::string_view take(uint64_t count, std::string_view what) {
    if (count > bytes_.size() - position_) truncated(count, what);
    const std::string_view taken = bytes_.substr(position_, count);
    position_ += count;
    return taken;
  }
  GgufValue value(GgufType type, std::string_view what, int depth = 0);
  GgufType type(std::string_view what);

  uint64_t position() const { return position_; }
  uint64_t size() const { return bytes_.size(); }

 private:
  [[noreturn]] void truncated(uint64_t count, std::string_view what) const;
  std::string_view bytes_, label_;
  uint64_t position_ = 0;
};

}  // namespace sedum
