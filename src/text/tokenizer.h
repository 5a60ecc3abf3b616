#pragma once
// Text to token ids and back.
//
//   Tokenizer tokenizer(read_tokenizer_json("model/tokenizer.json"));       // text/tokenizer_json.h; GGUF fills the
//   same spec std::vector<int32_t> ids = tokenizer.encode("Hello, world!"); std::string text = tokenizer.decode(ids);
//   // the same bytes again StreamDecoder stream(tokenizer); for (int32_t id : ids) std::cout << stream.push(id); //
//   whole characters only std::cout << stream.finish();
//
// Byte-level BPE (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", 2.2), SentencePiece's BPE and unigram
// models, WordPiece, and what tokenizer.json puts together. With byte-level BPE bytes that are no UTF-8 are kept as they are: they count as symbols when words are cut, and decode(encode(x)) == x for any bytes
// wherever the vocabulary holds all 256 bytes and no normalisation is asked for. (With NFC, text that was not
// normalised comes back normalised.)

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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

// What a SentencePiece model says about normalising (sentencepiece_model.proto, NormalizerSpec and TrainerSpec).
struct SentencePieceOptions {
  std::string charsmap = {};         // precompiled tables, or empty
  bool add_dummy_prefix = true;      // a space before the text
  bool remove_extra_spaces = false;  // at the ends, and all but one elsewhere
  bool escape_spaces = true;         // as ▁
  bool space_as_suffix = false;      // the dummy space stands behind the text
  bool byte_fallback = false;        // unknown characters become <0x..> tokens
  bool match_user_defined =
      false;  // user-defined pieces are found in the normalised text; otherwise before, like control tokens
};

// Everything that defines a tokenizer, as files hold it. Readers fill it: tokenizer_json.h for Hugging Face's files, sentencepiece.h
// for .model files, model/checkpoint for GGUF.
struct TokenizerSpec {
  // "bpe" (byte-level), "sentencepiece-bpe", "sentencepiece-unigram", "components" (as the field of that name says).
  std::string model = "bpe";
  SentencePieceOptions sentencepiece = {};
  // JSON: the parts of tokenizer.json (normalizer, pre_tokenizer, model without vocabulary and merges, post_processor, decoder,
  // truncation, padding), where byte-level BPE and the fields below do not say it all. Empty otherwise.
  std::string components;
  std::string pre_tokenizer;          // "gpt-2", "smollm", "qwen2", "llama-bpe" or an alias; "" if `patterns` say it
  std::vector<std::string> patterns;  // regular expressions, each cutting what the one before left; run by PCRE2
  std::vector<std::string> tokens;    // by id, in the byte-level alphabet as files store them
  std::vector<TokenKind> kinds;       // by id; empty: all normal
  std::vector<double> scores;         // by id, for models that rank tokens so
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
  bool add_special = false;   // BOS and EOS, or [CLS] and [SEP], as the spec asks for them
  bool parse_special = true;  // special tokens in the text become their ids; false for text that users wrote
};

// One text or a pair of texts as an encoder model takes it.
struct Encoding {
  std::vector<int32_t> ids, type_ids, attention_mask;  // of equal length
};

// Texts longer than a model takes, and batches (tokenizer.json's truncation and padding).
struct Truncation {
  size_t max_length = 0;  // 0: none
  enum Strategy { kLongestFirst, kOnlyFirst, kOnlySecond } strategy = kLongestFirst;
  bool left = false;  // what is cut off
};
struct Padding {
  size_t length = 0;       // 0: to the longest of the batch
  size_t multiple_of = 0;  // 0: as it is
  bool left = false;
  int32_t id = 0, type_id = 0;
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

  // With special tokens, types and truncation as the file asks for; another truncation can be given.
  Encoding encode_single(std::string_view text, std::optional<Truncation> truncation = {}) const;
  Encoding encode_pair(std::string_view first, std::string_view second,
                       std::optional<Truncation> truncation = {}) const;
  // Brings all to one length; the file's padding where none is given.
  void pad(std::span<Encoding> batch, std::optional<Padding> padding = {}) const;

  // What the token stands for inside a text, decoded; special tokens as written. At the beginning of a text some tokenizers leave out a
  // space: decode() and StreamDecoder do.
  std::string_view token_bytes(int32_t id) const;
  std::string first_token_bytes(int32_t id) const;            // the same for a text's first token
  int spaces_to_strip() const;                                // so many spaces a text loses at its beginning
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
  // `shown`: special tokens that are given out all the same (marker_ids() of answer_parser.h).
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true, std::vector<int32_t> shown = {})
      : tokenizer_(&tokenizer),
        skip_special_(skip_special),
        shown_(std::move(shown)),
        to_strip_(tokenizer.spaces_to_strip()) {}
  std::string push(int32_t id);
  std::string finish();  // an unfinished character becomes U+FFFD

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::vector<int32_t> shown_;
  bool first_ = true;
  int to_strip_;
  std::string pending_;
};

}  // namespace sedum
