#pragma once
// What is put around tokens: the post-processors of tokenizer.json, truncation and padding.
//
//   PostProcessor frame(json, spec, "tokenizer.json");
//   Encoding e = frame.pair(first_ids, second_ids, frame.truncation());      // [CLS] a [SEP] b [SEP], types 0 and 1
//
// TemplateProcessing BertProcessing RobertaProcessing ByteLevel Sequence; Error for others. Without one: BOS and EOS of the spec.

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/tokenizer.h"

namespace sedum {

class PostProcessor {
 public:
  explicit PostProcessor(const TokenizerSpec& spec);  // BOS and EOS
  PostProcessor(const nlohmann::json& components, const TokenizerSpec& spec,
                const std::string& name);  // the whole object

  void before(std::vector<int32_t>& ids) const;  // what stands before and behind a single text
  void behind(std::vector<int32_t>& ids) const;
  Encoding single(std::vector<int32_t> ids, const Truncation& truncation) const;
  Encoding pair(std::vector<int32_t> first, std::vector<int32_t> second, const Truncation& truncation) const;
  const Truncation& truncation() const { return truncation_; }
  const Padding& padding() const { return padding_; }

 private:
  enum Kind { kFirst, kSecond, kToken };
  struct Item {
    Kind kind;
    int32_t id, type;
  };
  void read(const nlohmann::json& processor, const TokenizerSpec& spec, const std::string& name);
  void read_limits(const nlohmann::json& components);
  std::vector<Item> items(const nlohmann::json& list, const nlohmann::json& tokens, const std::string& name) const;
  void put(const Item& item, std::span<const int32_t> ids, Encoding& out) const;
  static size_t added(const std::vector<Item>& items);

  std::vector<Item> single_, pair_;
  Truncation truncation_;
  Padding padding_;
};

void pad_encodings(std::span<Encoding> batch, const Padding& padding);

}  // namespace sedum
