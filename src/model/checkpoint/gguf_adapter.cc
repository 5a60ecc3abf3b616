#include "model/checkpoint/gguf_adapter.h"

#include <cstring>
#include <set>

#include "base/error.h"
#include "formats/gguf.h"
#include "model/checkpoint/gguf_metadata.h"
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

// What the adapter has for a tensor of the file: A and B of each of its parts, null for an expert that was left as it is.
struct Pair {
  const Tensor *a = nullptr, *b = nullptr;
};
std::vector<Pair> pairs_of(const GgufParts& tensor, const StoredAdapter& adapter, std::set<std::string>& left) {
  std::vector<Pair> pairs;
  bool any = false;
  for (const std::string& name : tensor.parts) {
    pairs.emplace_back();
    if (!name.ends_with(".weight")) continue;
    const std::string stem = name.substr(0, name.size() - 7);
    const auto a = adapter.weights.find(peft_name(stem, 'A')), b = adapter.weights.find(peft_name(stem, 'B'));
    if (a == adapter.weights.end() || b == adapter.weights.end()) continue;
    left.erase(a->first), left.erase(b->first);
    pairs.back() = {&a->second, &b->second}, any = true;
  }
  return any ? pairs : std::vector<Pair>{};
}

void check_fit(const std::string& name, const Pair& pair, const Shape& shape, int64_t rank) {
  if (!pair.a || (pair.a->shape() == Shape{rank, shape[1]} && pair.b->shape() == Shape{shape[0], rank})) return;
  throw Error("the adapter's weights of " + name.substr(0, name.size() - 7) + " do not fit the model",
              "it was made for another model");
}

// Those of experts one after the other: (experts, rows, columns), zeros where an expert has none.
void add_matrices(GgufWriter& out, const std::string& name, bool stacked, int64_t rows, int64_t cols,
                  std::vector<std::vector<float>> parts) {
  std::vector<int64_t> shape{rows, cols};
  if (stacked) shape.insert(shape.begin(), int64_t(parts.size()));
  out.add(name, DType::kF32, shape, [parts = std::move(parts), rows, cols](const ByteSink& sink) {
    const std::vector<float> zeros(size_t(rows * cols));
    for (const std::vector<float>& part : parts)
      sink((part.empty() ? zeros : part).data(), zeros.size() * sizeof(float));
  });
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
  const int64_t rank = adapter.config.r, head_dim = base.config().head_dim;
  for (const GgufParts& tensor : gguf_parts(base)) {
    const std::vector<Pair> pairs = pairs_of(tensor, adapter, left);
    if (pairs.empty()) continue;
    const std::string& first = tensor.parts.front();
    const Shape shape = base.tensor(first).shape();
    const bool interleave =
        family.interleaved && (first.ends_with(".q_proj.weight") || first.ends_with(".k_proj.weight"));
    std::vector<std::vector<float>> a, b;
    for (size_t i = 0; i < pairs.size(); ++i) {
      const Pair& pair = pairs[i];
      check_fit(tensor.parts[i], pair, shape, rank);
      a.push_back(pair.a ? ordered_rows(*pair.a, false, head_dim) : std::vector<float>{});
      b.push_back(pair.b ? ordered_rows(*pair.b, interleave, head_dim) : std::vector<float>{});
    }
    add_matrices(out, tensor.name + ".lora_a", tensor.stacked, rank, shape[1], std::move(a));
    add_matrices(out, tensor.name + ".lora_b", tensor.stacked, shape[0], rank, std::move(b));
  }
  if (!left.empty())
    throw Error("the adapter's " + *left.begin() + " has no place in a GGUF adapter, or fits no layer of " +
                    base.path().string(),
                kMend);
  out.finish();
}

}  // namespace sedum
