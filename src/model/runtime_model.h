#pragma once
// A model ready to run: checkpoint, adapters, packed weights, and the memory it all lives in.
//
//   Runtime runtime;                                               // threads and memory of the program
//   RuntimeModel model(runtime, "model.gguf", {.compute = Compute::kInt8, .adapter = "runs/a/adapter"});
//   Variable hidden = model.model().hidden_states(ctx, batch);     // ctx = runtime.context(Compute::kInt8)

#include <filesystem>
#include <memory>
#include <optional>

#include "base/arena.h"
#include "base/thread_pool.h"
#include "model/adapters/several.h"
#include "model/checkpoint/factory.h"

namespace sedum {

struct Runtime {
  explicit Runtime(int threads = 0) : pool(threads) {}
  ThreadPool pool;
  Arena arena;
  Context context(Compute compute) { return {.pool = &pool, .arena = &arena, .compute = compute}; }
};

struct RuntimeOptions {
  Compute compute = Compute::kInt8;
  std::filesystem::path adapter = {};  // "": none
  // Further ones, by name, that rows of a step may choose: see AdapterRows. `adapter` is the one of rows that choose none.
  std::vector<std::pair<std::string, std::filesystem::path>> named_adapters = {};
  bool nf4_base = false;  // linear layers in NF4 whatever they are stored in: what `finetuning_type: qlora` trains on
  PackCacheOptions pack_cache = {};  // for kInt8; a model without a folder packs at every start
};

class RuntimeModel {
 public:
  // `path` may also be the folder of an adapter whose config names its base.
  RuntimeModel(Runtime& runtime, const std::filesystem::path& path, const RuntimeOptions& options);
  const CausalModel& model() const { return *model_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  Compute compute() const { return options_.compute; }
  size_t packed_bytes() const { return packed_bytes_; }
  const PackCacheOptions& pack_cache() const { return options_.pack_cache; }
  PackedStore* packed_store() const { return store_.get(); }  // null: none
  Runtime& runtime() const { return runtime_; }

  std::vector<std::string> adapter_names() const;
  // What AdapterRows counts; 0 for "" and no adapter. Error for a name that is not known.
  int adapter_index(const std::string& name) const;
  // For the one thread that computes steps. Does nothing where there are no named adapters.
  void select_adapters(std::vector<AdapterRows::Run> runs) const { adapter_rows_->select(std::move(runs)); }

 private:
  Runtime& runtime_;
  RuntimeOptions options_;
  Checkpoint checkpoint_;
  std::unique_ptr<PackedStore> store_;
  std::unique_ptr<AdapterRows> adapter_rows_ = std::make_unique<AdapterRows>();
  std::unique_ptr<CausalModel> model_;
  size_t packed_bytes_ = 0;
};

// The base and the adapter that a path means: itself and none, or an adapter folder's base and the folder.
struct ModelPath {
  std::filesystem::path base, adapter;
};
ModelPath resolve_model_path(const std::filesystem::path& path);

}  // namespace sedum
