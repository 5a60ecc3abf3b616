// sedum bench matmul | train | prefill | decode | prefix

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/sampling.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/machine.h"
#include "compute/kernels/products_measure.h"
#include "infer/local_engine.h"
#include "infer/paged_cache.h"
#include "train/bf16_factory.h"
#include "train/optim/optimizer.h"
#include "train/train.h"

namespace sedum::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + long(v.size() / 2), v.end());
  return v[v.size() / 2];
}

// The shapes of well-known models, without their weights.
ModelConfig shape_of(const std::string& name) {
  ModelConfig c;
  c.model_type = "llama", c.max_position_embeddings = 4096;
  const auto set = [&](int64_t hidden, int64_t inner, int64_t layers, int64_t heads, int64_t kv, int64_t vocabulary,
                       bool tied) {
    c.hidden_size = hidden, c.intermediate_size = inner, c.num_hidden_layers = layers, c.num_attention_heads = heads,
    c.num_key_value_heads = kv;
    c.vocab_size = vocabulary, c.head_dim = hidden / heads, c.tie_word_embeddings = tied;
  };
  if (name == "smollm2-135m")
    set(576, 1536, 30, 9, 3, 49152, true);
  else if (name == "tinyllama-1.1b")
    set(2048, 5632, 22, 32, 4, 32000, false);
  else if (name == "llama2-7b-4l")
    set(4096, 11008, 4, 32, 32, 32000, false);
  else if (name == "llama2-7b")
    set(4096, 11008, 32, 32, 32, 32000, false);
  else if (name == "story-15m")
    set(288, 768, 6, 6, 6, 32000, true);
  else
    throw Error("--shape " + name + " is not known",
                "choose smollm2-135m, tinyllama-1.1b, llama2-7b-4l, llama2-7b or story-15m");
  return c;
}

struct TrainBench {
  std::string shape = "smollm2-135m", mode = "full", dtype = "bf16", weights = "bf16", optim = "adamw";
  int batch = 4, seq = 256, steps = 4, threads = 0;
  bool recompute = false, json = false;
};

// Parameters that cost a product: all but an input table of its own.
double multiplied_parameters(const ModelConfig& c) {
  return double(c.parameter_count()) - (c.tie_word_embeddings ? 0 : double(c.vocab_size * c.hidden_size));
}

void bench_train(const TrainBench& o) {
  const ModelConfig config = shape_of(o.shape);
  Runtime runtime(o.threads);
  const bool full = o.mode == "full";
  const bool pure = o.dtype == "bf16-pure";
  const Compute compute = o.dtype == "fp32" ? Compute::kF32 : o.dtype == "int8" ? Compute::kInt8 : Compute::kBF16;
  if (full && compute == Compute::kInt8) throw Error("--dtype int8 multiplies a frozen base", "add --mode lora");
  const DType stored = *dtype_from_name(o.weights);
  for (const int64_t columns : {config.hidden_size, config.intermediate_size})
    if (!full && columns % info(stored).block)
      throw Error(fmt::format("{} has rows of {} weights, which are no whole blocks of {} ({})", o.shape, columns,
                              info(stored).block, o.weights),
                  "take another --shape, or --weights q4_0");
  RandomFactory base(runtime.pool, runtime.arena, 1, !full, stored,
                     compute == Compute::kInt8 ? Pack::kBoth : Pack::kNone);
  std::unique_ptr<CausalModel> model;
  std::vector<Variable> parameters;
  if (full) {
    Bf16Factory narrow(base, runtime.pool, runtime.arena);
    model = pure ? build_model(config, narrow) : build_model(config, base);
    parameters = pure ? narrow.parameters() : base.parameters();
  } else {
    LoraFactory lora(base, {.r = 16, .lora_alpha = 32, .target_modules = {"all-linear"}}, runtime.pool, runtime.arena,
                     1);
    model = build_model(config, lora);
    parameters = lora.parameters();
  }
  Context ctx = runtime.context(compute);
  TrainConfig recipe;
  recipe.optim = parse_optimizer(o.optim), recipe.pure_bf16 = pure && full;
  const auto optimizer = make_optimizer(ctx, parameters, optimizer_options(recipe));
  data::StepBatch batch;
  for (int s = 0; s < o.batch; ++s) {
    batch.segments.push_back({s * o.seq, o.seq});
    for (int i = 0; i < o.seq; ++i) {
      batch.ids.push_back(
          int32_t(Random(1, Purpose::kTest).below(uint64_t(config.vocab_size), uint64_t(s * o.seq + i))));
      batch.positions.push_back(i);
    }
    batch.targets.insert(batch.targets.end(), batch.ids.end() - o.seq + 1, batch.ids.end());
    batch.targets.push_back(data::kIgnored);
  }
  batch.label_tokens = int64_t(o.batch) * (o.seq - 1);
  Tape tape;
  std::vector<double> times;
  double loss = 0;
  for (int step = 0; step <= o.steps; ++step) {
    const auto start = Clock::now();
    loss = train_on(ctx, tape, *model, batch, double(batch.label_tokens), o.recompute);
    const double norm = optimizer->gradient_norm(ctx);
    optimizer->step(ctx, 1e-4f, clip_scale(norm, 1), step);
    if (step) times.push_back(seconds_since(start));
  }
  const double step_s = median(times), tokens = double(o.batch) * o.seq,
               flops = (full ? 6 : 4) * multiplied_parameters(config) * tokens / step_s;
  const double peak = measure_peak(runtime.pool, isa(), ctx.compute);
  if (o.json)
    return print_json({{"shape", o.shape},
                       {"mode", o.mode},
                       {"dtype", o.dtype},
                       {"optim", o.optim},
                       {"batch", o.batch},
                       {"seq", o.seq},
                       {"step_s", step_s},
                       {"tok_s", tokens / step_s},
                       {"gflops", flops / 1e9},
                       {"peak_gflops", peak / 1e9},
                       {"share", flops / peak},
                       {"peak_rss_mib", memory_use().peak_resident >> 20},
                       {"loss", loss}});
  fmt::print(
      "{} {} {}, {} × {}: {:.0f} tokens/s, {:.0f} GFLOP/s = {:.0f} % of the peak beside it, {} MiB, loss {:.3f}\n",
      o.shape, o.mode, o.dtype, o.batch, o.seq, tokens / step_s, flops / 1e9, 100 * flops / peak,
      memory_use().peak_resident >> 20, loss);
}

struct InferBench : ModelOptions {
  int64_t tokens = 512, depth = 0, streams = 1;
  int repeat = 3;
  std::string kv_cache = "bf16";
  bool json = false;
};

std::vector<int32_t> random_ids(int64_t count, int64_t vocabulary) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(int32_t(Random(2, Purpose::kTest).below(uint64_t(vocabulary), uint64_t(i))));
  return ids;
}

// Steps of a set of sequences, as the engine makes them.
class Stepper {
 public:
  Stepper(LoadedModel& loaded, int64_t streams, int64_t tokens, DType kv_cache)
      : loaded_(loaded),
        ctx_(loaded.runtime.context(loaded.model.compute())),
        sequences_(size_t(streams)),
        cache_(loaded.runtime.arena, loaded.model.model().config(),
               loaded.model.compute() == Compute::kF32 ? DType::kF32 : kv_cache,
               streams * (PagedCache::pages_for(tokens) + 1)) {}

  // `rows` more tokens of every sequence; the logits of each one's last row.
  void step(int64_t rows, bool logits) {
    std::vector<PagedStep::Part> parts;
    auto ids = std::make_shared<std::vector<int32_t>>(), ends = std::make_shared<std::vector<int32_t>>();
    Batch batch;
    for (auto& sequence : sequences_) {
      SEDUM_CHECK(cache_.reserve(sequence, rows));
      parts.push_back({&sequence, rows});
      const auto more = random_ids(rows, loaded_.model.model().config().vocab_size);
      ids->insert(ids->end(), more.begin(), more.end());
      for (int64_t i = 0; i < rows; ++i) batch.positions.push_back(int32_t(sequence.length + i));
      ends->push_back(int32_t(ids->size()) - 1);
    }
    batch.ids = ids;
    PagedStep state(cache_, parts);
    batch.state = &state, batch.context_length = loaded_.model.model().config().max_position_embeddings;
    const Variable hidden = loaded_.model.model().hidden_states(ctx_, batch);
    state.commit();
    if (logits) (void)loaded_.model.model().logits(ctx_, ops::select_rows(ctx_, hidden, ends));
  }
  void clear() {
    for (auto& sequence : sequences_) cache_.release(sequence);
  }

 private:
  LoadedModel& loaded_;
  Context ctx_;
  std::vector<PagedSequence> sequences_;
  PagedCache cache_;
};

uint64_t weight_bytes(const Checkpoint& checkpoint) {
  uint64_t bytes = 0;
  for (const std::string& name : checkpoint.source().names()) {
    const bool input_table =
        name == checkpoint.stored_name("model.embed_tokens.weight") && !checkpoint.config().tie_word_embeddings;
    if (!input_table) bytes += checkpoint.source().find(name)->bytes;
  }
  return bytes;
}

void bench_prefill(const InferBench& o) {
  LoadedModel loaded(o);
  Stepper stepper(loaded, 1, o.tokens, kv_cache_type(o.kv_cache));
  std::vector<double> times;
  for (int i = 0; i <= o.repeat; ++i) {
    const auto start = Clock::now();
    for (int64_t left = o.tokens, rows; left > 0; left -= rows) {
      rows = std::min(left, EngineOptions().step_tokens);  // as the engine takes a long prompt
      stepper.step(rows, rows == left);
    }
    if (i) times.push_back(seconds_since(start));
    stepper.clear();
  }
  const ModelConfig& c = loaded.model.model().config();
  const double layers =
      double(c.parameter_count()) - double(c.vocab_size * c.hidden_size) * (c.tie_word_embeddings ? 1 : 2);
  const double s = median(times), ops = 2 * layers * double(o.tokens) / s,
               peak = measure_peak(loaded.runtime.pool, isa(), loaded.model.compute());
  if (o.json)
    return print_json({{"tokens", o.tokens},
                       {"tok_s", double(o.tokens) / s},
                       {"gops", ops / 1e9},
                       {"peak_gops", peak / 1e9},
                       {"share", ops / peak},
                       {"compute", o.compute}});
  fmt::print(
      "prefill of {} tokens: {:.0f} tokens/s, {:.0f} GOP/s without embedding and head = {:.0f} % of the {} peak\n",
      o.tokens, double(o.tokens) / s, ops / 1e9, 100 * ops / peak, o.compute);
}

void bench_decode(const InferBench& o) {
  LoadedModel loaded(o);
  Stepper stepper(loaded, o.streams, o.depth + o.tokens + 1, kv_cache_type(o.kv_cache));
  if (o.depth > 0) stepper.step(o.depth, false);
  stepper.step(1, true);
  std::vector<double> times;
  for (int64_t i = 0; i < o.tokens; ++i) {
    const auto start = Clock::now();
    stepper.step(1, true);
    times.push_back(seconds_since(start));
  }
  const uint64_t peak_mib = memory_use().peak_resident >> 20;  // without the probe of the bandwidth
  const double s = median(times), gb = double(weight_bytes(loaded.model.checkpoint())) / s / 1e9,
               read = measure_read_bandwidth(loaded.runtime.pool) / 1e9;
  if (o.json)
    return print_json({{"tokens", o.tokens},
                       {"depth", o.depth},
                       {"streams", o.streams},
                       {"tok_s", double(o.streams) / s},
                       {"gb_s", gb},
                       {"read_gb_s", read},
                       {"share", gb / read},
                       {"peak_rss_mib", peak_mib},
                       {"compute", o.compute}});
  fmt::print(
      "decoding, {} stream(s) at depth {}: {:.1f} tokens/s, weights read at {:.1f} GB/s = {:.0f} % of the {:.1f} GB/s "
      "measured beside it\n",
      o.streams, o.depth, double(o.streams) / s, gb, 100 * gb / read, read);
}

// Time to the first token of prompts that share a beginning, such as a system prompt: the first one computes it, later ones find it.
void bench_prefix(const InferBench& o) {
  LoadedModel loaded(o);
  LocalEngine engine(loaded.model, {.cache_dtype = kv_cache_type(o.kv_cache)});
  const int64_t vocabulary = loaded.model.model().config().vocab_size;
  const auto first_token = [&](int64_t beginning, uint32_t question) {
    std::vector<int32_t> ids = random_ids(beginning + o.tokens + 16, vocabulary);
    ids.erase(ids.begin(), ids.begin() + beginning);  // another beginning, or the same
    for (int64_t i = 0; i < 16; ++i)
      ids[size_t(o.tokens + i)] = int32_t((question * 31 + uint64_t(i) * 7 + 3) % uint64_t(vocabulary));
    return generate(engine, {.prompt = ids, .sampling = {.temperature = 0, .max_tokens = 1}}).first_token_seconds;
  };
  (void)first_token(5, 0);  // warm up
  std::vector<double> fresh, known;
  for (int i = 1; i <= o.repeat; ++i) {
    fresh.push_back(first_token(10 * i + 1, 0));
    known.push_back(first_token(10 * i + 1, uint32_t(i)));
  }
  const double a = median(fresh), b = median(known);
  if (o.json)
    return print_json(
        {{"tokens", o.tokens}, {"uncached_s", a}, {"cached_s", b}, {"share", b / a}, {"compute", o.compute}});
  fmt::print(
      "first token after {} tokens and a question of 16: {:.3f} s; with the beginning cached {:.4f} s = {:.1f} %\n",
      o.tokens, a, b, 100 * b / a);
}

struct MatmulBench {
  std::vector<std::string> shapes = {"1024,576,576",   "1024,1536,576",  "1024,576,1536",
                                     "1024,49152,576", "1024,4096,4096", "64,4096,4096"};
  std::vector<std::string> types = {"bf16"};
  std::vector<std::string> products = {"prepacked", "forward", "dX", "dW", "dW-bf16"};
  std::string compute = "bf16";
  int threads = 0;
  bool json = false;
};

void bench_matmul(const MatmulBench& o) {
  ThreadPool pool(o.threads);
  for (const std::string& text : o.shapes) {
    const auto sizes = parse_ids(text);
    if (sizes.size() != 3) throw Error("--shape " + text + " is no M,N,K", "write 1024,576,576");
    if (*std::min_element(sizes.begin(), sizes.end()) < 1)
      throw Error("--shape " + text + " has a size below 1", "write 1024,576,576");
    for (const std::string& type : o.types) {
      const auto weights = dtype_from_name(type);
      if (!weights)
        throw Error("--type " + type + " is not known", "choose f32, bf16, q4_0, q4_1, q5_0, q8_0, q4_K or q6_K");
      const Compute compute = parse_compute(o.compute);
      const int64_t block = std::max<int64_t>(info(*weights).block, compute == Compute::kInt8 ? 32 : 1);
      if (sizes[2] % block)
        throw Error(fmt::format("--shape {}: K = {} is no multiple of {}, the values of a block of {}", text, sizes[2],
                                block, type),
                    fmt::format("write K = {}", (sizes[2] / block + 1) * block));
      const DType activations = compute == Compute::kBF16 ? DType::kBF16 : DType::kF32;
      const auto row = [&](const char* what, Product product, DType matrix, bool packed = false) {
        if (std::find(o.products.begin(), o.products.end(), what) == o.products.end()) return;
        const ProductSpeed s =
            measure_product(pool, {product, compute, matrix, activations, sizes[0], sizes[1], sizes[2], packed});
        if (o.json)
          print_json({{"m", sizes[0]},
                      {"n", sizes[1]},
                      {"k", sizes[2]},
                      {"type", type},
                      {"what", what},
                      {"gflops", s.operations_per_second / 1e9},
                      {"share", s.share}});
        else
          fmt::print("{:>18}  {:<5} {:<10} {:>7.0f} GFLOP/s  {:>3.0f} %\n", text, type, what,
                     s.operations_per_second / 1e9, 100 * s.share);
        std::fflush(stdout);
      };
      row("prepacked", Product::kNT, *weights, true);
      if (compute == Compute::kInt8) continue;
      row("forward", Product::kNT, *weights);
      row("dX", Product::kNN, *weights);
      if (info(*weights).quantised) continue;
      row("dW", Product::kTN, DType::kF32);
      if (activations == DType::kBF16) row("dW-bf16", Product::kTN, DType::kBF16);
    }
  }
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(bench) {
  app.require_subcommand(1);
  app.footer("example: sedum bench decode --model smollm2-135m --tokens 128");
  auto run = std::make_shared<Run>();
  const auto add = [&](const char* name, const char* summary) { return app.add_subcommand(name, summary); };

  auto t = std::make_shared<TrainBench>();
  Flags training = add("train", "steps on random weights of a known shape");
  training->add_option("--shape", t->shape, "smollm2-135m, tinyllama-1.1b, llama2-7b-4l, llama2-7b or story-15m")
      ->capture_default_str();
  training->add_option("--mode", t->mode, "full or lora")->capture_default_str()->check(one_of({"full", "lora"}));
  training
      ->add_option("--dtype", t->dtype,
                   "fp32, bf16 with f32 master weights; bf16-pure: weights and states in bf16; int8 for lora's "
                   "frozen base")
      ->capture_default_str()
      ->check(one_of({"fp32", "bf16", "bf16-pure", "int8"}));
  training->add_option("--optim", t->optim, "the optimizer, as recipes name it")->capture_default_str();
  training->add_option("--weights", t->weights, "how lora's frozen weights are stored: bf16, q4_0, q8_0 …")
      ->capture_default_str();
  training->add_option("--batch", t->batch)->capture_default_str()->check(positive());
  training->add_option("--seq", t->seq)->capture_default_str()->check(in_range(2, 4096));
  training->add_option("--steps", t->steps)->capture_default_str()->check(positive());
  training->add_option("--threads", t->threads)->capture_default_str();
  training->add_flag("--recompute", t->recompute, "layers keep only their inputs");
  training->add_flag("--json", t->json, "one JSON object");
  training->callback([run, t] { *run = [t] { bench_train(*t); }; });

  for (const bool prefill : {true, false}) {
    auto i = std::make_shared<InferBench>();
    Flags sub = add(prefill ? "prefill" : "decode",
                    prefill ? "reading a prompt" : "writing, one token of each stream at a time");
    add_model_options(sub, *i, "int8");
    add_kv_cache_option(sub, i->kv_cache);
    sub->add_option("--tokens", i->tokens, prefill ? "the prompt's length" : "steps")
        ->capture_default_str()
        ->check(positive());
    if (!prefill) {
      i->tokens = 64;
      sub->add_option("--depth", i->depth, "tokens of context before")->capture_default_str()->check(non_negative());
      sub->add_option("--streams", i->streams, "sequences at once")->capture_default_str()->check(positive());
    }
    sub->add_flag("--json", i->json, "one JSON object");
    sub->callback([run, i, prefill] { *run = [i, prefill] { prefill ? bench_prefill(*i) : bench_decode(*i); }; });
  }

  auto p = std::make_shared<InferBench>();
  p->tokens = 1000;
  Flags prefix = add("prefix", "the first token after a beginning that is cached, and after one that is not");
  add_model_options(prefix, *p, "int8");
  add_kv_cache_option(prefix, p->kv_cache);
  prefix->add_option("--tokens", p->tokens, "of the beginning")->capture_default_str()->check(in_range(32, 100000));
  prefix->add_flag("--json", p->json, "one JSON object");
  prefix->callback([run, p] { *run = [p] { bench_prefix(*p); }; });

  auto m = std::make_shared<MatmulBench>();
  Flags matmul = add("matmul", "the products of a linear layer");
  matmul->add_option("--shape", m->shapes, "M,N,K: tokens, outputs, inputs; several times")->capture_default_str();
  matmul->add_option("--type", m->types, "how weights are stored; several times")->capture_default_str();
  matmul
      ->add_option("--product", m->products,
                   "prepacked, forward (packed on each call), dX, dW in f32 or in bf16; several times")
      ->capture_default_str()
      ->check(one_of({"prepacked", "forward", "dX", "dW", "dW-bf16"}));
  matmul->add_option("--compute", m->compute, "f32, bf16 or int8")->capture_default_str();
  matmul->add_option("--threads", m->threads)->capture_default_str();
  matmul->add_flag("--json", m->json, "JSON lines");
  matmul->callback([run, m] { *run = [m] { bench_matmul(*m); }; });
  return [run] { (*run)(); };
}
