#include "model/checkpoint/gguf_adapter.h"

#include <cstring>
#include <set>

#include "base/error.h"
#include "formats/gguf.h"
#include "model/families.h"

namespace sedum {
namespace {

constexpr const char* kMend = "merge it into the model with `sedum merge` instead";

// Rows of B in GGUF's order.
std::vector<float> ordered_rows(const Tensor& b, bool interleave, int64_t head_dim) {
  const int64_t rows = b.size(0), rank = b.size(1);
  std::vector<float> values(size_t(rows * rank));
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t from = interleave ? other_row(r, head_dim, RowOrder::kInterleaved) : r;
    std::memcpy(&values[size_t(r * rank)], b.data<float>() + from * rank, size_t(rank) * sizeof(float));
  }
  return values;
}

}  // namespace

void write_gguf_adapter(const std::filesystem::path& path, const Checkpoint& base, const StoredAdapter& adapter) {
  if (!adapter.config.rank_pattern.empty() || !adapter.config.alpha_pattern.empty())
    throw Error("a GGUF adapter has one alpha, and this adapter has ranks or alphas by pattern", kMend);
  if (adapter.config.changes_base())
    throw Error("the adapter began with init_lora_weights: " + adapter.config.init_lora_weights +
                    ", which changes the base under it",
                kMend);
  std::set<std::string> left;
  for (const auto& [name, tensor] : adapter.weights) left.insert(name);
  GgufWriter out(path);
  const ModelFamily& family = family_of(base.config().model_type, base.path().string());
  out.set("general.architecture", family.gguf_architecture);
  out.set("general.type", "adapter");
  out.set("general.name", path.stem().string());
  out.set("adapter.type", "lora");
  // llama.cpp's factor is alpha / r.
  out.set("adapter.lora.alpha", adapter.config.factor("") * float(adapter.config.r));
  for (const std::string& name : base.tensor_names()) {
    if (!name.ends_with(".weight") || expert_tensor(name)) continue;  // llama.cpp's adapters know experts only together
    const std::string stem = name.substr(0, name.size() - 7);
    const auto a = adapter.weights.find(peft_name(stem, 'A')), b = adapter.weights.find(peft_name(stem, 'B'));
    if (a == adapter.weights.end() || b == adapter.weights.end()) continue;
    left.erase(a->first), left.erase(b->first);
    const Shape shape = base.tensor(name).shape();
    const int64_t rank = adapter.config.r;
    if (!(a->second.shape() == Shape{rank, shape[1]}) || !(b->second.shape() == Shape{shape[0], rank}))
      throw Error("the adapter's weights of " + stem + " do not fit the model", "it was made for another model");
    const bool interleave = family.interleaved && (stem.ends_with(".q_proj") || stem.ends_with(".k_proj"));
    const std::string stored = gguf_name(name, base.config());
    const std::vector<float> rows = ordered_rows(b->second, interleave, base.config().head_dim);
    out.add(stored + ".lora_a", DType::kF32, {rank, shape[1]},
            [t = a->second](const ByteSink& sink) { sink(t.raw(), t.bytes()); });
    out.add(stored + ".lora_b", DType::kF32, {shape[0], rank},
            [rows](const ByteSink& sink) { sink(rows.data(), rows.size() * sizeof(float)); });
  }
  if (!left.empty())
    throw Error("the adapter's " + *left.begin() + " has no place in a GGUF adapter, or fits no layer of " +
                    base.path().string(),
                kMend);
  out.finish();
}

}  // namespace sedum
