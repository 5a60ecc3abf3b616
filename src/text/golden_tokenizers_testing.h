#pragma once
// For tests, here and in model/checkpoint: compares a tokenizer with tests/golden/text/tokenizers.json (tools/golden/text_tokenizers.py).
//
//   EXPECT_THAT(golden_tokenizer_mismatches(tokenizer, "t5.model", /*parse_special=*/false, test_data), IsEmpty());

#include "base/json.h"
#include "text/golden_ids_testing.h"
#include "text/unicode.h"

namespace sedum {

inline const nlohmann::json& golden_tokenizers() {
  static const auto json =
      parse_json(read_file(std::filesystem::path(SEDUM_SOURCE_DIR) / "tests/golden/text/tokenizers.json"));
  return json;
}

namespace golden_details {

inline std::string sha256(const std::string& bytes, size_t digits) {
  unsigned char digest[32];
  EVP_Digest(bytes.data(), bytes.size(), digest, nullptr, EVP_sha256(), nullptr);
  std::string hex;
  for (const unsigned char byte : digest) hex += "0123456789abcdef"[byte >> 4], hex += "0123456789abcdef"[byte & 15];
  return hex.substr(0, digits);
}

inline std::string joined(const std::vector<int32_t>& ids) {
  std::string line;
  for (const int32_t id : ids) line += (line.empty() ? "" : " ") + std::to_string(id);
  return line;
}

inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += char(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

inline std::string shown(const std::string& text) {
  return nlohmann::json(text.substr(0, 60)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace golden_details

// What differs, one line each. `test_data` may be null: then files are left out.
inline std::vector<std::string> golden_tokenizer_mismatches(const Tokenizer& tokenizer, const std::string& name,
                                                            bool parse_special, const char* test_data) {
  const nlohmann::json& expected = golden_tokenizers().at("tokenizers").at(name);
  const EncodeOptions options{.add_special = false, .parse_special = parse_special};
  using namespace golden_details;
  std::vector<std::string> wrong;
  const nlohmann::json& strings = golden_tokenizers().at("strings");
  for (size_t i = 0; i < strings.size(); i++) {
    const std::string text = strings[i];
    const std::vector<int32_t> ids = tokenizer.encode(text, options);
    if (sha256(joined(ids), 16) != expected.at("ids")[i])
      wrong.push_back("string " + std::to_string(i) + " " + shown(text) + ": " + joined(ids).substr(0, 200));
    else if (expected.contains("decoded") && expected["decoded"][i].is_string() &&
             sha256(unicode::replace_invalid(tokenizer.decode(ids)), 16) != expected["decoded"][i])
      wrong.push_back("decoding string " + std::to_string(i) + " " + shown(text) + ": " + shown(tokenizer.decode(ids)));
    StreamDecoder stream(tokenizer, false);
    std::string streamed;
    for (const int32_t id : ids) {
      const std::string piece = stream.push(id);
      if (!unicode::is_valid(piece)) wrong.push_back("string " + std::to_string(i) + ": a character was broken");
      streamed += piece;
    }
    streamed += stream.finish();
    if (streamed != unicode::replace_invalid(tokenizer.decode(ids)))
      wrong.push_back("streaming string " + std::to_string(i) + " " + shown(text));
  }
  // Byte-level BPE keeps bytes that the reference never sees.
  const bool keeps_bytes = tokenizer.spec().model == "bpe";
  for (size_t i = 0; !keeps_bytes && i < golden_tokenizers().at("invalid").size(); i++) {
    const std::vector<int32_t> ids = tokenizer.encode(from_hex(golden_tokenizers()["invalid"][i]), options);
    if (sha256(joined(ids), 16) != expected.at("invalid")[i])
      wrong.push_back("invalid " + golden_tokenizers()["invalid"][i].dump() + ": " + joined(ids));
  }
  if (!test_data || !expected.contains("files")) return wrong;
  for (const auto& [file, digest] : expected["files"].items()) {
    std::string all;
    for (const std::string& chunk : golden_chunks(std::filesystem::path(test_data) / file))
      all += joined(tokenizer.encode(chunk, options)) + "\n";
    if (sha256(all, 64) != digest) wrong.push_back(file + ": the ids of its lines have another digest");
  }
  return wrong;
}

}  // namespace sedum
