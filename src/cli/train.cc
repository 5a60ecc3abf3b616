// sedum train, sedum plan

#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/dashboard.h"
#include "cli/sampling.h"
#include "cli/train_terminal.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/machine.h"
#include "infer/continue_text.h"
#include "infer/serving_plan.h"
#include "text/chat_template.h"
#include "train/planner.h"

namespace sedum::cli {
namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool json = false, debug_nan = false;
  int dashboard = -1;  // a port; −1: none
};

void add_train_options(Flags app, TrainOptions& options) {
  app.add_option("config", options.config, "the recipe, a YAML file")->required();
  app.add_option("overrides", options.overrides, "key=value: replaces the recipe's value");
  app.add_flag("--json", options.json, "JSON lines instead of text");
}

TrainConfig load_config(const TrainOptions& options) {
  TrainConfig config = read_train_config(options.config, options.overrides);
  for (std::string* model : {&config.model_name_or_path, &config.tokenizer_name_or_path, &config.ref_model,
                             &config.teacher_model_name_or_path})
    if (!model->empty()) *model = find_model(*model).string();
  config.debug_nan = config.debug_nan || options.debug_nan;
  return config;
}

// A prompt continued by the model as it is now: as a question where it is trained to answer, as a text else.
std::string sample_text(const TrainConfig& config, const Context& run, const TrainableModel& trained,
                        const std::string& prompt) {
  const auto tokenizer = trained.checkpoint.tokenizer();
  const auto chat = trained.checkpoint.chat_template();
  const bool question = config.stage != "pretrain" && chat;
  const auto messages = nlohmann::ordered_json::array({{{"role", "user"}, {"content", prompt}}});
  const auto ids =
      question ? chat_prompt(*tokenizer, *chat, messages) : tokenizer->encode(prompt, {.add_special = true});
  Arena arena;  // of its own: the run's addresses stay what they are
  Context ctx{.pool = run.pool, .arena = &arena, .compute = run.compute};
  return continue_text(
      ctx, *trained.model, *tokenizer, ids,
      {.temperature = config.sample_temperature, .seed = config.seed, .max_tokens = config.sample_max_tokens});
}

// What the shares of a run's figures are of.
RunLimits limits_of(const TrainConfig& config, const Plan& forecast, bool measured) {
  RunLimits limits{.flops_per_token = forecast.flops_per_token, .forecast_bytes = forecast.anonymous_bytes};
  if (!measured) return limits;
  ThreadPool pool(config.threads);
  limits.peak_flops = measure_peak(pool, isa(), config.compute);
  return limits;
}

void print_event(const Event& e) {
  nlohmann::ordered_json line{{"event", e.kind}};
  line.update(nlohmann::ordered_json(e.data));
  print_json(line);
}

void run_training(const TrainConfig& config, const TrainOptions& options) {
  const Plan forecast = plan(config);
  RunView view(limits_of(config, forecast, options.dashboard >= 0 || (!options.json && TrainTerminal::redraws())));
  TrainTerminal terminal(view);
  std::optional<Dashboard> dashboard;
  if (options.dashboard >= 0) {
    dashboard.emplace(view, options.dashboard);
    fmt::print(options.json ? stderr : stdout, "dashboard: {}/\n", dashboard->address());
    std::fflush(stdout);
  }
  Events events;
  events.listen([&](const Event& e) { view.hear(e); });
  events.listen([&](const Event& e) { options.json ? print_event(e) : terminal.hear(e); });
  TrainHooks hooks;
  hooks.sample_text = [&](const Context& ctx, const TrainableModel& trained, const std::string& prompt) {
    return sample_text(config, ctx, trained, prompt);
  };
  const TrainResult result = train(config, events, hooks);
  terminal.finish();
  const std::string where = config.output_dir + (config.finetuning_type == "full" ? "/model" : "/adapter");
  if (options.json)
    print_json({{"event", "result"},
                {"path", where},
                {"forecast_bytes", forecast.anonymous_bytes},
                {"peak_bytes", result.peak_bytes}});
  else
    fmt::print("memory: {} forecast, {} used\nresult: {}\n", format_bytes(forecast.anonymous_bytes),
               format_bytes(result.peak_bytes), where);
  if (!result.failures.empty())
    throw Error(fmt::format("the run came to its end and is no success: {}", fmt::join(result.failures, "; ")),
                "look at its data and learning_rate; success_gate: false lets it pass");
}

void print_plan(const Plan& p, bool json) {
  if (json) {
    nlohmann::ordered_json lines = nlohmann::ordered_json::array();
    for (const auto& line : p.memory) lines.push_back({{"what", line.what}, {"bytes", line.bytes}});
    return print_json({{"memory", lines},
                       {"anonymous_bytes", p.anonymous_bytes},
                       {"mapped_bytes", p.mapped_bytes},
                       {"disk_bytes", p.disk_bytes},
                       {"steps", p.steps},
                       {"tokens_per_epoch", p.tokens_per_epoch},
                       {"largest_micro_batch_tokens", p.longest_step},
                       {"flops", p.flops}});
  }
  for (const auto& line : p.memory) fmt::print("{:>10}  {}\n", format_bytes(line.bytes), line.what);
  fmt::print(
      "{:>10}  in all, held by the process at its peak\n{:>10}  of files read in place beside it\n{:>10}  on disk for "
      "checkpoints and result\n",
      format_bytes(p.anonymous_bytes), format_bytes(p.mapped_bytes), format_bytes(p.disk_bytes));
  fmt::print("{} steps, {} tokens an epoch, at most {} tokens at a time\n", p.steps,
             format_number(double(p.tokens_per_epoch)), p.longest_step);
}

struct PlanOptions : TrainOptions {
  std::string serve, kv_cache = "bf16", compute = "int8";
  int64_t context = 0, sequences = 2;
};

void print_serving_plan(const PlanOptions& o) {
  const ServingPlan p =
      plan_serving(Checkpoint::open(resolve_model_path(find_model(o.serve)).base), parse_compute(o.compute),
                   o.compute == "f32" ? DType::kF32 : kv_cache_type(o.kv_cache), o.context, o.sequences);
  if (o.json)
    return print_json({{"file_bytes", p.file_bytes},
                       {"packed_bytes", p.packed_bytes},
                       {"token_bytes", p.token_bytes},
                       {"sequence_tokens", p.sequence_tokens},
                       {"cache_bytes", p.cache_bytes}});
  fmt::print("{:>10}  of weights in the file, read in place\n", format_bytes(p.file_bytes));
  if (p.packed_bytes > 0)
    fmt::print("{:>10}  of them packed for {}; mapped, and shared by processes, once they are kept on disk\n",
               format_bytes(p.packed_bytes), o.compute);
  fmt::print("{:>10}  for keys and values of a token\n{:>10}  for {} sequences that hold {} tokens each\n",
             format_bytes(uint64_t(p.token_bytes)), format_bytes(p.cache_bytes), o.sequences, p.sequence_tokens);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(train) {
  auto o = std::make_shared<TrainOptions>();
  add_train_options(app, *o);
  app.add_flag("--debug-nan", o->debug_nan,
               "look at every operator's result: names the first that is no number, with its layer and rows (slower)");
  app.add_option("--dashboard", o->dashboard,
                 "follow the run as a page on this port of this machine (0: any that is free)")
      ->check(in_range(0, 65535));
  app.footer(
      "The keys of a recipe are those of TrainingArguments and PEFT; docs/training.md lists them.\n"
      "A run that was interrupted goes on when the same command is given again.\n"
      "example: sedum train recipes/lora.yaml learning_rate=1e-4 data.train=mine.jsonl");
  return [o] { run_training(load_config(*o), *o); };
}

SEDUM_COMMAND(plan) {
  auto o = std::make_shared<PlanOptions>();
  add_train_options(app, *o);
  app.get_option("config")->required(false);
  app.add_option("--serve", o->serve, "instead of a run: a model that generates")->excludes(app.get_option("config"));
  add_kv_cache_option(app, o->kv_cache);
  app.add_option("--compute", o->compute, "with --serve: f32, bf16 or int8")
      ->capture_default_str()
      ->check(one_of({"f32", "bf16", "int8"}));
  app.add_option("--context", o->context, "with --serve: tokens of a sequence; 0: the model's own, at most 32,768")
      ->check(in_range(0, 1 << 24));
  app.add_option("--sequences", o->sequences, "with --serve: at once")
      ->capture_default_str()
      ->check(in_range(1, 100000));
  app.footer(
      "example: sedum plan recipes/lora.yaml per_device_train_batch_size=8\n"
      "example: sedum plan --serve qwen2.5-coder-0.5b --context 4096 --sequences 8 --kv-cache int8");
  return [o] {
    if (!o->serve.empty()) return print_serving_plan(*o);
    if (o->config.empty()) throw UsageError("there is nothing to plan", "give a recipe, or a model with --serve");
    const TrainConfig config = load_config(*o);
    const Plan p = plan(config);
    print_plan(p, o->json);
    if (o->json) return;
    ThreadPool pool(config.threads);
    const double peak = measure_peak(pool, isa(), config.compute);
    fmt::print("about {} at 60 % of this machine's {:.0f} GFLOP/s\n", format_duration(p.flops / (0.6 * peak)),
               peak / 1e9);
    if (config.compute == Compute::kBF16 && isa() < Isa::kAvx512Bf16)
      fmt::print("this processor multiplies no bf16: compute=f32 is faster here{}\n",
                 config.finetuning_type == "lora" ? ", and compute=int8 still more on a quantised base" : "");
  };
}
