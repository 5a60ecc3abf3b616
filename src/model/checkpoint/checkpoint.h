#pragma once
// A model as files hold it, whatever the files: sizes, weights under their Hugging Face names, tokenizer, chat template.
//
//   Checkpoint checkpoint = Checkpoint::open("model.gguf");            // or a folder with config.json, safetensors, tokenizer.json
//   Tensor w = checkpoint.tensor("model.layers.0.self_attn.q_proj.weight");   // as stored: mapped, maybe quantised
//   auto tokenizer = checkpoint.tokenizer();
//
// Row order is Hugging Face's: GGUF's llama and smollm3 files keep q and k with the halves of each head interleaved, which is undone here (rows move,
// bits stay).

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compute/tensor/tensor.h"
#include "formats/tensor_source.h"
#include "model/config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sedum {

class Checkpoint {
 public:
  static Checkpoint open(const std::filesystem::path& path);
  // A model without weights yet: sizes from a config.json (a folder with one, or the file itself), or from its text; the tokenizer from
  // `tokenizer`, which may be whatever holds one, else from the same folder. Error when the tokenizer has more tokens than the model.
  static Checkpoint untrained(const std::filesystem::path& config, const std::filesystem::path& tokenizer);
  static Checkpoint untrained(const std::string& config_json, const std::filesystem::path& tokenizer);

  // The same checkpoint of an encoder, to be a classifier of these labels: its own head where it has one of that kind, whose labels must be
  // among its own; else what has() says is missing is new.
  Checkpoint classifying(EncoderConfig::Head head, const std::vector<std::string>& labels) const;

  const ModelConfig& config() const { return config_; }
  const std::filesystem::path& path() const { return path_; }
  const std::string& name() const { return name_; }  // for people: "SmolLM2-135M-Instruct.Q4_1"
  const TensorSource& source() const { return *source_; }
  bool is_gguf() const { return gguf_; }

  bool has(const std::string& hf_name) const;
  Tensor tensor(const std::string& hf_name) const;  // Error naming file and tensor when missing
  // The same, but without values (defined() is false) where they would have to be copied into their order.
  Tensor outline(const std::string& hf_name) const;
  // The tensor's name in the file.
  std::string stored_name(const std::string& hf_name) const;
  // Whether a folder keeps the matrix as (in, out): those of GPT-2's layers.
  bool turned_in_folder(const std::string& hf_name) const;
  // Whether GGUF keeps the norm as 1 + w: those of Gemma.
  bool raised_in_gguf(const std::string& hf_name) const;
  // All tensors that the architecture has, by Hugging Face name.
  std::vector<std::string> tensor_names() const;

  bool has_tokenizer() const { return has_tokenizer_; }
  std::shared_ptr<const Tokenizer> tokenizer() const;  // Error when the files have none
  // Null when the model has no template.
  std::shared_ptr<const ChatTemplate> chat_template() const;
  const TokenizerSpec& tokenizer_spec() const;

 private:
  friend Checkpoint open_gguf(const std::filesystem::path& path);
  friend Checkpoint open_folder(const std::filesystem::path& path);
  void take_tokenizer(const std::filesystem::path& folder);
  bool rows_move(const std::string& hf_name) const;
  ModelConfig config_;
  std::filesystem::path path_;
  std::string name_;
  std::shared_ptr<const TensorSource> source_;
  bool gguf_ = false, has_tokenizer_ = false;
  std::function<TokenizerSpec()> read_tokenizer_;
  mutable std::shared_ptr<const TokenizerSpec> spec_;
  mutable std::shared_ptr<const Tokenizer> tokenizer_;
  mutable std::shared_ptr<const ChatTemplate> template_;
};

// GGUF's name of a tensor: "blk.0.attn_q.weight" for "model.layers.0.self_attn.q_proj.weight"; "" if there is none.
std::string gguf_name(const std::string& hf_name, const ModelConfig& config);
// What llama.cpp divides Gemma's scores by the root of: GGUF has no key for it.
float gguf_query_scalar(const ModelConfig& config);
// A matrix of one expert: "model.layers.3.block_sparse_moe.experts.5.w1.weight" and "model.layers.3.mlp.experts.5.gate_proj.weight" are both
// {3, 5, kGate}. GGUF keeps those of a layer's experts in one tensor (experts, rows, columns), and so do some folders of transformers 5,
// there gate and up together.
struct ExpertTensor {
  enum class Part { kGate, kUp, kDown };
  int64_t layer, expert;
  Part part;
};
std::optional<ExpertTensor> expert_tensor(const std::string& hf_name);
// Whether it is the router's weight of a mixture of experts, which stays as it is stored when layers are quantised.
bool is_router(const std::string& hf_name);
// All tensors of a model of these sizes, by Hugging Face name.
std::vector<std::string> architecture_tensors(const ModelConfig& config);

// (rows, cols) of any type of whole bytes as (cols, rows), a copy.
Tensor turned(const Tensor& stored);

// Rows of a head from interleaved pairs (GGUF) to halves (Hugging Face), or back: row h·D + 2j + i ↔ h·D + i·D/2 + j.
enum class RowOrder { kHalves, kInterleaved };
int64_t other_row(int64_t row, int64_t head_dim,
                  RowOrder wanted);  // where the wanted order's row stands in the other order

}  // namespace sedum
