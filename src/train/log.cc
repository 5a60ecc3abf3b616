#include "train/log.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "compute/kernels/isa.h"
#include "formats/tensorboard.h"

namespace sedum {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

// The lines that a run that goes on at `step` keeps; what was written later will be written again.
std::string kept_lines(const std::string& text, int64_t step, double& eval_loss_before, int64_t& evaluated) {
  std::istringstream lines(text);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const auto entry = try_parse_json(line);
    if (!entry.is_object() || !entry.contains("step") || entry["step"].get<int64_t>() > step) continue;
    if (entry.contains("eval_loss")) evaluated = std::max(evaluated, entry["step"].get<int64_t>());
    if (entry["step"] == 0 && entry.contains("eval_loss")) eval_loss_before = entry["eval_loss"].get<double>();
    kept += line + "\n";
  }
  return kept;
}

}  // namespace

RunLog::RunLog(const fs::path& run, int64_t resumed_step, Events& events)
    : run_(run), events_(events), eval_loss_before_(std::nan("")) {
  const fs::path path = run_ / "metrics.jsonl";
  const std::string before = fs::exists(path) ? read_file(path) : "";
  write_file(path, resumed_step > 0 ? kept_lines(before, resumed_step, eval_loss_before_, evaluated_) : "");
  const fs::path samples = run_ / "samples.jsonl";
  if (fs::exists(samples)) {
    double ignored_loss;
    int64_t ignored_step = 0;
    const std::string text = read_file(samples);
    write_file(samples, resumed_step > 0 ? kept_lines(text, resumed_step, ignored_loss, ignored_step) : "");
  }
  board_ = std::make_unique<TensorboardWriter>(run_, resumed_step);
}

RunLog::~RunLog() = default;

void RunLog::metrics(const std::string& line) { append_line(run_ / "metrics.jsonl", line); }

void RunLog::start(const TrainConfig& config, const TrainableModel& trained, const TrainData& data,
                   int64_t resumed_step) {
  const Json described{{"base_model", trained.checkpoint.path().string()},
                       {"finetuning_type", config.finetuning_type},
                       {"parameters", trained.checkpoint.config().parameter_count()},
                       {"trainable_parameters", trained.trainable_count()},
                       {"rows", data.train->rows()},
                       {"tokens_per_epoch", data.train->tokens()},
                       {"steps", total_steps(config, data)},
                       {"resumed_step", resumed_step}};
  events_.emit("start", described);
  Json lineage{{"version", 1},
               {"base_model", described["base_model"]},
               {"config", parse_json<Json>(config.canonical())},
               {"instruction_set", name(isa())}};
  if (trained.checkpoint.has_tokenizer()) lineage["tokenizer_hash"] = trained.checkpoint.tokenizer()->hash();
  lineage["data"] = described;
  lineage_ = lineage.dump();
  write_file(run_ / "run.json", lineage.dump(2) + "\n");
}

void RunLog::step(const StepReport& r) {
  Json entry{{"step", r.step},
             {"loss", r.loss},
             {"grad_norm", r.grad_norm},
             {"learning_rate", r.learning_rate},
             {"tokens", r.tokens},
             {"tokens_seen", r.tokens_seen},
             {"tokens_per_second", double(r.tokens) / r.seconds},
             {"data_share", r.seconds > 0 ? r.waited / r.seconds : 0}};
  for (const auto& [name, value] : r.figures) {
    entry[name] = value;
    board_->scalar("train/" + name, value, r.step);
  }
  if (!r.skipped.empty()) entry["skipped"] = r.skipped;
  metrics(entry.dump());
  board_->scalar("train/loss", r.loss, r.step);
  board_->scalar("train/grad_norm", r.grad_norm, r.step);
  board_->scalar("train/learning_rate", r.learning_rate, r.step);
  board_->scalar("train/tokens_per_second", double(r.tokens) / r.seconds, r.step);
  Json event = entry;
  event["total"] = r.total, event["seconds"] = r.seconds, event["memory_bytes"] = memory_use().anonymous;
  events_.emit("step", event);
}

void RunLog::evaluated(int64_t step, double loss, const Metrics& figures) {
  Json entry{{"step", step}, {"eval_loss", loss}, {"eval_perplexity", std::exp(loss)}};
  for (const auto& [name, value] : figures) entry["eval_" + name] = value;
  if (step > evaluated_) {  // a run that goes on at its end evaluates again what its log has
    metrics(entry.dump());
    board_->scalar("eval/loss", loss, step);
    for (const auto& [name, value] : figures) board_->scalar("eval/" + name, value, step);
    evaluated_ = step;
  }
  events_.emit("eval", entry);
}

void RunLog::sampled(int64_t step, const std::string& prompt, const std::string& text) {
  const Json entry{{"step", step}, {"prompt", prompt}, {"text", text}};
  append_line(run_ / "samples.jsonl", entry.dump());
  board_->text("samples", "**" + prompt + "**\n\n" + text, step);
  events_.emit("sample", entry);
}

void RunLog::saved(int64_t step) { events_.emit("save", {{"step", step}}); }

void RunLog::finish(const TrainResult& result) {
  Json lineage = parse_json<Json>(lineage_);
  Json summary{{"steps", result.steps}, {"final_loss", result.final_loss}, {"peak_bytes", result.peak_bytes}};
  if (std::isfinite(result.eval_loss_before)) summary["eval_loss_before"] = result.eval_loss_before;
  if (std::isfinite(result.eval_loss_after)) summary["eval_loss_after"] = result.eval_loss_after;
  if (result.best_step > 0) summary["best_step"] = result.best_step;
  if (!result.failures.empty()) summary["failures"] = result.failures;
  lineage["result"] = summary;
  write_file(run_ / "run.json", lineage.dump(2) + "\n");
  events_.emit("end", summary);
}

}  // namespace sedum
