// sedum merge, sedum convert

#include "model/checkpoint/merge.h"

#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/warning.h"
#include "eval/perplexity.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/gguf_adapter.h"
#include "model/checkpoint/gguf_metadata.h"
#include "model/checkpoint/model_folder.h"
#include "model/checkpoint/nf4_factory.h"
#include "quant/quantised_folder.h"

namespace sedum::cli {
namespace {

// What is written, and how: f32 to bf16 as a folder, any of llama.cpp's mixtures as a GGUF file, nf4 and int8 as bitsandbytes' folders.
struct Form {
  std::string out, type = "f16", shard_size;

  bool gguf() const { return std::filesystem::path(out).extension() == ".gguf"; }
  bool bitsandbytes() const { return type == "nf4" || type == "int8"; }
};

void write_model(const std::filesystem::path& to, const Form& form, const Checkpoint& like, const TensorReader& read,
                 ThreadPool& pool) {
  const uint64_t limit = max_shard_bytes(form.shard_size, form.out);
  if (form.bitsandbytes() && form.gguf())
    throw UsageError("--out " + form.out + " ends in .gguf", "--type " + form.type + " is written as a folder");
  if (form.type == "nf4") return write_nf4_folder(to, like, pool, {.read = read, .max_shard_bytes = limit});
  if (form.type == "int8") return write_int8_folder(to, like, {.read = read, .max_shard_bytes = limit});
  const GgufMixture mixture = gguf_mixture(form.type, like.config());
  if (form.gguf()) {
    write_gguf(to, like, mixture, read, pool);
    return print_warning(gguf_limit(like.config()));
  }
  if (info(mixture.type).quantised)
    throw Error("safetensors hold f32, f16 or bf16, not " + mixture.name, "give --out a name that ends in .gguf");
  write_folder(to, like, mixture.type, read, limit);
}

// Loss on a text, to see that a model is still the same after it was written.
double loss_on(const std::filesystem::path& model, const RuntimeOptions& options, const std::string& text) {
  Runtime runtime;
  const RuntimeModel loaded(runtime, model, options);
  const auto ids = loaded.checkpoint().tokenizer()->encode(text, {.parse_special = false});
  Context ctx = runtime.context(options.compute);
  const Perplexity p = perplexity(ctx, loaded.model(), ids, {.window = 256, .max_windows = 4});
  return p.negative_log_likelihood / double(p.tokens);
}

// Whether the run that an adapter's folder lies in trained it on a base in NF4 (`finetuning_type: qlora`, but for LoftQ, whose config says
// what becomes of the base).
bool trained_on_nf4(const std::filesystem::path& adapter) {
  std::error_code missing;  // read_adapter() says so
  const std::filesystem::path path = std::filesystem::canonical(adapter, missing).parent_path() / "run.json";
  if (!std::filesystem::exists(path)) return false;
  const auto run = try_parse_json(read_file(path));
  const nlohmann::json::json_pointer type("/data/finetuning_type");
  return run.is_object() && run.contains(type) && run[type] == "qlora" && !read_adapter_config(adapter).changes_base();
}

constexpr const char* kProbe =
    "Succulents store water in their leaves, so the soil should dry out completely between waterings. Use a gritty "
    "mix, a pot with a drainage hole, and give the plant "
    "bright light. "
    "多肉植物的叶片能储存水分，浇水前应等土壤完全干透。选择透气的颗粒土和有排水孔的花盆，并保证充足的光照。冬季减少浇水"
    "，防止冻伤和烂根。";

struct MergeOptions {
  Form form;
  std::string model, adapter, probe, base_type = "auto";
  double tolerance = 0.02;
};

// Whatever moves the loss made another model than the one that was trained: the wrong base can fall as well as rise.
void check_loss(const MergeOptions& o, double before, double after) {
  fmt::print("loss of base and adapter {:.4f}, of the merged model {:.4f}\n", before, after);
  if (std::abs(after - before) <= o.tolerance) return;
  throw Error(
      fmt::format("refused, {} is not written: its loss is {:.4f} nats a token {} that of base and adapter", o.form.out,
                  std::abs(after - before), after < before ? "below" : "above"),
      "choose a --type with more bits, the --base-type that the adapter was trained on, or a larger --tolerance");
}

void merge(const MergeOptions& o) {
  const auto base = find_model(o.model);
  const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(base).base);
  Runtime runtime;
  const std::filesystem::path adapter = std::filesystem::exists(std::filesystem::path(o.adapter) / "adapter")
                                            ? std::filesystem::path(o.adapter) / "adapter"
                                            : std::filesystem::path(o.adapter);
  const bool trained = trained_on_nf4(adapter), nf4 = o.base_type == "auto" ? trained : o.base_type == "nf4";
  if (nf4) fmt::print("the adapter was trained on NF4: it is merged into what the base's layers are in NF4\n");
  const TensorReader merged = merged_values(checkpoint, read_adapter(adapter, runtime.arena), runtime,
                                            nf4 ? nf4_values(checkpoint, runtime.pool) : nullptr);
  const Staging staging(o.form.out);  // gone again when the loss is refused
  write_model(staging.path(), o.form, checkpoint, merged, runtime.pool);
  if (checkpoint.has_tokenizer()) {
    const std::string text = o.probe.empty() ? kProbe : read_file(o.probe);
    // On the base that it was trained on, whatever it is merged into.
    const double before =
        loss_on(base, {.compute = Compute::kF32, .adapter = adapter, .nf4_base = trained || nf4}, text);
    check_loss(o, before, loss_on(staging.path(), {.compute = Compute::kF32}, text));
  }
  put_in_place(staging);
  if (!checkpoint.has_tokenizer())
    fmt::print("{} written; without a tokenizer its loss cannot be compared\n", o.form.out);
}

void add_form_options(Flags app, Form& form) {
  app.add_option("--out", form.out, "NAME.gguf, or a folder for safetensors")->required();
  app.add_option("--type", form.type,
                 "how matrices are stored: f32, f16, bf16, q8_0 …; nf4 or int8: bitsandbytes' folders")
      ->capture_default_str();
  add_shard_option(app, form.shard_size);
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(merge) {
  auto o = std::make_shared<MergeOptions>();
  app.add_option("-m,--model", o->model, "the base model")->required();
  app.add_option("--adapter", o->adapter, "the adapter's folder")->required();
  add_form_options(app, o->form);
  app.add_option(
         "--base-type", o->base_type,
         "what the adapter was trained on: the base as stored, or in nf4 (finetuning_type: qlora); auto: as its "
         "run says")
      ->check(one_of({"auto", "stored", "nf4"}))
      ->capture_default_str();
  app.add_option("--probe", o->probe, "a text file on which the loss is compared before and after");
  app.add_option("--tolerance", o->tolerance,
                 "the most that the loss may rise or fall, in nats a token; beyond it nothing is written")
      ->capture_default_str()
      ->check(non_negative());
  app.footer(
      "example: sedum merge --model qwen2.5-coder-0.5b --adapter runs/succulent/adapter --out succulent.gguf --type "
      "q8_0");
  return [o] { merge(*o); };
}

SEDUM_COMMAND(convert) {
  struct Options {
    Form form;
    std::string model, adapter, format;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "the model")->required();
  add_form_options(app, o->form);
  app.add_option("--adapter", o->adapter, "write this adapter of the model alone, as NAME.gguf for llama.cpp's --lora");
  app.add_option("--format", o->format, "gguf or safetensors; default: by the name of --out")
      ->check(one_of({"gguf", "safetensors"}));
  app.footer("example: sedum convert --model smollm2-135m --out smollm2-q8.gguf --type q8_0");
  return [o] {
    const std::string& out = o->form.out;
    const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(find_model(o->model)).base);
    if (o->format == "gguf" && !o->form.gguf()) throw Error("--out " + out + " does not end in .gguf", "add it");
    if (o->format == "safetensors" && o->form.gguf())
      throw Error("--out " + out + " ends in .gguf", "give a folder's name");
    if (o->adapter.empty()) {
      ThreadPool pool;
      return write_model(out, o->form, checkpoint, stored_values(checkpoint), pool);
    }
    if (!o->form.gguf()) throw Error("--out " + out + " does not end in .gguf", "adapters are converted to GGUF only");
    Runtime runtime(1);
    write_gguf_adapter(out, checkpoint, read_adapter(o->adapter, runtime.arena));
  };
}
