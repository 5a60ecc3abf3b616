#pragma once
// What an encoder with a head for classes says of texts, or of the words of a sentence.
//
//   Runtime runtime;
//   const Classifier classifier(runtime, "runs/reviews");
//   Classified answer = classifier.texts({"A fine film."})[0];                 // of a sequence classifier
//   classifier.name(answer.label);                                             // "good"
//   std::vector<Classified> words = classifier.words({{"Ada", "sleeps"}})[0];   // of a token classifier: one for each word

#include "model/runtime_encoder.h"

namespace sedum {

struct Classified {
  int64_t label = 0;                 // the most probable class
  std::vector<float> probabilities;  // of all classes
};

class Classifier {
 public:
  // Error for a model without a head for classes.
  Classifier(Runtime& runtime, const std::filesystem::path& path, Compute compute = Compute::kF32,
             const std::filesystem::path& adapter = {});
  bool reads_words() const { return head() == EncoderConfig::Head::kToken; }
  std::vector<Classified> texts(const std::vector<std::string>& texts) const;
  // A word that lies beyond what the model takes has no probabilities.
  std::vector<std::vector<Classified>> words(const std::vector<std::vector<std::string>>& sentences) const;

  std::string name(int64_t label) const { return encoder_.model().config().encoder.label(label); }
  int64_t labels() const { return encoder_.model().config().encoder.num_labels; }
  const RuntimeEncoder& encoder() const { return encoder_; }

 private:
  EncoderConfig::Head head() const { return encoder_.model().config().encoder.head; }
  RuntimeEncoder encoder_;
};

// A sentence's words as the encoder takes them, [CLS] and [SEP] around, at most `most` tokens; first[i]: the token with which word i begins,
// −1 for a word that was cut off or has no token. That token carries the word's label.
struct EncodedWords {
  std::vector<int32_t> ids, first;
};
EncodedWords encode_words(const Tokenizer& tokenizer, const ModelConfig& config, const std::vector<std::string>& words,
                          int64_t most);

}  // namespace sedum
