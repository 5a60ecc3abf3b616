#include "model/runtime_model.h"

#include "base/error.h"

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
  CheckpointFactory base(checkpoint_, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena,
                         options_.compute == Compute::kInt8 ? Pack::kForward : Pack::kNone);
  if (options_.adapter.empty()) {
    model_ = build_model(checkpoint_.config(), base);
  } else {
    StoredAdapter adapter = read_adapter(options_.adapter, runtime.arena);
    LoraFactory factory(base, adapter.config, runtime.pool, runtime.arena, std::move(adapter.weights), false);
    model_ = build_model(checkpoint_.config(), factory);
    factory.check_complete();
  }
  packed_bytes_ = base.packed_bytes();
}

}  // namespace sedum
