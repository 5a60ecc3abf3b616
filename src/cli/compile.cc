// sedum compile

#include <algorithm>
#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/random.h"
#include "cli/command.h"
#include "cli/common.h"
#include "compute/kernels/products_tune.h"
#include "infer/local_engine.h"

namespace sedum::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct CompileOptions : ModelOptions {
  int64_t rows = 512;
  bool no_tune = false, json = false;
};

std::vector<int32_t> random_prompt(int64_t tokens, int64_t vocabulary, uint32_t stream) {
  std::vector<int32_t> ids;
  const Random random(3, Purpose::kTest, stream);
  for (int64_t i = 0; i < tokens; ++i) ids.push_back(int32_t(random.below(uint64_t(vocabulary), uint64_t(i))));
  return ids;
}

struct Start {
  double first_token_seconds = 0, prefill = 0;  // since nothing was there; tokens a second of a prompt of `rows`
};

// A start as `sedum generate` makes it: threads, weights, tokenizer, a prompt of 32 tokens and the token after it.
Start measure_start(const CompileOptions& o, const PackCacheOptions& cache) {
  const auto begin = Clock::now();
  Runtime runtime(o.threads);
  const RuntimeModel model(runtime, find_model(o.model), {.pack_cache = cache});
  LocalEngine engine(model, {.prefix_cache = false});
  const int64_t vocabulary = model.model().config().vocab_size;
  const SamplingParams one{.temperature = 0, .max_tokens = 1};
  Start result;
  (void)generate(engine, {.prompt = random_prompt(32, vocabulary, 0), .sampling = one});
  result.first_token_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const int64_t rows = std::min<int64_t>(o.rows, engine.context_length() - 1);
  for (uint32_t i = 1; i <= 3; ++i) {
    const Generation answer = generate(engine, {.prompt = random_prompt(rows, vocabulary, i), .sampling = one});
    result.prefill = std::max(result.prefill, double(rows) / answer.first_token_seconds);
  }
  return result;
}

struct Tuned {
  TunedCut cut;
  int64_t tensors = 0;
  ProductTuning found;
};

// One trial for each shape and type of panels. The head is left out: it sees the last row of a prompt alone.
std::vector<Tuned> tune(const PackedStore& store, ThreadPool& pool, const CompileOptions& o, int64_t vocabulary) {
  std::vector<Tuned> all;
  for (const auto& w : store.matrices()) {
    const DType panels = packed_int8_panels(*w).dtype;
    const auto known = std::find_if(all.begin(), all.end(), [&](const Tuned& t) {
      return t.cut.panels == panels && t.cut.rows == w->rows() && t.cut.cols == w->cols();
    });
    if (known != all.end()) {
      ++known->tensors;
      continue;
    }
    if (w->rows() == vocabulary) continue;
    const ProductTuning found = tune_product(pool, *w, o.rows);
    all.push_back({{machine_name(pool.size()), panels, w->rows(), w->cols(), found.cut}, 1, found});
  }
  return all;
}

bool is_tuned(const PackedStore& store, int threads) {
  const std::string machine = machine_name(threads);
  return std::any_of(store.tuned().begin(), store.tuned().end(),
                     [&](const TunedCut& t) { return t.machine == machine; });
}

Json tuned_json(const std::vector<Tuned>& tuned) {
  Json list = Json::array();
  for (const Tuned& t : tuned)
    list.push_back({{"type", name(t.cut.panels)},
                    {"rows", t.cut.rows},
                    {"cols", t.cut.cols},
                    {"tensors", t.tensors},
                    {"tile_rows", t.cut.cut.tile_rows},
                    {"block_kib", t.cut.cut.block_kib},
                    {"gain", t.found.gain},
                    {"gops", t.found.operations / 1e9}});
  return list;
}

void print_tuned(const std::vector<Tuned>& tuned) {
  for (const Tuned& t : tuned) {
    std::string what = "as it is";
    if (t.cut.cut.block_kib > 0) what = fmt::format("blocks of {} KiB, {:.2f} ×", t.cut.cut.block_kib, t.found.gain);
    if (t.cut.cut.tile_rows > 0) what = fmt::format("tiles of {} rows, {:.2f} ×", t.cut.cut.tile_rows, t.found.gain);
    fmt::print("  {:<5} {:>6} × {:<6} {:>3} tensors  {:>5.0f} GOP/s  {}\n", name(t.cut.panels), t.cut.rows, t.cut.cols,
               t.tensors, t.found.operations / 1e9, what);
  }
}

// The command's work between the two measurements. Everything is gone from memory afterwards.
Json fill(const CompileOptions& o, const PackCacheOptions& cache, std::vector<Tuned>& tuned) {
  Runtime runtime(o.threads);
  const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(find_model(o.model)).base);
  if (is_encoder(checkpoint.config().model_type))
    throw Error("encoders are packed at every start: they are small", "compile the models that write");
  PackedStore store(checkpoint, cache, runtime.pool.size());
  const bool whole = store.verify();
  if (!whole) store.reuse_from_older();
  CheckpointFactory factory(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena, Pack::kForward,
                            &store);
  (void)build_model(checkpoint.config(), factory);
  if (store.matrices().empty())
    throw Error("none of the model's matrices has a packed form", "their inner sizes are no multiples of 32");
  if (!o.no_tune && !is_tuned(store, runtime.pool.size())) {
    tuned = tune(store, runtime.pool, o, checkpoint.config().vocab_size);
    std::vector<TunedCut> cuts;
    for (const Tuned& t : tuned) cuts.push_back(t.cut);
    store.set_tuned(std::move(cuts));
  }
  uint64_t bytes = 0;
  for (const auto& w : store.matrices()) bytes += w->bytes();
  store.save();
  store.wait();
  if (!store.problem().empty()) throw Error(store.problem());
  return {{"file", store.path().string()},
          {"bytes", bytes},
          {"tensors", store.matrices().size()},
          {"packed", store.added() - store.reused()},
          {"reused", store.matrices().size() - store.added() + store.reused()}};
}

void compile(const CompileOptions& o) {
  PackCacheOptions cache = pack_cache_of(o);
  cache.smallest = 0;  // whoever asks gets a file
  if (cache.folder.empty()) throw Error("there is no folder for packed weights", "give --pack-cache FOLDER");
  const Start before = measure_start(o, {});
  std::vector<Tuned> tuned;
  Json report{{"model", o.model}};
  report.update(fill(o, cache, tuned));
  const Start after = measure_start(o, cache);
  if (o.json) {
    report["tuned"] = tuned_json(tuned);
    for (const auto& [name, start] : {std::pair{"before", &before}, {"after", &after}})
      report[name] = {{"first_token_s", start->first_token_seconds}, {"prefill_tok_s", start->prefill}};
    return print_json(report);
  }
  fmt::print("{}\n{} in {} tensors: {} packed, {} reused\n", report["file"].get<std::string>(),
             format_bytes(report["bytes"].get<uint64_t>()), report["tensors"].get<size_t>(),
             report["packed"].get<size_t>(), report["reused"].get<size_t>());
  print_tuned(tuned);
  fmt::print("start to first token   {:.2f} s → {:.2f} s\nprefill of {} tokens  {:.0f} → {:.0f} tokens/s\n",
             before.first_token_seconds, after.first_token_seconds, o.rows, before.prefill, after.prefill);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(compile) {
  auto o = std::make_shared<CompileOptions>();
  app.add_option("-m,--model,model", o->model,
                 "a .gguf file, a Hugging Face folder, a run's folder, or a name that was pulled")
      ->required();
  add_pack_cache_option(app, *o);
  app.add_option("--threads", o->threads, "threads; 0: all cores that this process may use")->check(in_range(0, 1024));
  app.add_option("--rows", o->rows, "the length of prompt that products are tuned for")
      ->capture_default_str()
      ->check(in_range(1, 8192));
  app.add_flag("--no-tune", o->no_tune, "pack only");
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("example: sedum compile qwen2.5-coder-0.5b");
  return [o] { compile(*o); };
}
