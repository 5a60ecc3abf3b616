#include "model/runtime_model.h"

#include "base/error.h"
#include "model/checkpoint/nf4_factory.h"

namespace sedum {
namespace fs = std::filesystem;

ModelPath resolve_model_path(const fs::path& path) {
  // A run's folder holds its result under "adapter" or "model".
  for (const fs::path& candidate : {path, path / "adapter"})
    if (is_adapter(candidate)) {
      const LoraConfig config = read_adapter_config(candidate);
      if (config.base_model_name_or_path.empty() || !fs::exists(config.base_model_name_or_path))
        throw Error(candidate.string() + ": its base model \"" + config.base_model_name_or_path + "\" is not here",
                    "give the base with --model and this folder with --adapter");
      return {config.base_model_name_or_path, candidate};
    }
  if (fs::exists(path / "model" / "config.json")) return {path / "model", ""};
  return {path, ""};
}

RuntimeModel::RuntimeModel(Runtime& runtime, const fs::path& path, const RuntimeOptions& options)
    : runtime_(runtime), options_(options) {
  const ModelPath resolved = resolve_model_path(path);
  if (options_.adapter.empty()) options_.adapter = resolved.adapter;
  if (fs::exists(options_.adapter / "adapter" / "adapter_config.json")) options_.adapter /= "adapter";
  checkpoint_ = Checkpoint::open(resolved.base);
  const bool packs = options_.compute == Compute::kInt8 && !options_.nf4_base;
  if (packs && !options_.pack_cache.folder.empty() && runtime.arena.backed())
    store_ = std::make_unique<PackedStore>(checkpoint_, options_.pack_cache, runtime.pool.size());
  CheckpointFactory stored(checkpoint_, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena,
                           packs ? Pack::kForward : Pack::kNone, store_.get());
  if (options_.adapter.empty() && options_.named_adapters.empty()) stored.leave_out_copies();
  Nf4Factory nf4(stored, runtime.pool, runtime.arena);
  LayerFactory& base = options_.nf4_base ? static_cast<LayerFactory&>(nf4) : stored;
  if (!options_.named_adapters.empty()) {
    std::vector<StoredAdapter> adapters;
    if (!options_.adapter.empty()) adapters.push_back(read_adapter(options_.adapter, runtime.arena));
    for (const auto& [name, folder] : options_.named_adapters) {
      if (name.empty()) throw Error("an adapter has no name", "write NAME=FOLDER");
      const fs::path inner = folder / "adapter";
      adapters.push_back(read_adapter(is_adapter(inner) ? inner : folder, runtime.arena));
    }
    SeveralFactory factory(base, std::move(adapters), *adapter_rows_);
    model_ = build_model(checkpoint_.config(), factory);
    factory.check_complete();
  } else if (options_.adapter.empty()) {
    model_ = build_model(checkpoint_.config(), base);
  } else {
    StoredAdapter adapter = read_adapter(options_.adapter, runtime.arena);
    LoraFactory factory(base, adapter.config, runtime.pool, runtime.arena, std::move(adapter.weights), false);
    model_ = build_model(checkpoint_.config(), factory);
    factory.check_complete();
  }
  packed_bytes_ = stored.packed_bytes();
  if (store_) store_->save();
  // What identifies the file, and what was packed, maps two megabytes at a touch; the embeddings' rows come back as they are asked for.
  if (packs) checkpoint_.source().forget_pages();
}

std::vector<std::string> RuntimeModel::adapter_names() const {
  std::vector<std::string> names;
  for (const auto& [name, folder] : options_.named_adapters) names.push_back(name);
  return names;
}

int RuntimeModel::adapter_index(const std::string& name) const {
  if (options_.named_adapters.empty() && name.empty()) return 0;
  const int first = options_.adapter.empty() ? 0 : 1;  // the one without a name comes before
  if (name.empty()) return first;
  for (size_t i = 0; i < options_.named_adapters.size(); ++i)
    if (options_.named_adapters[i].first == name) return first + int(i) + 1;
  const std::string near = nearest_name(name, adapter_names());
  throw Error("the adapter \"" + name + "\" is not loaded",
              near.empty() ? "leave it out" : "did you mean " + near + "?");
}

}  // namespace sedum
