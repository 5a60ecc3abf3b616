#pragma once
// For tests, here and in model/checkpoint: compares a tokenizer with tests/golden/text/tokens.json (tools/golden/text_tokens.py).
//
//   EXPECT_THAT(golden_id_mismatches(tokenizer, "qwen", source_folder, std::getenv("SEDUM_TEST_DATA")), IsEmpty());

#include <filesystem>
#include <functional>

#include <openssl/evp.h>

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace sedum {

// The texts of a file that are tokenized one by one: lines, or the fields of Alpaca rows.
inline std::vector<std::string> golden_chunks(const std::filesystem::path& path) {
  std::vector<std::string> chunks;
  const std::string content = read_file(path);
  if (path.extension() == ".json") {
    for (const auto& row : parse_json(content))
      for (const char* key : {"instruction", "input", "output"}) chunks.push_back(row.at(key));
    return chunks;
  }
  size_t at = 0;
  for (size_t end; (end = content.find('\n', at)) != std::string::npos; at = end + 1)
    chunks.push_back(content.substr(at, end - at));
  chunks.push_back(content.substr(at));
  return chunks;
}

// What differs, one line each. `test_data` may be null: then only the strings in the golden file are compared.
inline std::vector<std::string> golden_id_mismatches(const Tokenizer& tokenizer, const std::string& name,
                                                     const std::filesystem::path& source_folder,
                                                     const char* test_data) {
  const auto golden = parse_json(read_file(source_folder / "tests/golden/text/tokens.json"));
  const auto& expected = golden.at("tokenizers").at(name);
  std::vector<std::string> wrong;
  const auto shown = [](const auto& ids) { return nlohmann::json(ids).dump(); };
  for (size_t i = 0; i < golden["strings"].size(); i++) {
    const std::string text = golden["strings"][i];
    const std::vector<int32_t> ids = tokenizer.encode(text);
    if (ids != expected["stress"][i].get<std::vector<int32_t>>()) {
      wrong.push_back(nlohmann::json(text).dump() + ": " + shown(ids) + ", expected " + expected["stress"][i].dump());
    }
  }
  if (!test_data) return wrong;
  for (const auto& [file, value] : expected["files"].items()) {
    std::string all;
    for (const std::string& chunk : golden_chunks(std::filesystem::path(test_data) / file)) {
      std::string line;
      for (int32_t id : tokenizer.encode(chunk)) line += (line.empty() ? "" : " ") + std::to_string(id);
      all += line + "\n";
    }
    unsigned char digest[32];
    EVP_Digest(all.data(), all.size(), digest, nullptr, EVP_sha256(), nullptr);
    std::string hex;
    for (unsigned char byte : digest) hex += "0123456789abcdef"[byte >> 4], hex += "0123456789abcdef"[byte & 15];
    if (hex != value["sha256"]) wrong.push_back(file + ": the ids of its lines have another digest");
  }
  return wrong;
}

// The tokenizer of a GGUF file, read just far enough for these tests; the reader of the format lives in formats/.
inline TokenizerSpec gguf_tokenizer_for_test(const std::filesystem::path& path) {
  const MappedFile file(path);
  const char* p = file.text().data() + 16;
  const auto number = [&p](int bytes) {
    uint64_t value = 0;
    std::memcpy(&value, p, size_t(bytes));
    p += bytes;
    return value;
  };
  const auto string = [&] {
    const uint64_t size = number(8);
    p += size;
    return std::string(p - size, size);
  };
  constexpr int kSize[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  TokenizerSpec spec;
  for (uint64_t left = number(8); left > 0; left--) {
    const std::string key = string();
    uint64_t type = number(4);
    if (type != 9) {
      if (key == "tokenizer.ggml.pre")
        spec.pre_tokenizer = string(), apply_known_defaults(spec);
      else if (type == 8)
        string();
      else if (key == "tokenizer.ggml.bos_token_id")
        spec.bos = int32_t(number(4));
      else if (key == "tokenizer.ggml.eos_token_id")
        spec.eos = int32_t(number(4));
      else
        number(kSize[type]);
      continue;
    }
    type = number(4);
    for (uint64_t n = number(8); n > 0; n--) {
      if (key == "tokenizer.ggml.tokens")
        spec.tokens.push_back(string());
      else if (key == "tokenizer.ggml.merges")
        spec.merges.push_back(string());
      else if (key == "tokenizer.ggml.token_type")
        spec.kinds.push_back(TokenKind(number(4)));
      else if (type == 8)
        string();
      else
        number(kSize[type]);
    }
  }
  return spec;
}

}  // namespace sedum
