// sedum info

#include <map>

#include <fmt/format.h>

#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/machine.h"

namespace sedum::cli {
namespace {

using Json = nlohmann::ordered_json;

Json machine(int threads) {
  ThreadPool pool(threads);
  Json sets = Json::array();
  for (const Isa each : available_isas()) sets.push_back(name(each));
  return {{"instruction_set", name(isa())},
          {"available_instruction_sets", sets},
          {"threads", pool.size()},
          {"memory_bytes", machine_memory()},
          {"peak_f32_flops", measure_peak(pool, isa(), Compute::kF32)},
          {"peak_bf16_flops", measure_peak(pool, isa(), Compute::kBF16)},
          {"peak_int8_ops", measure_peak(pool, isa(), Compute::kInt8)},
          {"read_bytes_per_second", measure_read_bandwidth(pool)}};
}

void print_machine(const Json& m) {
  fmt::print(
      "instruction set  {} (of {})\nthreads          {}\nmemory           {}\npeak             f32 {}FLOP/s · bf16 "
      "{}FLOP/s · int8 {}OP/s, measured\nreading memory   {}/s, measured\n",
      m["instruction_set"].get<std::string>(),
      fmt::join(m["available_instruction_sets"].get<std::vector<std::string>>(), ", "), m["threads"].get<int>(),
      format_bytes(m["memory_bytes"].get<uint64_t>()), format_number(m["peak_f32_flops"].get<double>()),
      format_number(m["peak_bf16_flops"].get<double>()), format_number(m["peak_int8_ops"].get<double>()),
      format_bytes(uint64_t(m["read_bytes_per_second"].get<double>())));
}

Json describe(const Checkpoint& checkpoint) {
  std::map<std::string, std::pair<int64_t, uint64_t>> types;
  for (const std::string& name : checkpoint.source().names()) {
    const StoredTensor& t = *checkpoint.source().find(name);
    auto& [count, bytes] = types[sedum::name(t.dtype)];
    ++count, bytes += t.bytes;
  }
  Json by_type = Json::object();
  for (const auto& [type, sum] : types) by_type[type] = {{"tensors", sum.first}, {"bytes", sum.second}};
  Json out{{"path", checkpoint.path().string()},
           {"format", checkpoint.is_gguf() ? "gguf" : "safetensors"},
           {"config", config_to_json(checkpoint.config())},
           {"parameters", checkpoint.config().parameter_count()},
           {"tensors", by_type}};
  if (checkpoint.has_tokenizer()) {
    const TokenizerSpec& spec = checkpoint.tokenizer_spec();
    out["tokenizer"] = {{"model", spec.model},
                        {"pre_tokenizer", spec.pre_tokenizer},
                        {"vocab_size", spec.tokens.size()},
                        {"hash", checkpoint.tokenizer()->hash()},
                        {"chat_template", !spec.chat_template.empty()}};
  }
  return out;
}

void print_model(const Json& m, const ModelConfig& c) {
  fmt::print(
      "{}\n{} · {} parameters · context {}\n{} layers of {} · {} heads over {} of {} · inner size {} · vocabulary {}\n",
      m["path"].get<std::string>(), c.model_type, format_number(m["parameters"].get<double>()),
      c.max_position_embeddings, c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.num_key_value_heads,
      c.head_dim, c.intermediate_size, c.vocab_size);
  if (is_seq2seq(c.model_type)) fmt::print("{} more layers in the decoder\n", c.encoder.num_decoder_layers);
  for (const auto& [type, sum] : m["tensors"].items())
    fmt::print("{:>5} tensors of {:<5} {}\n", sum["tensors"].get<int64_t>(), type,
               format_bytes(sum["bytes"].get<uint64_t>()));
  if (!m.contains("tokenizer")) return fmt::print("no tokenizer\n");
  const Json& t = m["tokenizer"];
  fmt::print("tokenizer {} ({}), {} tokens, {} chat template, hash {}\n", t["model"].get<std::string>(),
             t["pre_tokenizer"].get<std::string>(), t["vocab_size"].get<int64_t>(),
             t["chat_template"].get<bool>() ? "with a" : "no", t["hash"].get<std::string>().substr(0, 16));
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(info) {
  struct Options {
    std::string model;
    int threads = 0;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("-m,--model", o->model, "a model instead of the machine");
  app.add_option("--threads", o->threads, "threads; 0: all cores that this process may use");
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("example: sedum info --model smollm2-135m");
  return [o] {
    if (o->model.empty()) {
      const Json m = machine(o->threads);
      return o->json ? print_json(m) : print_machine(m);
    }
    const Checkpoint checkpoint = Checkpoint::open(resolve_model_path(find_model(o->model)).base);
    const Json m = describe(checkpoint);
    return o->json ? print_json(m) : print_model(m, checkpoint.config());
  };
}
