// GGUF: whatever the bytes, a file that can be read to the end or an Error.

#include <string>
#include <vector>

#include "base/error.h"
#include "formats/gguf.h"

namespace sedum {
namespace {

uint64_t touch(const StoredTensor& tensor) {
  uint64_t sum = 0;
  for (size_t i = 0; i < tensor.bytes; ++i) sum += static_cast<const uint8_t*>(tensor.data)[i];
  return sum;
}

void walk(const GgufValue& value) {
  if (value.type != GgufType::kArray) return;
  for (const GgufValue& element : value.elements()) walk(element);
}

template <class T>
void get(const GgufFile& file, const std::string& key) {
  try {
    file.get<T>(key);
  } catch (const Error&) {
  }
}

}  // namespace
}  // namespace sedum

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sedum;
  try {
    const GgufFile file({reinterpret_cast<const std::byte*>(bytes), size}, "fuzz.gguf");
    for (const auto& [key, value] : file.metadata()) {
      walk(value);
      get<int32_t>(file, key), get<float>(file, key), get<bool>(file, key), get<std::string>(file, key);
      get<std::vector<std::string_view>>(file, key), get<std::vector<int64_t>>(file, key);
    }
    volatile uint64_t sum = 0;
    for (const std::string& name : file.names()) {
      try {
        sum = sum + touch(file.get(name));
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
