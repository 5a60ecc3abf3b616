#include "quant/importance.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "formats/gguf.h"

namespace sedum {
namespace {

constexpr const char* kMend = "give a file that llama-imatrix or `sedum quantize --calibration` wrote";
constexpr const char *kSums = ".in_sum2", *kCounts = ".counts";

// The older form, read without believing it.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string label) : bytes_(bytes), label_(std::move(label)) {}
  template <class T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  const std::byte* take(size_t count) {
    if (count > bytes_.size() - at_) throw Error(label_ + ": no importance matrix, or one that is cut off", kMend);
    return bytes_.data() + std::exchange(at_, at_ + count);
  }
  int32_t count(int32_t most) {
    const auto n = read<int32_t>();
    if (n < 1 || n > most)
      throw Error(label_ + ": a count of " + std::to_string(n) + " at byte " + std::to_string(at_ - 4), kMend);
    return n;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string label_;
  size_t at_ = 0;
};

bool valid(const std::vector<float>& values) {
  for (const float v : values)
    if (!(v >= 0) || !std::isfinite(v)) return false;
  return true;
}

}  // namespace

ImportanceMatrix ImportanceMatrix::read(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse(file.bytes(), path.string());
}

ImportanceMatrix ImportanceMatrix::parse(std::span<const std::byte> bytes, const std::string& label) {
  ImportanceMatrix m;
  const auto put = [&](const std::string& name, std::vector<float> means, double count) {
    if (!valid(means)) throw Error(label + ": " + printable(name) + " holds what is no mean square", kMend);
    m.entries_[name] = {{}, count, std::move(means)};
  };
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) {
    const GgufFile gguf(bytes, label);
    for (const std::string& name : gguf.names()) {
      if (!name.ends_with(kSums)) continue;
      const std::string stem = name.substr(0, name.size() - std::strlen(kSums));
      const StoredTensor& sums = gguf.get(name);
      const StoredTensor* counts = gguf.find(stem + kCounts);
      if (sums.dtype != DType::kF32 || !counts || counts->dtype != DType::kF32 || counts->bytes < 4)
        throw Error(label + ": " + printable(name) + " has no counts", kMend);
      const auto* values = static_cast<const float*>(sums.data);
      const float count = *static_cast<const float*>(counts->data);
      std::vector<float> means(values, values + sums.bytes / 4);
      for (float& v : means) v = count > 0 ? v / count : 1;
      put(stem, std::move(means), double(count));
    }
  } else {
    Cursor in(bytes, label);
    const int32_t entries = in.count(1 << 20);
    for (int32_t i = 0; i < entries; ++i) {
      const int32_t length = in.count(4096);
      const std::string name(reinterpret_cast<const char*>(in.take(size_t(length))), size_t(length));
      const auto calls = in.read<int32_t>();
      const int32_t columns = in.count(1 << 26);
      std::vector<float> means(static_cast<size_t>(columns));
      std::memcpy(means.data(), in.take(means.size() * 4), means.size() * 4);
      for (float& v : means) v /= float(std::max(calls, 1));
      put(name, std::move(means), double(calls));
    }
  }
  if (m.entries_.empty()) throw Error(label + " holds no importance of any tensor", kMend);
  return m;
}

void ImportanceMatrix::write(const std::filesystem::path& path) const {
  GgufWriter out(path);
  out.set("general.type", "imatrix");
  out.set("imatrix.datasets", std::vector<std::string>{"calibration"});
  out.set("imatrix.chunk_count", uint32_t{1});
  out.set("imatrix.chunk_size", uint32_t{512});
  for (const auto& [name, entry] : entries_) {
    std::vector<float> sums(entry.means.size());
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = entry.means[i] * float(entry.count);
    const float count = float(entry.count);
    out.add(name + kSums, DType::kF32, {1, int64_t(sums.size())},
            [sums](const ByteSink& sink) { sink(sums.data(), sums.size() * 4); });
    out.add(name + kCounts, DType::kF32, {1, 1}, [count](const ByteSink& sink) { sink(&count, 4); });
  }
  out.finish();
}

const std::vector<float>* ImportanceMatrix::find(const std::string& gguf_name) const {
  const auto found = entries_.find(gguf_name);
  return found == entries_.end() ? nullptr : &found->second.means;
}

void ImportanceMatrix::add(const std::string& gguf_name, const float* x, int64_t rows, int64_t columns) {
  Entry& entry = entries_[gguf_name];
  entry.sums.resize(size_t(columns));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) entry.sums[size_t(c)] += double(x[r * columns + c]) * x[r * columns + c];
  entry.count += double(rows);
}

void ImportanceMatrix::finish() {
  for (auto& [name, entry] : entries_) {
    entry.means.resize(entry.sums.size());
    for (size_t i = 0; i < entry.sums.size(); ++i) entry.means[i] = float(entry.sums[i] / entry.count);
  }
}

ImportanceMatrix measure_importance(Runtime& runtime, const Checkpoint& checkpoint, const Calibration& rows) {
  ImportanceMatrix m;
  observe_inputs(runtime, checkpoint, rows, [&](const std::string& name, const Tensor& x) {
    const std::string stored = gguf_name(name + ".weight", checkpoint.config());
    if (!stored.empty()) m.add(stored, x.data<float>(), x.shape().rows(), x.size(-1));
  });
  m.finish();
  return m;
}

}  // namespace sedum
