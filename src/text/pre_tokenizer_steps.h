#pragma once
// The pre-tokenizers of tokenizer.json, in their order.
//
//   PreTokenizerSteps steps(json, "tokenizer.json");
//   PreTokenizerSteps::Work work;
//   steps.split(normalized, /*at_start=*/true, work);    // work.pieces: the words, where nothing was rewritten views into `normalized`
//
// ByteLevel Split Digits Punctuation Whitespace WhitespaceSplit Metaspace BertPreTokenizer CharDelimiterSplit Sequence; Error for others.

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum {

class PreTokenizerSteps {
 public:
  struct Work {
    std::vector<std::string_view> pieces;
    std::deque<std::string> rewritten;  // what `pieces` points to where a step changed the text
    bool at_start = false;              // the first piece begins the text
  };

  PreTokenizerSteps() = default;
  // `bytes`: where ByteLevel comes last, words stay bytes; otherwise they are written in the byte-level alphabet.
  PreTokenizerSteps(const nlohmann::json& json, const std::string& name, bool bytes = true);
  void split(std::string_view text, bool at_start, Work& work) const;
  // The last step is ByteLevel: words are bytes, and tokens are in the byte-level alphabet.
  bool ends_in_bytes() const { return ends_in_bytes_; }

 private:
  using Step = std::function<void(Work&)>;
  void add(const nlohmann::json& json, const std::string& name, bool last);
  void add_split(const nlohmann::json& json, const std::string& name);
  std::vector<Step> steps_;
  bool ends_in_bytes_ = false;
};

}  // namespace sedum
