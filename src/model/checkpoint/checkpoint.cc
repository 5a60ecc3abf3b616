#include "model/checkpoint/checkpoint.h"

#include <cstring>

#include "base/error.h"
#include "model/families.h"
#include "model/nn/linear.h"

namespace sedum {

Checkpoint open_gguf(const std::filesystem::path& path);
Checkpoint open_folder(const std::filesystem::path& path);

namespace {

Shape shape_of(const StoredTensor& stored) { return Shape(std::span(stored.shape)); }

// q and k of GGUF's llama files, and their biases.
bool interleaved_in_gguf(const std::string& hf_name) {
  return hf_name.find(".self_attn.q_proj.") != std::string::npos ||
         hf_name.find(".self_attn.k_proj.") != std::string::npos;
}

// w of a norm's stored 1 + w.
Tensor lowered(const Tensor& stored) {
  auto buffer = std::make_shared<Buffer>(size_t(stored.count()) * sizeof(float));
  float* const values = buffer->as<float>();
  decode(stored.dtype(), stored.raw(), values, stored.count());
  for (int64_t i = 0; i < stored.count(); ++i) values[i] -= 1;
  return Tensor::external(DType::kF32, stored.shape(), values, std::move(buffer));
}

Tensor reorder_rows(const Tensor& stored, int64_t head_dim) {
  const bool vector = stored.shape().rank() == 1;
  const int64_t rows = stored.size(0);
  const size_t bytes = vector ? row_bytes(stored.dtype(), 1) : row_bytes(stored.dtype(), stored.size(1));
  auto buffer = std::make_shared<Buffer>(size_t(rows) * bytes);
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(buffer->as<char>() + size_t(r) * bytes,
                static_cast<const char*>(stored.raw()) + size_t(other_row(r, head_dim, RowOrder::kHalves)) * bytes,
                bytes);
  const void* data = buffer->as();
  return Tensor::external(stored.dtype(), stored.shape(), data, std::move(buffer));
}

// The name that transformers 5 gives all experts of a layer together, or the router, in memory and in some files.
std::string together_in_folder(const std::string& hf_name) {
  if (const auto expert = expert_tensor(hf_name))
    return "model.layers." + std::to_string(expert->layer) + ".mlp.experts." +
           (expert->part == ExpertTensor::Part::kDown ? "down_proj" : "gate_up_proj");
  constexpr std::string_view kRouter = ".block_sparse_moe.gate.weight";
  if (hf_name.ends_with(kRouter)) return hf_name.substr(0, hf_name.size() - kRouter.size()) + ".mlp.gate.weight";
  return "";
}

// One expert's matrix of all those of a layer, which stand one after the other; of gate and up together where `both`.
Tensor matrix_of(const Tensor& all, const ExpertTensor& which, bool both, const std::string& where) {
  const int64_t rows = all.size(1) / (both ? 2 : 1), cols = all.size(2);
  if (which.expert >= all.size(0) || (both && all.size(1) % 2))
    throw Error(where + " is " + all.shape().text() + ": it has no expert " + std::to_string(which.expert),
                "weights and config do not belong together");
  const int64_t first = which.expert * all.size(1) + (both && which.part == ExpertTensor::Part::kUp ? rows : 0);
  const char* data = static_cast<const char*>(all.raw()) + size_t(first) * row_bytes(all.dtype(), cols);
  return Tensor::external(all.dtype(), {rows, cols}, data, std::make_shared<const Tensor>(all));
}

}  // namespace

Tensor turned(const Tensor& stored) {
  const DTypeInfo& type = info(stored.dtype());
  if (stored.shape().rank() != 2 || type.block != 1)
    throw Error("a quantised matrix cannot be turned", "take the folder whose weights are f32, f16 or bf16");
  const int64_t rows = stored.size(0), cols = stored.size(1);
  const size_t bytes = row_bytes(stored.dtype(), 1);
  auto buffer = std::make_shared<Buffer>(stored.bytes());
  const char* from = static_cast<const char*>(stored.raw());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      std::memcpy(buffer->as<char>() + size_t(c * rows + r) * bytes, from + size_t(r * cols + c) * bytes, bytes);
  const void* data = buffer->as();
  return Tensor::external(stored.dtype(), {cols, rows}, data, std::move(buffer));
}

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path))
    throw Error("there is no model at " + path.string(),
                "check the path, or fetch one with `sedum pull` (`sedum pull --list` names some)");
  if (std::filesystem::is_directory(path)) return open_folder(path);
  if (path.extension() == ".gguf") return open_gguf(path);
  throw Error(path.string() + " is no model", "give a .gguf file or a folder with config.json and safetensors");
}

std::string Checkpoint::stored_name(const std::string& hf_name) const {
  if (gguf_) return gguf_name(hf_name, config_);
  // BERT's first files, of TensorFlow, call a norm's weight and shift gamma and beta.
  if (const size_t at = hf_name.rfind("LayerNorm."); at != std::string::npos && !source_->find(hf_name)) {
    const std::string old = hf_name.substr(0, at + 10) + (is_shift(hf_name) ? "beta" : "gamma");
    if (source_->find(old)) return old;
  }
  if (const std::string together = together_in_folder(hf_name);
      !together.empty() && !source_->find(hf_name) && source_->find(together))
    return together;
  // Files of an encoder alone have its names without the family's.
  if (const std::string prefix = config_.model_type + ".";
      is_encoder(config_.model_type) && hf_name.starts_with(prefix) && !source_->find(hf_name))
    return hf_name.substr(prefix.size());
  // The first files of GPT-2 hold the model alone, without its head.
  constexpr std::string_view kModel = "transformer.";
  if (hf_name.starts_with(kModel) && !source_->find(hf_name)) return hf_name.substr(kModel.size());
  return hf_name;
}

Checkpoint Checkpoint::classifying(EncoderConfig::Head head, const std::vector<std::string>& labels) const {
  if (config_.model_type != "bert" && config_.model_type != "roberta")
    throw Error(path_.string() + ": a model of the family " + config_.model_type + " is no encoder",
                "choose a BERT or RoBERTa model");
  Checkpoint c = *this;
  EncoderConfig& e = c.config_.encoder;
  if (e.head == head) {
    for (const std::string& label : labels) {
      bool known = false;
      for (int64_t i = 0; i < e.num_labels; ++i) known = known || e.label(i) == label;
      if (!known)
        throw Error(path_.string() + ": its head does not know the label \"" + label + "\"",
                    "begin with a model that has no head for classes, or use its labels");
    }
    return c;
  }
  e.head = head, e.labels = labels, e.num_labels = int64_t(labels.size()), e.prefix = config_.model_type + ".";
  e.has_pooler = head == EncoderConfig::Head::kSequence && config_.model_type == "bert";
  return c;
}

bool Checkpoint::raised_in_gguf(const std::string& hf_name) const {
  return is_gemma(config_.model_type) && hf_name.ends_with("norm.weight");
}

bool Checkpoint::turned_in_folder(const std::string& hf_name) const {
  return config_.model_type == "gpt2" && hf_name.find(".c_") != std::string::npos && hf_name.ends_with(".weight");
}

bool Checkpoint::has(const std::string& hf_name) const {
  const std::string stored = stored_name(hf_name);
  return !stored.empty() && source_->find(stored);
}

bool Checkpoint::rows_move(const std::string& hf_name) const {
  return gguf_ && interleaved_in_gguf(hf_name) && family_of(config_.model_type, source_->where()).interleaved;
}

Tensor Checkpoint::outline(const std::string& hf_name) const {
  if (!rows_move(hf_name)) return tensor(hf_name);
  const StoredTensor& stored = source_->get(stored_name(hf_name));
  return Tensor::external(stored.dtype, shape_of(stored), nullptr);
}

Tensor Checkpoint::tensor(const std::string& hf_name) const {
  const StoredTensor& stored = source_->get(stored_name(hf_name));
  const Tensor t = Tensor::external(stored.dtype, shape_of(stored), stored.data, source_->owner());
  if (const auto expert = expert_tensor(hf_name); expert && t.shape().rank() == 3)
    return matrix_of(t, *expert, !gguf_ && expert->part != ExpertTensor::Part::kDown,
                     source_->where() + ": " + stored.name);
  if (rows_move(hf_name)) {
    if (t.size(0) % config_.head_dim)
      throw Error(source_->where() + ": " + stored.name + " has " + std::to_string(t.size(0)) +
                  " rows, no multiple of the head's " + std::to_string(config_.head_dim));
    return reorder_rows(t, config_.head_dim);
  }
  if (gguf_ && raised_in_gguf(hf_name)) return lowered(t);
  if (!gguf_ && turned_in_folder(hf_name)) return turned(t);
  return t;
}

std::vector<std::string> Checkpoint::tensor_names() const { return architecture_tensors(config_); }

const TokenizerSpec& Checkpoint::tokenizer_spec() const {
  if (!has_tokenizer_)
    throw Error(path_.string() + ": the model has no tokenizer", "put its tokenizer.json into the folder");
  if (!spec_) spec_ = std::make_shared<const TokenizerSpec>(read_tokenizer_());
  return *spec_;
}

std::shared_ptr<const Tokenizer> Checkpoint::tokenizer() const {
  if (!tokenizer_) tokenizer_ = std::make_shared<const Tokenizer>(tokenizer_spec());
  return tokenizer_;
}

std::shared_ptr<const ChatTemplate> Checkpoint::chat_template() const {
  if (!template_ && has_tokenizer_ && !tokenizer_spec().chat_template.empty())
    template_ = std::make_shared<const ChatTemplate>(tokenizer_spec().chat_template);
  return template_;
}

}  // namespace sedum
