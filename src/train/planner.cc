#include "train/planner.h"

#include <array>

#include "compute/kernels/working_memory.h"
#include "train/objective.h"
#include "train/optim/optimizer.h"

namespace sedum {
namespace {

// What a run holds beyond what planning it does: logs, buffers of files, the heap's slack. Measured on runs of a tiny model.
constexpr uint64_t kRunBytes = 640u << 10;

// Arenas lie in huge pages where the kernel grants them: the last one is paid for whole.
uint64_t whole_pages(uint64_t bytes) {
  constexpr uint64_t kHugePage = 2u << 20;
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

// The micro-batches with the most tokens and with the most labels among the first epoch's: layers grow with the former, the head with the latter.
std::array<data::StepBatch, 2> largest_batches(const TrainConfig& config, const data::Loader& loader, int64_t steps) {
  std::array<data::StepBatch, 2> largest;
  for (int64_t step = 0; step < std::min(steps, loader.steps_per_epoch()); ++step)
    for (int micro = 0; micro < config.gradient_accumulation_steps; ++micro) {
      data::StepBatch batch = loader.batch(step, micro);
      if (batch.label_tokens > largest[1].label_tokens) largest[1] = batch;
      if (batch.ids.size() > largest[0].ids.size()) largest[0] = std::move(batch);
    }
  return largest;
}

uint64_t bytes_of(const std::vector<Variable>& parameters) {
  uint64_t n = 0;
  for (const Variable& p : parameters) n += p.value().bytes();
  return n;
}

}  // namespace

Plan plan(const TrainConfig& config) {
  Plan result;
  const uint64_t before = memory_use().anonymous;
  Runtime runtime(config.threads);
  Arena shapes(Arena::Backing::kNone);
  TrainableModel t = build_trainable(config, runtime, shapes);
  const TrainData data = load_train_data(config, t.checkpoint);
  result.steps = total_steps(config, data);
  result.tokens_per_epoch = data.train->tokens();
  const auto largest = largest_batches(config, *data.train, result.steps);
  result.longest_step = int64_t(largest[0].ids.size());

  const auto objective =
      make_objective(config, t, data, runtime, shapes);  // a teacher's weights are there from here on
  WorkingMemory working(runtime.pool.size());
  Context ctx{.pool = &runtime.pool, .arena = &shapes, .compute = config.compute, .working = &working};
  const uint64_t weights = shapes.live_bytes();
  const auto optimizer = make_optimizer(ctx, t.parameters, optimizer_options(config));
  const uint64_t states = shapes.live_bytes() - weights;
  Tape tape;
  // The first steps as they come, whose batches of growing size leave gaps that the larger ones do not fit into; then the largest.
  constexpr int64_t kFirstSteps = 4;
  const int64_t first = std::min(result.steps, kFirstSteps);
  for (int64_t step = 0; step < first + int64_t(largest.size()); ++step) {
    for (int micro = 0; micro < config.gradient_accumulation_steps; ++micro)
      objective->train_on(ctx, tape, step < first ? data.train->batch(step, micro) : largest[size_t(step - first)]);
    optimizer->step(ctx, 0, 1, step);
  }
  const uint64_t parameters = bytes_of(t.parameters), rest = whole_pages(shapes.peak_bytes()) - weights - states;
  // What building and reading took for good: threads, rows put in order, tokenizer, samples.
  const uint64_t reading = memory_use().anonymous - std::min(before, memory_use().anonymous);
  result.memory = {{config.pure_bf16 ? "trainable parameters (bf16)" : "trainable parameters (f32)", parameters},
                   {"frozen weights that are not read in place", weights - parameters},
                   {"states of the optimizer", states},
                   {"gradients and activations", rest},
                   {"frozen weights in int8, for both products", t.packed_bytes},
                   {"working memory of the kernels", working.bytes()},
                   {"tokenizer, training rows, tables", reading},
                   {"program", before + kRunBytes}};
  for (const PlanLine& line : result.memory) result.anonymous_bytes += line.bytes;
  for (const std::string& name : t.checkpoint.source().names())
    result.mapped_bytes += t.checkpoint.source().find(name)->bytes;
  result.disk_bytes = (parameters + states) * uint64_t(config.save_total_limit + 1) + parameters;
  // 6N for what is trained and multiplied; 4N where weights are frozen (no dW). Recomputation adds another forward, 2N.
  const ModelConfig& c = t.checkpoint.config();
  const double n =
      double(c.active_parameter_count()) - (c.tie_word_embeddings ? 0 : double(c.vocab_size * c.hidden_size));
  result.flops_per_token = (config.finetuning_type == "full" ? 6 : 4) * n;
  const double per_token = result.flops_per_token + (config.gradient_checkpointing ? 2 * n : 0);
  result.flops = per_token * double(data.train->tokens()) * double(result.steps) /
                 double(std::max<int64_t>(1, data.train->steps_per_epoch()));
  return result;
}

}  // namespace sedum
