// sedum quantize

#include <chrono>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/warning.h"
#include "eval/divergence.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/gguf_metadata.h"
#include "quant/gptq_model.h"
#include "quant/importance.h"
#include "quant/quantised_folder.h"

namespace sedum::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model, out, type, calibration, imatrix, save_imatrix, text, shard_size, compute = "f32";
  CalibrationOptions rows;
  GptqOptions gptq;
  int threads = 0;
  int64_t windows = 16;
  bool asymmetric = false, report = false, json = false;
};

bool is_folder_type(const std::string& type) {
  return type == "gptq" || type == "awq" || type == "rtn" || type == "nf4" || type == "int8";
}

Calibration calibration_of(const Options& o, const Checkpoint& checkpoint) {
  if (o.calibration.empty())
    throw UsageError("--type " + o.type + " needs --calibration FILE",
                     "give a text of the kind that the model shall write");
  return read_calibration(o.calibration, checkpoint, o.rows);
}

void write_gguf_type(const Options& o, Runtime& runtime, const Checkpoint& checkpoint) {
  GgufMixture mixture = gguf_mixture(o.type, checkpoint.config());
  if (fs::path(o.out).extension() != ".gguf")
    throw UsageError("--out " + o.out + " does not end in .gguf", "--type " + o.type + " is written as a GGUF file");
  max_shard_bytes(o.shard_size, o.out);
  std::optional<ImportanceMatrix> importance;
  if (!o.imatrix.empty()) importance = ImportanceMatrix::read(o.imatrix);
  if (!o.calibration.empty()) {
    importance = measure_importance(runtime, checkpoint, calibration_of(o, checkpoint));
    if (!o.save_imatrix.empty()) importance->write(o.save_imatrix);
  }
  mixture.has_importance = importance.has_value();
  write_gguf(o.out, checkpoint, mixture, stored_values(checkpoint), runtime.pool,
             [&](const std::string& name) { return importance ? importance->find(name) : nullptr; });
  print_warning(gguf_limit(checkpoint.config()));
}

void write_folder_type(const Options& o, Runtime& runtime, const Checkpoint& checkpoint) {
  if (fs::path(o.out).extension() == ".gguf")
    throw UsageError("--out " + o.out + " ends in .gguf", "--type " + o.type + " is written as a folder");
  const uint64_t limit = max_shard_bytes(o.shard_size, o.out);
  if (o.type == "nf4") return write_nf4_folder(o.out, checkpoint, runtime.pool, {.max_shard_bytes = limit});
  if (o.type == "int8") return write_int8_folder(o.out, checkpoint, {.max_shard_bytes = limit});
  const GptqReport r = o.type == "rtn"
                           ? quantise_nearest(runtime, checkpoint, o.gptq, o.out, limit)
                           : quantise_gptq(runtime, checkpoint, calibration_of(o, checkpoint), o.gptq, o.out, limit);
  if (r.resumed > 0 && !o.json) fmt::print("{} of {} layers were there from an earlier run\n", r.resumed, r.layers);
}

uint64_t bytes_of(const fs::path& path) {
  if (!fs::is_directory(path)) return fs::file_size(path);
  uint64_t sum = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    if (entry.path().extension() == ".safetensors") sum += entry.file_size();
  return sum;
}

int64_t parameters_of(const Checkpoint& checkpoint) {
  int64_t sum = 0;
  for (const std::string& name : checkpoint.tensor_names()) sum += checkpoint.tensor(name).count();
  return sum;
}

Divergence compare(const Options& o, Runtime& runtime, const fs::path& original) {
  const RuntimeModel a(runtime, original, {.compute = parse_compute(o.compute)});
  const RuntimeModel b(runtime, o.out, {.compute = parse_compute(o.compute)});
  const auto ids = a.checkpoint().tokenizer()->encode(read_file(o.text), {.parse_special = false});
  Context first = runtime.context(a.compute()), second = runtime.context(b.compute());
  Progress progress("report", uint64_t(o.windows));
  return divergence(first, a.model(), second, b.model(), ids, {.window = 512, .max_windows = o.windows},
                    [&](int64_t done, int64_t) { progress.set(uint64_t(done)); });
}

void print_report(const Options& o, Runtime& runtime, const fs::path& original, double seconds) {
  const Divergence d = compare(o, runtime, original);
  const double size = double(bytes_of(o.out)), bits = 8 * size / double(parameters_of(Checkpoint::open(o.out)));
  if (o.json)
    return print_json({{"type", o.type},
                       {"bytes", uint64_t(size)},
                       {"bits_per_weight", bits},
                       {"perplexity_before", d.original_perplexity},
                       {"perplexity", d.perplexity},
                       {"kl", d.kl},
                       {"same_best", d.same_best},
                       {"tokens", d.tokens},
                       {"seconds", seconds}});
  fmt::print("| type | size | bits a weight | perplexity before | after | KL, nats | same best token | time |\n");
  fmt::print("|---|---|---|---|---|---|---|---|\n");
  fmt::print("| {} | {} | {:.2f} | {:.3f} | {:.3f} | {:.4f} | {:.1f} % | {} |\n", o.type, format_bytes(uint64_t(size)),
             bits, d.original_perplexity, d.perplexity, d.kl, 100 * d.same_best, format_duration(seconds));
}

void quantize(Options& o) {
  o.gptq.symmetric = !o.asymmetric, o.gptq.awq = o.type == "awq";
  if (o.report && o.text.empty())
    throw UsageError("--report needs --text FILE", "give a text that was not used for calibration");
  Runtime runtime(o.threads);
  const fs::path base = resolve_model_path(find_model(o.model)).base;
  const Checkpoint checkpoint = Checkpoint::open(base);
  const auto begin = std::chrono::steady_clock::now();
  if (is_folder_type(o.type))
    write_folder_type(o, runtime, checkpoint);
  else
    write_gguf_type(o, runtime, checkpoint);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (o.report) return print_report(o, runtime, base, seconds);
  if (!o.json) return fmt::print("{}: {}, {}\n", o.out, format_bytes(bytes_of(o.out)), format_duration(seconds));
  print_json({{"out", o.out}, {"type", o.type}, {"bytes", bytes_of(o.out)}, {"seconds", seconds}});
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(quantize) {
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "the model")->required();
  app.add_option("--out", o->out, "NAME.gguf, or a folder for gptq, awq, rtn, nf4 and int8")->required();
  app.add_option("--type", o->type,
                 "f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q4_K_S q4_K_M q5_K_S q5_K_M q6_K (GGUF); gptq awq rtn nf4 int8 "
                 "(folders)")
      ->required();
  app.add_option("--calibration", o->calibration, "a text (or JSONL) that the quantiser looks at");
  app.add_option("--calibration-windows", o->rows.max_windows, "windows of it at most")
      ->capture_default_str()
      ->check(in_range(1, 100000));
  app.add_option("--calibration-length", o->rows.window, "tokens of a window")
      ->capture_default_str()
      ->check(in_range(2, 1000000));
  app.add_option("--imatrix", o->imatrix, "an importance matrix for K-quants, as llama-imatrix writes it")
      ->check(existing_file());
  app.add_option("--save-imatrix", o->save_imatrix, "where to keep the one that --calibration gives");
  app.add_option("--bits", o->gptq.bits, "gptq, rtn: 2, 4 or 8")->capture_default_str()->check(one_of({2, 4, 8}));
  app.add_option("--group-size", o->gptq.group_size, "gptq, rtn: columns that share a scale")
      ->capture_default_str()
      ->check(in_range(1, 1 << 20));
  app.add_flag("--asymmetric", o->asymmetric, "gptq, rtn: a zero point for each group");
  app.add_flag("--desc-act", o->gptq.desc_act, "gptq: columns with the largest inputs first");
  app.add_option("--damp-percent", o->gptq.damp_percent, "gptq: of the mean diagonal, added to it")
      ->capture_default_str()
      ->check(in_range(0.0, 1.0));
  add_shard_option(app, o->shard_size);
  app.add_flag("--report", o->report, "compare with the original: perplexity, KL, size");
  app.add_option("--text", o->text, "the text of the report")->check(existing_file());
  app.add_option("--windows", o->windows, "windows of 512 tokens of it at most")->capture_default_str();
  app.add_option("--compute", o->compute, "precision of the report: f32, bf16 or int8")
      ->capture_default_str()
      ->check(one_of({"f32", "bf16", "int8"}));
  app.add_option("--threads", o->threads, "threads; 0: all cores that this process may use")->check(in_range(0, 1024));
  app.add_flag("--json", o->json, "one JSON object");
  app.footer(
      "example: sedum quantize --model smollm2-135m --out smollm2-q4km.gguf --type q4_K_M --calibration book.txt "
      "--report "
      "--text other.txt");
  return [o] { quantize(*o); };
}
