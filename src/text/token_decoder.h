#pragma once
// Tokens back to text: the decoders of tokenizer.json as a function of one token and of whether it is the first, so that text can be
// given out while tokens come.
//
//   TokenDecoder decoder(json, "tokenizer.json");
//   decoder.token("▁Sedum", /*first=*/true);             // "Sedum" with Metaspace
//   decoder.strip_left();                                // spaces that the whole text loses at its beginning
//
// ByteLevel Metaspace WordPiece ByteFallback BPEDecoder Replace Strip Fuse Sequence; Error for others. Without a decoder tokens are
// words. Bytes of ByteFallback that make no character stay as they are.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum {

class TokenDecoder {
 public:
  TokenDecoder() = default;  // tokens as they are
  TokenDecoder(const nlohmann::json& json, const std::string& name);
  std::string token(std::string_view text, bool first) const;
  int strip_left() const { return strip_left_; }

 private:
  using Step = std::function<std::string(std::string, bool first)>;
  void add(const nlohmann::json& json, const std::string& name);
  std::vector<Step> steps_;
  bool fused_ = false;  // what follows sees the whole text
  int strip_left_ = 0;
};

}  // namespace sedum
