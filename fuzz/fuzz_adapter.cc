// A PEFT folder: two bytes with the length of adapter_config.json, that file, adapter_model.safetensors. Whatever they claim, the adapter is
// laid over layers of two sizes, or an Error.

#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/safetensors.h"
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

void load(std::string_view config, std::span<const std::byte> weights) {
  Arena arena(Arena::Backing::kMemory, uint64_t{1} << 28);
  StoredAdapter adapter;
  adapter.config = parse_adapter_config(config, "adapter_config.json", &adapter.unknown_fields);
  adapter.weights = adapter_weights(SafetensorsFile(weights, "adapter_model.safetensors"), arena);
  BareFactory base;
  const AdapterRows rows;
  std::vector<StoredAdapter> adapters;
  adapters.push_back(std::move(adapter));
  SeveralFactory factory(base, std::move(adapters), rows);
  for (const char* layer : {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"})
    factory.linear(layer, 32, 16, false);
  factory.check_complete();
}

}  // namespace
}  // namespace sedum

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2) return 0;
  const size_t length = std::min<size_t>(bytes[0] | bytes[1] << 8, size - 2);
  try {
    sedum::load({reinterpret_cast<const char*>(bytes) + 2, length},
                {reinterpret_cast<const std::byte*>(bytes) + 2 + length, size - 2 - length});
  } catch (const sedum::Error&) {
  }
  return 0;
}
