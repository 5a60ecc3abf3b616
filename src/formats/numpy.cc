#include "formats/numpy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "formats/pending_tensor.h"

namespace sedum {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kLongestHeader = 1 << 16;  // NumPy itself refuses more than 10,000 characters
constexpr size_t kMostDimensions = 64;      // NumPy 2's limit
constexpr uint64_t kAlignment = 64;
constexpr const char* kAsC = "save it with np.save(path, np.ascontiguousarray(array))";

struct Type {
  std::string_view descr;  // without the byte order
  DType dtype;
};
constexpr Type kTypes[] = {{"f4", DType::kF32}, {"f8", DType::kF64}, {"f2", DType::kF16}, {"i4", DType::kI32},
                           {"i8", DType::kI64}, {"i1", DType::kI8},  {"u1", DType::kU8},  {"b1", DType::kU8}};

// The header is a Python dict literal of three known entries, in any order.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& label) : rest_(text), label_(label) {}

  bool fortran() const { return fortran_; }
  NpyArray parse() {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      member(key);
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!rest_.empty() || seen_ != 7) bad("a dict of descr, fortran_order and shape");
    return std::move(array_);
  }

 private:
  void member(std::string_view key) {
    const int bit = key == "descr" ? 1 : key == "fortran_order" ? 2 : key == "shape" ? 4 : 0;
    if (bit == 0 || (seen_ & bit) != 0) bad("descr, fortran_order and shape, each once");
    seen_ |= bit;
    if (bit == 1)
      descr();
    else if (bit == 2)
      order();
    else
      shape();
  }

  void descr() {
    skip_space();
    if (rest_.starts_with('[')) refuse("a structured array", "save the fields as arrays of their own");
    const std::string_view text = quoted();
    const std::string_view name = text.empty() ? text : text.substr(1);
    const auto type =
        std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return t.descr == name; });
    if (type == std::end(kTypes)) refuse("an array of " + printable(text), "convert it to float32, int32 or int64");
    const bool one_byte = info(type->dtype).block_bytes == 1;
    if (text[0] == '>') refuse("a big-endian array", "save it with array.astype(array.dtype.newbyteorder('<'))");
    if (text[0] != '<' && text[0] != '=' && !(text[0] == '|' && one_byte)) bad("a byte order");
    array_.dtype = type->dtype;
    array_.is_bool = name == "b1";
  }

  void order() {
    skip_space();
    const bool fortran = rest_.starts_with("True");
    if (!fortran && !rest_.starts_with("False")) bad("True or False");
    rest_.remove_prefix(fortran ? 4 : 5);
    fortran_ = fortran;
  }

  void shape() {
    expect('(');
    while (!accept(')')) {
      if (array_.shape.size() == kMostDimensions) bad("at most 64 dimensions");
      array_.shape.push_back(integer());
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
  }

  int64_t integer() {
    skip_space();
    int64_t value = -1;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc() || value < 0) bad("a size");
    rest_.remove_prefix(size_t(end - rest_.data()));
    if (rest_.starts_with('L')) rest_.remove_prefix(1);  // Python 2 wrote 3L
    return value;
  }

  std::string_view quoted() {
    skip_space();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) bad("a quoted word");
    const size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) bad("a closing quote");
    const std::string_view word = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return word;
  }

  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n\r"), rest_.size())); }
  bool accept(char c) {
    skip_space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) bad(std::string("'") + c + "'");
  }
  [[noreturn]] void bad(const std::string& wanted) const {
    throw Error(fmt::format("{}: bad header at \"{}\": expected {}", label_, printable(rest_.substr(0, 20)), wanted),
                "save the array again with np.save");
  }
  [[noreturn]] void refuse(const std::string& what, const std::string& mend) const {
    throw Error(fmt::format("{}: {}, which Sedum cannot read", label_, what), mend);
  }

  std::string_view rest_;
  const std::string& label_;
  NpyArray array_;
  bool fortran_ = false;
  int seen_ = 0;
};

// Cuts the header off the file: its text and where the data begins.
std::pair<std::string_view, size_t> cut_header(std::string_view file, const std::string& label) {
  if (!file.starts_with(kMagic)) throw Error(label + ": not a .npy file", "save the array with np.save");
  const size_t length_at = kMagic.size() + 2;
  const int version = file.size() < length_at ? 0 : uint8_t(file[kMagic.size()]);
  const size_t length_bytes = version == 1 ? 2 : 4;
  if (file.size() < length_at + length_bytes) throw Error(label + ": truncated in the header", "copy the file again");
  if (version < 1 || version > 3)
    throw Error(fmt::format("{}: .npy version {}, Sedum reads 1 to 3", label, version), "save it again with np.save");
  uint32_t length = 0;
  std::memcpy(&length, file.data() + length_at, length_bytes);
  const size_t begin = length_at + length_bytes;
  if (length > kLongestHeader)
    throw Error(fmt::format("{}: a header of {} bytes", label, length), "save it with np.save");
  if (length > file.size() - begin) throw Error(label + ": truncated in the header", "copy the file again");
  return {file.substr(begin, length), begin + length};
}

std::string header_text(std::string_view descr, const std::vector<int64_t>& shape) {
  std::string sizes;
  for (const int64_t size : shape) sizes += std::to_string(size) + ", ";
  if (shape.size() > 1)
    sizes.resize(sizes.size() - 2);
  else if (shape.size() == 1)
    sizes.resize(sizes.size() - 1);  // (3,)
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, sizes);
  const size_t before = kMagic.size() + 4;
  text.append(kAlignment - 1 - (before + text.size()) % kAlignment, ' ');
  text += '\n';
  return text;
}

void write(const std::filesystem::path& path, std::string_view descr, const PendingTensor& tensor) {
  const std::string header = header_text(descr, tensor.shape);
  const auto length = uint16_t(header.size());
  AtomicFile file(path);
  file.write(kMagic);
  file.write(std::string_view("\x01\x00", 2));
  file.write(&length, sizeof(length));
  file.write(header);
  write_tensor("write_npy", file, tensor);
  file.commit();
}

}  // namespace

void NpyArray::check_type(DType wanted) const {
  if (wanted != dtype)
    throw ApiError("NpyArray", fmt::format("asked for {}, holds {}", info(wanted).name, info(dtype).name));
}

NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& label, std::shared_ptr<const void> owner) {
  const std::string_view file{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  const auto [header, begin] = cut_header(file, label);
  HeaderParser parser(header, label);
  NpyArray array = parser.parse();
  const auto size = stored_bytes(array.dtype, array.shape);
  if (!size || *size > file.size() - begin)
    throw Error(fmt::format("{}: truncated: {} of {} does not fit into the {} bytes after the header", label,
                            shape_text(array.shape), info(array.dtype).name, file.size() - begin),
                "copy the file again");
  // Of one dimension both orders are the same.
  const auto longer = std::count_if(array.shape.begin(), array.shape.end(), [](int64_t n) { return n > 1; });
  if (parser.fortran() && longer > 1) throw Error(label + ": an array in Fortran order", kAsC);
  array.bytes = *size;
  array.data = bytes.data() + begin;
  array.owner = std::move(owner);
  if (reinterpret_cast<uintptr_t>(array.data) % uint64_t(info(array.dtype).block_bytes) != 0) {
    auto copy = std::shared_ptr<std::byte[]>(new std::byte[array.bytes]);
    std::memcpy(copy.get(), array.data, array.bytes);
    array.data = copy.get();
    array.owner = std::move(copy);
  }
  return array;
}

NpyArray read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_npy(file.bytes(), path.string(), file.owner());
}

void write_npy(const std::filesystem::path& path, DType dtype, std::vector<int64_t> shape, TensorProducer data) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return t.dtype == dtype; });
  if (type == std::end(kTypes)) throw ApiError("write_npy", fmt::format("NumPy has no type for {}", info(dtype).name));
  if (shape.size() > kMostDimensions) throw ApiError("write_npy", "more than 64 dimensions");
  const bool one_byte = info(dtype).block_bytes == 1;
  write(path, (one_byte ? "|" : "<") + std::string(type->descr),
        pending_tensor("write_npy", path.filename().string(), dtype, std::move(shape), std::move(data), {}));
}

void write_npy(const std::filesystem::path& path, DType dtype, std::vector<int64_t> shape, const void* data) {
  const size_t bytes = stored_bytes(dtype, shape).value_or(0);
  write_npy(path, dtype, std::move(shape), producer_of(data, bytes));
}

void write_npy_bool(const std::filesystem::path& path, std::vector<int64_t> shape, const uint8_t* data) {
  const size_t bytes = stored_bytes(DType::kU8, shape).value_or(0);
  write(path, "|b1",
        pending_tensor("write_npy_bool", path.filename().string(), DType::kU8, std::move(shape),
                       producer_of(data, bytes), {}));
}

}  // namespace sedum
