#pragma once
// Text to token ids and back.
//
//   Tokenizer tokenizer(read_tokenizer_json("model/tokenizer.json"));       // text/tokenizer_json.h; GGUF fills the
//   same spec std::vector<int32_t> ids = tokenizer.encode("Hello, world!"); std::string text = tokenizer.decode(ids);
//   // the same bytes again StreamDecoder stream(tokenizer); for (int32_t id : ids) std::cout << stream.push(id); //
//   whole characters only std::cout << stream.finish();
//
// Byte-level BPE (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", 2.2). Bytes that are no
// UTF-8 are kept as they are: they count as symbols when words are cut, and decode(encode(x)) == x for any bytes
// wherever the vocabulary holds all 256 bytes and no normalisation is asked for. (With NFC, text that was not
// normalised comes back normalised.)

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sedum {

enum class TokenKind : uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };  // GGUF's numbering

// A token that is found in the text as it stands, before words are cut.
struct AddedToken {
  std::string text;
  int32_t id = -1;
  bool special = false;      // steers the model: parsed only with `parse_special`, dropped by `skip_special`
  bool lstrip = false;       // takes the whitespace before it
  bool rstrip = false;       // takes the whitespace after it
  bool single_word = false;  // only where no letter, digit or underscore touches it
  bool normalized = false;   // looked for in the normalised text
};

// Everything that defines a tokenizer, as files hold it. Readers fill it: tokenizer_json.h for Hugging Face's files,
// model/checkpoint for GGUF.
struct TokenizerSpec {
  std::string model = "bpe";
  std::string pre_tokenizer;          // "gpt-2", "smollm", "qwen2", "llama-bpe" or an alias; "" if `patterns` say it
  std::vector<std::string> patterns;  // regular expressions, each cutting what the one before left; run by PCRE2
  std::vector<std::string> tokens;    // by id, in the byte-level alphabet as files store them
  std::vector<TokenKind> kinds;       // by id; empty: all normal
  std::vector<float> scores;          // by id, for models that rank tokens so
  std::vector<std::string> merges;    // "left right", best first
  std::vector<AddedToken> added;  // control and user-defined tokens that are missing here are added by the Tokenizer
  bool nfc = false;               // normalise to Unicode form C first
  bool ignore_merges = false;     // look whole words up before merging (Llama-3)
  bool add_prefix_space = false;  // put a space before the text
  int32_t bos = -1, eos = -1, unk = -1, pad = -1;
  std::vector<int32_t> end_of_generation;  // `eos` and the well-known names of end tokens are added by the Tokenizer
  bool add_bos = false, add_eos = false;   // what `add_special` adds
  std::string chat_template;               // not used here; travels with the tokenizer
};

// What a known pre-tokenizer implies and GGUF leaves out: NFC for Qwen2, whole words first and a BOS for Llama-3. Call
// it once `pre_tokenizer` is set and before explicit keys (add_bos, ...) are read. Throws Error for a name nobody
// knows.
void apply_known_defaults(TokenizerSpec& spec);

struct EncodeOptions {
  bool add_special = false;   // BOS and EOS as the spec asks for them
  bool parse_special = true;  // special tokens in the text become their ids; false for text that users wrote
};

class Tokenizer {
 public:
  explicit Tokenizer(TokenizerSpec spec);  // throws Error when the spec contradicts itself
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Safe to call from several threads.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;  // throws Error for an unknown id

  std::string_view token_bytes(int32_t id) const;  // what the token stands for, decoded; special tokens as written
  std::optional<int32_t> id_of(std::string_view text) const;  // exact token, as `token_bytes` gives it
  bool is_special(int32_t id) const;
  bool ends_generation(int32_t id) const;
  int32_t vocab_size() const;
  const TokenizerSpec& spec() const;
  // SHA-256, in hexadecimal, of everything that changes ids (not of the chat template); travels in artefacts.
  const std::string& hash() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> impl_;
};

// Turns ids into text as they come: a character is given out when its last byte has come. Bytes that can never become
// UTF-8 are given out as U+FFFD, one for each maximal part as Python's "replace" does it, because what follows is JSON
// and terminals.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}
  std::string push(int32_t id);
  std::string finish();  // an unfinished character becomes U+FFFD

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;
};

}  // namespace sedum
