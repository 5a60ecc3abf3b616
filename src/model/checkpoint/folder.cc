// A Hugging Face folder as a Checkpoint: config.json, model.safetensors or its index, tokenizer.json.

#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/quantised.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace sedum {

namespace {

// The tensors of a model that has none yet.
class NoTensors : public TensorSource {
 public:
  explicit NoTensors(std::string where) : where_(std::move(where)) {}
  const StoredTensor* find(std::string_view) const override { return nullptr; }
  const std::vector<std::string>& names() const override { return names_; }
  std::string where() const override { return where_; }
  std::shared_ptr<const void> owner() const override { return nullptr; }

 private:
  std::string where_;
  std::vector<std::string> names_;
};

// What an encoder's config.json does not say: whether its names have the family's prefix, and whether there is a pooler.
void look_at_encoder(const TensorSource& source, ModelConfig& config) {
  EncoderConfig& e = config.encoder;
  const std::string prefix = config.model_type + ".";
  if (!is_seq2seq(config.model_type))
    e.prefix = source.find(prefix + "embeddings.word_embeddings.weight") ? prefix : "";
  const bool roberta = config.model_type == "roberta";
  if (e.head == EncoderConfig::Head::kMaskedLm &&
      !source.find(roberta ? "lm_head.dense.weight" : "cls.predictions.transform.dense.weight"))
    e.head = EncoderConfig::Head::kNone;
  e.has_pooler = source.find(e.prefix + "pooler.dense.weight") != nullptr;
  // A head that is stored is the head, whatever config.json says of ties: transformers has it so.
  if (is_seq2seq(config.model_type)) config.tie_word_embeddings = !source.find("lm_head.weight");
}

// SentencePiece's own file. The template stands in tokenizer_config.json, and so may tokens that were added later.
TokenizerSpec read_tokenizer_model(const std::filesystem::path& path) {
  TokenizerSpec spec = read_sentencepiece(path);
  const std::filesystem::path beside = path.parent_path() / "tokenizer_config.json";
  if (!std::filesystem::exists(beside)) return spec;
  const nlohmann::json config = try_parse_json(read_file(beside));
  if (!config.is_object()) throw Error(beside.string() + " is no JSON object", "fetch the file again");
  if (const auto added = config.find("added_tokens_decoder"); added != config.end() && added->is_object())
    for (const auto& [id, token] : added->items())
      if (id.empty() || id.size() > 9 || id.find_first_not_of("0123456789") != id.npos ||
          size_t(std::stoul(id)) >= spec.tokens.size())
        throw Error(beside.string() + ": token " + id + " is not in tokenizer.model",
                    "put the model's tokenizer.json into the folder");
  if (const auto chat = config.find("chat_template"); chat != config.end() && chat->is_string())
    spec.chat_template = *chat;
  return spec;
}

}  // namespace

void Checkpoint::take_tokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path tokenizer = folder / "tokenizer.json", vocab = folder / "vocab.json",
                              merges = folder / "merges.txt", model = folder / "tokenizer.model";
  if (std::filesystem::exists(tokenizer)) {
    has_tokenizer_ = true;
    read_tokenizer_ = [tokenizer] { return read_tokenizer_json(tokenizer); };
  } else if (std::filesystem::exists(vocab) && std::filesystem::exists(merges)) {
    has_tokenizer_ = true;
    read_tokenizer_ = [vocab, merges] { return read_vocab_and_merges(vocab, merges); };
  } else if (std::filesystem::exists(model)) {
    has_tokenizer_ = true;
    read_tokenizer_ = [model] { return read_tokenizer_model(model); };
  }
}

Checkpoint open_folder(const std::filesystem::path& path) {
  const std::filesystem::path config = path / "config.json";
  if (!std::filesystem::exists(config))
    throw Error(path.string() + " holds no config.json", "give a folder with a model, or a .gguf file");
  Checkpoint c;
  c.path_ = path;
  c.name_ = std::filesystem::weakly_canonical(path).filename().string();
  const std::string json = read_file(config);
  c.config_ = parse_config_json(json, config.string());
  const QuantisedFormat format = read_quantisation(try_parse_json(json), config.string());
  c.source_ = assembled(open_tensors(path), format);
  if (is_encoder(c.config_.model_type)) look_at_encoder(*c.source_, c.config_);
  // Some files leave the head out although config.json does not say that it is tied.
  if (!is_encoder(c.config_.model_type) && !c.config_.tie_word_embeddings && !c.source_->find("lm_head.weight"))
    c.config_.tie_word_embeddings = true;
  c.take_tokenizer(path);
  return c;
}

Checkpoint Checkpoint::untrained(const std::filesystem::path& config, const std::filesystem::path& tokenizer) {
  const bool folder = std::filesystem::is_directory(config);
  const std::filesystem::path file = folder ? config / "config.json" : config;
  if (!std::filesystem::exists(file))
    throw Error(file.string() + " does not exist", "give a config.json, a folder with one, or a `model:` block");
  return untrained(read_file(file), tokenizer.empty() ? file.parent_path() : tokenizer);
}

Checkpoint Checkpoint::untrained(const std::string& config_json, const std::filesystem::path& tokenizer) {
  Checkpoint c;
  c.name_ = "untrained", c.path_ = "untrained";
  c.config_ = parse_config_json(config_json, "the model's config");
  c.source_ = std::make_shared<NoTensors>("the model's config");
  if (tokenizer.empty()) return c;
  if (std::filesystem::is_regular_file(tokenizer) && tokenizer.extension() != ".gguf") {
    c.has_tokenizer_ = true;
    c.read_tokenizer_ = [tokenizer] { return read_tokenizer_json(tokenizer); };
  } else if (std::filesystem::is_directory(tokenizer)) {
    c.take_tokenizer(tokenizer);
  } else {
    const auto spec = std::make_shared<const TokenizerSpec>(Checkpoint::open(tokenizer).tokenizer_spec());
    c.has_tokenizer_ = true;
    c.read_tokenizer_ = [spec] { return *spec; };
  }
  if (c.has_tokenizer_ && c.tokenizer()->vocab_size() > c.config_.vocab_size)
    throw Error("the tokenizer has " + std::to_string(c.tokenizer()->vocab_size()) +
                    " tokens, the model's vocab_size is " + std::to_string(c.config_.vocab_size),
                "raise vocab_size, or choose a smaller tokenizer");
  return c;
}

}  // namespace sedum
