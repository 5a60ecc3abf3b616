// sedum merge, sedum convert

#include "model/checkpoint/merge.h"

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
#include "model/checkpoint/nf4_factory.h"

namespace sedum::cli {
namespace {

void write_model(const std::filesystem::path& out, const Checkpoint& like, const std::string& type,
                 const TensorReader& read) {
  const GgufMixture mixture = gguf_mixture(type, like.config());
  if (out.extension() == ".gguf") {
    ThreadPool pool;
    write_gguf(out, like, mixture, read, pool);
    return print_warning(gguf_limit(like.config()));
  }
  if (info(mixture.type).quantised)
    throw Error("safetensors hold f32, f16 or bf16, not " + mixture.name, "give --out a name that ends in .gguf");
  write_folder(out, like, mixture.type, read);
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

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(merge) {
  struct Options {
    std::string model, adapter, out, type = "f16", probe, base_type = "auto";
    double tolerance = 0.02;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "the base model")->required();
  app.add_option("--adapter", o->adapter, "the adapter's folder")->required();
  app.add_option("--out", o->out, "NAME.gguf, or a folder for safetensors")->required();
  app.add_option("--type", o->type, "how matrices are stored: f32, f16, bf16, q8_0 …")->capture_default_str();
  app.add_option(
         "--base-type", o->base_type,
         "what the adapter was trained on: the base as stored, or in nf4 (finetuning_type: qlora); auto: as its "
         "run says")
      ->check(one_of({"auto", "stored", "nf4"}))
      ->capture_default_str();
  app.add_option("--probe", o->probe, "a text file on which the loss is compared before and after");
  app.add_option("--tolerance", o->tolerance, "the most that the loss may rise, in nats a token")
      ->capture_default_str();
  app.footer(
      "example: sedum merge --model qwen2.5-coder-0.5b --adapter runs/succulent/adapter --out succulent.gguf --type "
      "q8_0");
  return [o] {
    const auto base = find_model(o->model);
    const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(base).base);
    Runtime runtime;
    const std::filesystem::path adapter = std::filesystem::exists(std::filesystem::path(o->adapter) / "adapter")
                                              ? std::filesystem::path(o->adapter) / "adapter"
                                              : std::filesystem::path(o->adapter);
    const bool nf4 = o->base_type == "auto" ? trained_on_nf4(adapter) : o->base_type == "nf4";
    if (nf4) fmt::print("the adapter was trained on NF4: it is merged into what the base's layers are in NF4\n");
    write_model(o->out, checkpoint, o->type,
                merged_values(checkpoint, read_adapter(adapter, runtime.arena), runtime,
                              nf4 ? nf4_values(checkpoint, runtime.pool) : nullptr));
    if (!checkpoint.has_tokenizer())
      return fmt::print("{} written; without a tokenizer its loss cannot be compared\n", o->out);
    const std::string text = o->probe.empty() ? kProbe : read_file(o->probe);
    const double before = loss_on(base, {.compute = Compute::kF32, .adapter = adapter, .nf4_base = nf4}, text),
                 after = loss_on(o->out, {.compute = Compute::kF32}, text);
    fmt::print("loss of base and adapter {:.4f}, of the merged model {:.4f}\n", before, after);
    if (after > before + o->tolerance)
      throw Error(fmt::format("{} loses {:.4f} nats a token against base and adapter", o->out, after - before),
                  "choose a --type with more bits, or a larger --tolerance");
  };
}

SEDUM_COMMAND(convert) {
  struct Options {
    std::string model, out, adapter, type = "f16", format;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "the model")->required();
  app.add_option("--out", o->out, "NAME.gguf, or a folder for safetensors")->required();
  app.add_option("--adapter", o->adapter, "write this adapter of the model alone, as NAME.gguf for llama.cpp's --lora");
  app.add_option("--format", o->format, "gguf or safetensors; default: by the name of --out")
      ->check(one_of({"gguf", "safetensors"}));
  app.add_option("--type", o->type, "how matrices are stored: f32, f16, bf16, q8_0 …")->capture_default_str();
  app.footer("example: sedum convert --model smollm2-135m --out smollm2-q8.gguf --type q8_0");
  return [o] {
    const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(find_model(o->model)).base);
    if (o->format == "gguf" && std::filesystem::path(o->out).extension() != ".gguf")
      throw Error("--out " + o->out + " does not end in .gguf", "add it");
    if (o->format == "safetensors" && std::filesystem::path(o->out).extension() == ".gguf")
      throw Error("--out " + o->out + " ends in .gguf", "give a folder's name");
    if (o->adapter.empty()) return write_model(o->out, checkpoint, o->type, stored_values(checkpoint));
    if (std::filesystem::path(o->out).extension() != ".gguf")
      throw Error("--out " + o->out + " does not end in .gguf", "adapters are converted to GGUF only");
    Runtime runtime(1);
    write_gguf_adapter(o->out, checkpoint, read_adapter(o->adapter, runtime.arena));
  };
}
