// A Hugging Face folder as a Checkpoint: config.json, model.safetensors or its index, tokenizer.json.

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/quantised.h"
#include "text/tokenizer_json.h"

namespace sedum {

Checkpoint open_folder(const std::filesystem::path& path) {
  const std::filesystem::path config = path / "config.json", tokenizer = path / "tokenizer.json";
  if (!std::filesystem::exists(config))
    throw Error(path.string() + " holds no config.json", "give a folder with a model, or a .gguf file");
  Checkpoint c;
  c.path_ = path;
  c.name_ = std::filesystem::weakly_canonical(path).filename().string();
  const std::string json = read_file(config);
  c.config_ = parse_config_json(json, config.string());
  const QuantisedFormat format = read_quantisation(nlohmann::json::parse(json, nullptr, false), config.string());
  c.source_ = assembled(open_tensors(path), format);
  // Some files leave the head out although config.json does not say that it is tied.
  if (!c.config_.tie_word_embeddings && !c.source_->find("lm_head.weight")) c.config_.tie_word_embeddings = true;
  const std::filesystem::path vocab = path / "vocab.json", merges = path / "merges.txt";
  if (std::filesystem::exists(tokenizer)) {
    c.has_tokenizer_ = true;
    c.read_tokenizer_ = [tokenizer] { return read_tokenizer_json(tokenizer); };
  } else if (std::filesystem::exists(vocab) && std::filesystem::exists(merges)) {
    c.has_tokenizer_ = true;
    c.read_tokenizer_ = [vocab, merges] { return read_vocab_and_merges(vocab, merges); };
  }
  return c;
}

}  // namespace sedum
