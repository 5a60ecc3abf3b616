#pragma once
// What the tests of this room share.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "formats/tensor_source.h"

namespace sedum {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(SEDUM_SOURCE_DIR) / "tests/golden/formats" / name;
}

struct TempFolder {
  std::filesystem::path path;
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "sedum_formats_XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path); }
  std::filesystem::path operator/(const std::string& name) const { return path / name; }
};

inline std::string hex(const void* data, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i)
    for (const int shift : {4, 0}) text += "0123456789abcdef"[static_cast<const uint8_t*>(data)[i] >> shift & 15];
  return text;
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Without the zero that ends a string: the sanitizer sees a read beyond the last byte.
inline std::vector<std::byte> exact_copy(std::string_view text) {
  return {as_bytes(text).begin(), as_bytes(text).end()};
}

// The message of the Error that `act` must throw.
template <class F>
std::string error_of(F act) {
  try {
    act();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "no Error";
  return "";
}

template <class T>
void append_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// Bytes asked of operator new so far, freed or not; stays 0 under the address sanitizer.
size_t requested_bytes();

// Runs a reader on hostile bytes: it may succeed or throw Error, and must not ask for much memory.
template <class F>
bool survives(F read) {
  constexpr size_t kMost = 64 << 20;
  const size_t before = requested_bytes();
  bool good = true;
  try {
    read();
  } catch (const Error&) {
    good = false;
  }
  EXPECT_LE(requested_bytes() - before, kMost);
  return good;
}

}  // namespace sedum
