#pragma once
// Texts to vectors by an encoder, as sentence-transformers has it: the last hidden states of a text's tokens averaged (or the first one's), scaled
// to length 1, so that a dot product is a cosine. Reimers, Gurevych: "Sentence-BERT", 2019.
//
//   Runtime runtime;
//   SentenceEncoder encoder(runtime, "all-MiniLM-L6-v2");
//   std::vector<std::vector<float>> vectors = encoder.encode({"Water it rarely.", "It needs little water."});

#include <filesystem>
#include <string>
#include <vector>

#include "model/runtime_encoder.h"

namespace sedum {

class SentenceEncoder {
 public:
  // modules.json and its folders, where the model's folder has them, say how states are pooled and how long a text may be; else their mean.
  SentenceEncoder(Runtime& runtime, const std::filesystem::path& path, Compute compute = Compute::kF32);

  // Of any number of texts; longer ones are cut at max_tokens(). Safe from one thread at a time.
  std::vector<std::vector<float>> encode(const std::vector<std::string>& texts) const;
  // The same of token ids, [CLS] and [SEP] included.
  std::vector<std::vector<float>> encode_ids(const std::vector<std::vector<int32_t>>& sequences) const;
  std::vector<int32_t> tokens(const std::string& text) const;

  int64_t dimensions() const { return encoder_.model().config().hidden_size; }
  int64_t max_tokens() const { return max_tokens_; }
  const Checkpoint& checkpoint() const { return encoder_.checkpoint(); }

 private:
  void read_pooling(const std::filesystem::path& path);
  RuntimeEncoder encoder_;
  bool first_token_ = false, normalise_ = true;
  int64_t max_tokens_ = 0;
};

}  // namespace sedum
