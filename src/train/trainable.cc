#include "train/trainable.h"

#include "base/error.h"
#include "model/checkpoint/export.h"

namespace sedum {

int64_t TrainableModel::trainable_count() const {
  int64_t n = 0;
  for (const Variable& p : parameters) n += p.value().count();
  return n;
}

TrainableModel build_trainable(const TrainConfig& config, Runtime& runtime, Arena& arena) {
  TrainableModel t{.checkpoint = Checkpoint::open(config.model_name_or_path),
                   .model = nullptr,
                   .parameters = {},
                   .lora = {},
                   .packed_bytes = 0};
  if (config.finetuning_type == "full") {
    CheckpointFactory factory(t.checkpoint, CheckpointFactory::Use::kTrainable, runtime.pool, arena);
    t.model = build_model(t.checkpoint.config(), factory);
    t.parameters = factory.parameters();
    return t;
  }
  CheckpointFactory base(t.checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, arena,
                         config.compute == Compute::kInt8 ? Pack::kBoth : Pack::kNone);
  const auto build = [&](LoraFactory factory) {
    t.model = build_model(t.checkpoint.config(), factory);
    factory.check_complete();
    t.parameters = factory.parameters(), t.lora = factory.config(), t.packed_bytes = base.packed_bytes();
  };
  if (config.adapter_name_or_path.empty()) {
    build(LoraFactory(base, config.lora, arena, config.seed));
  } else {
    StoredAdapter adapter = read_adapter(config.adapter_name_or_path, arena);
    build(LoraFactory(base, adapter.config, arena, std::move(adapter.weights), true));
  }
  t.lora->base_model_name_or_path = std::filesystem::absolute(config.model_name_or_path).string();
  return t;
}

void write_result(const TrainableModel& trained, const std::filesystem::path& output_dir) {
  if (trained.lora) return write_adapter(output_dir / "adapter", *trained.lora, trained.parameters);
  write_folder(output_dir / "model", trained.checkpoint, trained.parameters);
}

}  // namespace sedum
