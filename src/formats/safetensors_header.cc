#include "formats/safetensors_header.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <simdjson.h>

#include "base/error.h"
#include "formats/tensor_source.h"

namespace sedum {
namespace {

namespace json = simdjson::ondemand;

struct Type {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};

// The list of huggingface/safetensors 0.8. BOOL stands behind U8: a U8 is written as U8.
constexpr Type kTypes[] = {
    {"U8", 8, DType::kU8},
    {"BOOL", 8, DType::kU8},
    {"I8", 8, DType::kI8},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"I32", 32, DType::kI32},
    {"F32", 32, DType::kF32},
    {"I64", 64, DType::kI64},
    {"F64", 64, DType::kF64},
    {"F4", 4, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},
    {"F8_E5M2", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt},
    {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},
    {"I16", 16, std::nullopt},
    {"U16", 16, std::nullopt},
    {"U32", 32, std::nullopt},
    {"U64", 64, std::nullopt},
    {"C64", 64, std::nullopt},
};

constexpr const char* kFetch = "fetch the file again";

const Type* find_type(std::string_view name) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return t.name == name; });
  return type == std::end(kTypes) ? nullptr : type;
}

std::vector<int64_t> read_shape(json::array array) {
  std::vector<int64_t> shape;
  for (auto size : array) {
    const uint64_t value = size.get_uint64();
    if (value > uint64_t(INT64_MAX)) throw Error(fmt::format("a dimension of {}", value));
    shape.push_back(int64_t(value));
  }
  return shape;
}

void read_offsets(json::array array, SafetensorsInfo& tensor) {
  uint64_t offsets[2] = {}, count = 0;
  for (auto offset : array) {
    if (count == 2) throw Error("data_offsets of more than two numbers");
    offsets[count++] = offset.get_uint64();
  }
  if (count != 2 || offsets[0] > offsets[1]) throw Error("data_offsets that are no range");
  tensor.begin = offsets[0], tensor.end = offsets[1];
}

void check_size(const SafetensorsInfo& tensor) {
  const Type* type = find_type(tensor.dtype);
  if (!type) throw Error("unknown dtype " + printable(tensor.dtype));
  const auto values = stored_bytes(DType::kU8, tensor.shape);
  uint64_t bits = 0;
  if (!values || __builtin_mul_overflow(*values, uint64_t(type->bits), &bits))
    throw Error("shape " + shape_text(tensor.shape) + " overflows");
  if (bits % 8 != 0 || bits / 8 != tensor.end - tensor.begin)
    throw Error(fmt::format("{} {} takes {} bytes, data_offsets give {}", tensor.dtype, shape_text(tensor.shape),
                            bits / 8, tensor.end - tensor.begin));
}

SafetensorsInfo read_info(json::object object) {
  SafetensorsInfo tensor;
  bool dtype = false, shape = false, offsets = false;
  const auto once = [](bool& seen, std::string_view key) {
    if (std::exchange(seen, true)) throw Error(std::string(key) + " stands twice");
  };
  for (auto field : object) {
    const std::string key{std::string_view(field.unescaped_key())};
    if (key == "dtype")
      once(dtype, key), tensor.dtype = std::string_view(field.value().get_string());
    else if (key == "shape")
      once(shape, key), tensor.shape = read_shape(field.value().get_array());
    else if (key == "data_offsets")
      once(offsets, key), read_offsets(field.value().get_array(), tensor);
  }
  if (!dtype || !shape || !offsets) throw Error("needs dtype, shape and data_offsets");
  check_size(tensor);
  return tensor;
}

std::map<std::string, std::string> read_strings(json::object object) {
  std::map<std::string, std::string> strings;
  for (auto field : object) {
    const std::string key{std::string_view(field.unescaped_key())};
    const std::string_view value = field.value().get_string();
    if (!strings.emplace(key, value).second) throw Error(printable(key) + " stands twice");
  }
  return strings;
}

// Runs `read` on the members of a JSON object; what it throws becomes an Error with label and member.
template <class Read>
void for_each_member(std::string_view text, const std::string& label, Read read) {
  std::string member = "the header";
  try {
    json::parser parser;
    const simdjson::padded_string padded(text);
    json::document document = parser.iterate(padded);
    for (auto field : document.get_object()) {
      const std::string key{std::string_view(field.unescaped_key())};
      member = printable(key);
      read(key, field.value());
    }
    member = "the end";
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
      throw Error("something stands after the object");
  } catch (const simdjson::simdjson_error& e) {
    throw Error(fmt::format("{}: bad JSON at {}: {}", label, member, e.what()), kFetch);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}: {}", label, member, e.problem()), kFetch);
  }
}

void check_file_name(const std::string& file) {
  if (file.empty() || file == "." || file == ".." ||
      file.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
    throw Error("is said to be in " + printable(file) + ", which is no plain file name");
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& label) {
  SafetensorsHeader header;
  if (!text.starts_with('{')) throw Error(label + ": not a safetensors file: the header is no JSON object", kFetch);
  bool metadata = false;
  for_each_member(text, label, [&](const std::string& key, json::value value) {
    if (key == "__metadata__") {
      if (std::exchange(metadata, true)) throw Error("stands twice");
      header.metadata = read_strings(value.get_object());
    } else if (!header.tensors.emplace(key, read_info(value.get_object())).second) {
      throw Error("stands twice");
    }
  });
  return header;
}

std::map<std::string, std::string> parse_safetensors_index(std::string_view text, const std::string& label) {
  std::map<std::string, std::string> files;
  bool found = false;
  for_each_member(text, label, [&](const std::string& key, json::value value) {
    if (key != "weight_map") return;
    if (std::exchange(found, true)) throw Error("stands twice");
    files = read_strings(value.get_object());
    for (const auto& entry : files) check_file_name(entry.second);
  });
  if (!found) throw Error(label + " has no weight_map", kFetch);
  return files;
}

std::optional<DType> dtype_from_safetensors(std::string_view name) {
  const Type* type = find_type(name);
  return type ? type->dtype : std::nullopt;
}

std::optional<std::string_view> safetensors_from_dtype(DType dtype) {
  for (const Type& type : kTypes)
    if (type.dtype == dtype) return type.name;
  return std::nullopt;
}

}  // namespace sedum
