// sedum train, sedum plan

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/machine.h"
#include "train/planner.h"

namespace sedum::cli {
namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool json = false;
};

void add_train_options(CLI::App& app, TrainOptions& options) {
  app.add_option("config", options.config, "the recipe, a YAML file")->required();
  app.add_option("overrides", options.overrides, "key=value: replaces the recipe's value");
  app.add_flag("--json", options.json, "JSON lines instead of text");
}

TrainConfig load_config(const TrainOptions& options) {
  TrainConfig config = read_train_config(options.config, options.overrides);
  for (std::string* model : {&config.model_name_or_path, &config.tokenizer_name_or_path, &config.ref_model,
                             &config.teacher_model_name_or_path})
    if (!model->empty()) *model = find_model(*model).string();
  return config;
}

// Plain lines for people; the progress line with the time left is Progress's.
class Terminal {
 public:
  void hear(const Event& e) {
    const auto& d = e.data;
    if (e.kind == "start") {
      fmt::print("{}: {} of {} parameters, {} rows, {} tokens an epoch, {} steps\n",
                 d["finetuning_type"].get<std::string>(), format_number(d["trainable_parameters"].get<double>()),
                 format_number(d["parameters"].get<double>()), d["rows"].get<int64_t>(),
                 format_number(d["tokens_per_epoch"].get<double>()), d["steps"].get<int64_t>());
      if (d["resumed_step"].get<int64_t>() > 0) fmt::print("going on from step {}\n", d["resumed_step"].get<int64_t>());
      progress_ = std::make_unique<Progress>("training", d["steps"].get<uint64_t>());
      progress_->set(d["resumed_step"].get<uint64_t>());
    } else if (e.kind == "step") {
      const int64_t step = d["step"], total = d["total"];
      const std::string line = fmt::format(
          "loss {:.4f}  grad_norm {:.3f}  lr {:.2e}  {} tok/s", d["loss"].get<double>(), d["grad_norm"].get<double>(),
          d["learning_rate"].get<double>(), format_number(d["tokens_per_second"].get<double>()));
      progress_->set(uint64_t(step), line);
      const int64_t every = std::max<int64_t>(1, total / 20);
      if (step % every == 0 || step == total) fmt::print("step {:>5}  {}\n", step, line);
    } else if (e.kind == "eval") {
      fmt::print("step {:>5}  eval loss {:.4f}  perplexity {:.3f}\n", d["step"].get<int64_t>(),
                 d["eval_loss"].get<double>(), d["eval_perplexity"].get<double>());
    }
    std::fflush(stdout);
  }
  void finish() { progress_.reset(); }

 private:
  std::unique_ptr<Progress> progress_;
};

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

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(train) {
  auto o = std::make_shared<TrainOptions>();
  add_train_options(app, *o);
  app.footer(
      "The keys of a recipe are those of TrainingArguments and PEFT; docs/training.md lists them.\n"
      "A run that was interrupted goes on when the same command is given again.\n"
      "example: sedum train recipes/lora.yaml learning_rate=1e-4 data.train=mine.jsonl");
  return [o] {
    const TrainConfig config = load_config(*o);
    Events events;
    Terminal terminal;
    if (o->json) {
      events.listen([](const Event& e) {
        nlohmann::ordered_json line{{"event", e.kind}};
        line.update(nlohmann::ordered_json(e.data));
        print_json(line);
      });
    } else {
      events.listen([&](const Event& e) { terminal.hear(e); });
    }
    const Plan forecast = plan(config);
    const TrainResult result = train(config, events);
    terminal.finish();
    const std::string where = config.output_dir + (config.finetuning_type == "full" ? "/model" : "/adapter");
    if (o->json)
      return print_json({{"event", "result"},
                         {"path", where},
                         {"forecast_bytes", forecast.anonymous_bytes},
                         {"peak_bytes", result.peak_bytes}});
    fmt::print("memory: {} forecast, {} used\nresult: {}\n", format_bytes(forecast.anonymous_bytes),
               format_bytes(result.peak_bytes), where);
  };
}

SEDUM_COMMAND(plan) {
  auto o = std::make_shared<TrainOptions>();
  add_train_options(app, *o);
  app.footer("example: sedum plan recipes/lora.yaml per_device_train_batch_size=8");
  return [o] {
    const TrainConfig config = load_config(*o);
    const Plan p = plan(config);
    print_plan(p, o->json);
    if (o->json) return;
    ThreadPool pool(config.threads);
    const double peak = measure_peak(pool, isa(), config.compute);
    fmt::print("about {} at 60 % of this machine's {:.0f} GFLOP/s\n", format_duration(p.flops / (0.6 * peak)),
               peak / 1e9);
  };
}
