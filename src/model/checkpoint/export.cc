#include "model/checkpoint/export.h"

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "compute/dtype/k_quants.h"
#include "formats/gguf.h"
#include "model/checkpoint/gguf_metadata.h"
#include "model/checkpoint/gguf_tokenizer.h"
#include "model/checkpoint/model_folder.h"
#include "model/families.h"
#include "model/nn/rotary.h"
#include "text/tokenizer_json.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

std::vector<int64_t> sizes(const Shape& shape) {
  std::vector<int64_t> v;
  for (int i = 0; i < shape.rank(); ++i) v.push_back(shape[i]);
  return v;
}

void write_tokenizer(const fs::path& folder, const Checkpoint& like) {
  if (!like.has_tokenizer()) return;
  const TokenizerSpec spec =
      without_padding(like.tokenizer()->spec());  // complete: added tokens that GGUF names by kind alone
  write_file(folder / "tokenizer.json", write_tokenizer_json(spec));
  nlohmann::ordered_json config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  const auto token = [&](const char* key, int32_t id) {
    if (id >= 0 && size_t(id) < spec.tokens.size()) config[key] = spec.tokens[size_t(id)];
  };
  token("bos_token", spec.bos), token("eos_token", spec.eos), token("unk_token", spec.unk),
      token("pad_token", spec.pad);
  config["model_max_length"] = like.config().max_position_embeddings;
  config["clean_up_tokenization_spaces"] = false;
  if (!spec.chat_template.empty()) config["chat_template"] = spec.chat_template;
  write_file(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

// config.json names Llama 3's scaling by its terms; a GGUF file may hold divisors of the frequencies that have none.
void check_named_scaling(const Checkpoint& like) {
  const std::vector<float>& stored = like.config().rope_scaling.frequency_divisors;
  if (stored.empty()) return;
  ModelConfig named = like.config();
  named.rope_scaling.frequency_divisors.clear();
  const std::vector<float> computed = rotary_divisors(named);
  for (size_t i = 0; i < stored.size(); ++i)
    if (!(std::abs(computed[i] - stored[i]) <= 1e-4f * stored[i]))
      throw Error(like.path().string() + ": its rotary frequencies are scaled in a way that config.json cannot name",
                  "keep it as GGUF");
}

void write_config(const fs::path& folder, const Checkpoint& like, const char* torch_dtype,
                  const std::string& quantization_config) {
  check_named_scaling(like);
  nlohmann::ordered_json config = config_to_json(like.config());
  config["torch_dtype"] = torch_dtype;
  if (!quantization_config.empty())
    config["quantization_config"] = parse_json<nlohmann::ordered_json>(quantization_config);
  write_file(folder / "config.json", config.dump(2) + "\n");
}

// Encodes rows in the order that `row_of` names, some at a time.
void encode_rows(ThreadPool& pool, const std::vector<float>& values, const Shape& shape, DType type,
                 const std::function<int64_t(int64_t)>& row_of, const std::vector<float>* importance,
                 const ByteSink& sink) {
  const int64_t cols = shape.rank() < 2 ? 1 : shape[-1], rows = int64_t(values.size()) / std::max<int64_t>(cols, 1);
  const size_t bytes = row_bytes(type, cols);
  const int64_t at_once = std::max<int64_t>(1, (int64_t{4} << 20) / std::max<int64_t>(1, int64_t(bytes)));
  const bool weighted = importance && int64_t(importance->size()) == cols && is_k_quant(type);
  std::vector<char> encoded(size_t(std::min(rows, at_once)) * bytes);
  for (int64_t from = 0; from < rows; from += at_once) {
    const int64_t count = std::min(at_once, rows - from);
    pool.parallel_for(count, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* row = values.data() + row_of(from + r) * cols;
        if (weighted)
          encode_k_quants(type, row, &encoded[size_t(r) * bytes], cols, importance->data());
        else
          encode(type, row, &encoded[size_t(r) * bytes], cols);
      }
    });
    sink(encoded.data(), size_t(count) * bytes);
  }
}

// (rows, cols) as (cols, rows).
std::vector<float> transposed(const std::vector<float>& values, int64_t rows, int64_t cols) {
  std::vector<float> other(values.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) other[size_t(c * rows + r)] = values[size_t(r * cols + c)];
  return other;
}

std::vector<float> raised_by(std::vector<float> values, float raised) {
  for (float& v : values) v += raised;
  return values;
}

bool is_query_or_key(const std::string& name) {
  return name.find(".q_proj.") != std::string::npos || name.find(".k_proj.") != std::string::npos;
}

}  // namespace

void write_folder_description(const fs::path& folder, const Checkpoint& like, const char* torch_dtype,
                              const std::string& quantization_config) {
  write_config(folder, like, torch_dtype, quantization_config);
  write_tokenizer(folder, like);
}

TensorReader stored_values(const Checkpoint& checkpoint) {
  return [&checkpoint](const std::string& name) {
    const Tensor stored = checkpoint.tensor(name);
    std::vector<float> values(size_t(stored.count()));
    decode(stored.dtype(), stored.raw(), values.data(), stored.count());
    return values;
  };
}

void write_gguf(const fs::path& path, const Checkpoint& like, DType type, const TensorReader& read) {
  ThreadPool alone(1);
  write_gguf(path, like, gguf_mixture(name(type), like.config()), read, alone);
}

void write_gguf(const fs::path& path, const Checkpoint& like, const GgufMixture& mixture, const TensorReader& read,
                ThreadPool& pool, const ImportanceReader& importance) {
  GgufWriter out(path);
  write_gguf_metadata(out, like, mixture.file_type);
  const std::vector<GgufParts> tensors = gguf_parts(like);
  Progress progress("writing " + path.filename().string(), tensors.size());
  for (const GgufParts& tensor : tensors) {
    const std::string& name = tensor.parts.front();
    const Shape shape = like.tensor(name).shape();
    const Shape whole = tensor.stacked ? Shape{int64_t(tensor.parts.size()), shape[0], shape[1]} : shape;
    const DType t = mixture.type_of(tensor.name, whole);
    const bool interleave =
        family_of(like.config().model_type, like.path().string()).interleaved && is_query_or_key(name);
    const int64_t head_dim = like.config().head_dim;
    const float raised = like.raised_in_gguf(name) ? 1 : 0;
    out.add(
        tensor.name, t, sizes(whole),
        [&progress, &pool, &importance, read, tensor, shape, t, interleave, head_dim, raised](const ByteSink& sink) {
          for (const std::string& part : tensor.parts)
            encode_rows(
                pool, raised_by(read(part), raised), shape, t,
                [&](int64_t r) { return interleave ? other_row(r, head_dim, RowOrder::kInterleaved) : r; },
                importance ? importance(tensor.name) : nullptr, sink);
          progress.advance(1);
        });
  }
  for (const auto& [name, divisors] : gguf_divisors(like.config()))
    out.add(name, DType::kF32, {int64_t(divisors.size())},
            [divisors](const ByteSink& sink) { sink(divisors.data(), divisors.size() * sizeof(float)); });
  out.finish();
}

void write_folder(const fs::path& folder, const Checkpoint& like, DType type, const TensorReader& read,
                  uint64_t max_shard_bytes) {
  NewModelFolder made(folder);
  const std::vector<std::string> names = like.tensor_names();
  Progress progress("writing " + made.path().filename().string(), names.size());
  ThreadPool pool(1);
  SafetensorsWriter out(made.path() / "model.safetensors", {{"format", "pt"}}, max_shard_bytes);
  for (const std::string& name : names) {
    const Shape shape = like.tensor(name).shape();
    const bool turned = like.turned_in_folder(name);
    const Shape kept = turned ? Shape{shape[1], shape[0]} : shape;
    out.add(name, type, sizes(kept), [&progress, &pool, read, name, kept, type, turned](const ByteSink& sink) {
      encode_rows(
          pool, turned ? transposed(read(name), kept[1], kept[0]) : read(name), kept, type, [](int64_t r) { return r; },
          nullptr, sink);
      progress.advance(1);
    });
  }
  out.finish();
  write_folder_description(made.path(), like,
                           type == DType::kF32   ? "float32"
                           : type == DType::kF16 ? "float16"
                                                 : "bfloat16");
  made.commit();
}

void write_folder(const fs::path& folder, const Checkpoint& like, const std::vector<Variable>& parameters) {
  NewModelFolder made(folder);
  SafetensorsWriter out(made.path() / "model.safetensors", {{"format", "pt"}}, kMaxShardBytes);
  bool narrow = false;
  for (const Variable& p : parameters) {
    narrow = narrow || p.dtype() == DType::kBF16;
    const Tensor stored = like.turned_in_folder(p.name()) ? turned(p.value()) : p.value();
    out.add(p.name(), p.dtype(), sizes(stored.shape()),
            [stored](const ByteSink& sink) { sink(stored.raw(), stored.bytes()); });
  }
  out.finish();
  write_folder_description(made.path(), like, narrow ? "bfloat16" : "float32");
  made.commit();
}

}  // namespace sedum
