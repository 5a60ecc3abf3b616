// A PEFT folder: two bytes with the length of adapter_config.json, that file, adapter_model.safetensors. Whatever they claim, the adapter is
// laid over layers of two sizes, or an Error.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

#include "base/error.h"
#include "model/adapters/several.h"

namespace sedum {
namespace {

// Layers without weights: an adapter asks them for their sizes alone.
class Bare : public Linear {
 public:
  Bare(int64_t out, int64_t in) : out_(out), in_(in) {}
  Variable forward(Context&, const Variable& x) const override { return x; }
  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  const DenseLinear& dense() const override { throw ApiError("Bare", "has no weights"); }
  void adapt(Context&, const Variable&, Tensor&) const override {}

 private:
  int64_t out_, in_;
};

class BareFactory : public LayerFactory {
 public:
  std::unique_ptr<Linear> linear(const std::string&, int64_t out, int64_t in, bool) override {
    return std::make_unique<Bare>(out, in);
  }
  Variable vector(const std::string&, int64_t) override { return {}; }
  ops::Weight table(const std::string&, int64_t, int64_t) override { return {}; }
};

void load(const std::filesystem::path& folder) {
  Arena arena(Arena::Backing::kMemory, uint64_t{1} << 28);
  std::vector<StoredAdapter> adapters;
  adapters.push_back(read_adapter(folder, arena));
  for (const std::string layer : {"model.layers.11.self_attn.k_proj", "lm_head"})
    if (adapters[0].config.targets(layer)) adapters[0].config.rank_of(layer), adapters[0].config.factor(layer);
  BareFactory base;
  const AdapterRows rows;
  SeveralFactory factory(base, std::move(adapters), rows);
  for (const char* layer : {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"})
    factory.linear(layer, 32, 16, false);
  factory.check_complete();
}

}  // namespace
}  // namespace sedum

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  namespace fs = std::filesystem;
  if (size < 2) return 0;
  static const fs::path folder = fs::temp_directory_path() / ("fuzz-adapter-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const auto length = std::streamsize(std::min<size_t>(bytes[0] | bytes[1] << 8, size - 2));
  const char* const text = reinterpret_cast<const char*>(bytes) + 2;
  std::ofstream(folder / "adapter_config.json", std::ios::binary).write(text, length);
  std::ofstream(folder / "adapter_model.safetensors", std::ios::binary)
      .write(text + length, std::streamsize(size) - 2 - length);
  try {
    sedum::load(folder);
  } catch (const sedum::Error&) {
  }
  return 0;
}
