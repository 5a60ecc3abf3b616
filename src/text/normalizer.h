#pragma once
// What happens to text before it is cut into words: the normalizers of tokenizer.json, in their order.
//
//   Normalizer normalizer(json, "tokenizer.json");       // {"type": "Sequence", "normalizers": […]}, or null
//   std::string normal = normalizer(text);               // text: valid UTF-8
//
// NFC NFD NFKC NFKD Nmt Lowercase StripAccents Strip Prepend Replace BertNormalizer Precompiled ByteLevel Sequence; Error for others.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum {

// How BERT cleans text (Devlin et al. 2018, tokenization.py).
struct BertNormalization {
  bool clean_text = true, chinese_characters = true, strip_accents = true, lowercase = true;
  std::string operator()(std::string_view text) const;
};
bool is_chinese_character(char32_t code);  // an ideograph, as BERT counts them
bool is_bert_punctuation(char32_t code);   // ASCII's and Unicode's

class Normalizer {
 public:
  Normalizer() = default;
  Normalizer(const nlohmann::json& json, const std::string& name);
  std::string operator()(std::string_view text) const;
  bool empty() const { return steps_.empty(); }

 private:
  using Step = std::function<std::string(std::string_view)>;
  void add(const nlohmann::json& json, const std::string& name);
  std::vector<Step> steps_;
};

}  // namespace sedum
