#pragma once
// The two kinds of JSON of safetensors: the header of a file and the index of shards. JSON is read on demand, never built as a
// tree: a hostile header of 100 MB costs a small multiple of its size.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compute/dtype/dtype.h"

namespace sedum {

constexpr uint64_t kLongestSafetensorsHeader = 100'000'000;  // the reference implementation's limit

// What the header says of a tensor; dtype may be one that Sedum cannot read ("F8_E4M3").
struct SafetensorsInfo {
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // within the data
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsInfo, std::less<>> tensors;
  std::map<std::string, std::string> metadata;
};

// Errors begin with `label`. Checks each tensor's size against shape and dtype, not its place.
SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& label);
// Tensor name → file name, which is a plain name: no folder, no way up.
std::map<std::string, std::string> parse_safetensors_index(std::string_view json, const std::string& label);

std::optional<DType> dtype_from_safetensors(std::string_view name);
std::optional<std::string_view> safetensors_from_dtype(DType dtype);  // nullopt: block formats

}  // namespace sedum
