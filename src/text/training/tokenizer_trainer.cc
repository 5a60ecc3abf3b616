#include "text/training/tokenizer_trainer.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/pre_tokenizer_steps.h"
#include "text/tokenizer_json.h"
#include "text/training/bpe_trainer.h"
#include "text/training/unigram_trainer.h"
#include "text/training/word_counts.h"
#include "text/unicode.h"

namespace sedum {

namespace {

using Json = nlohmann::json;
using Files = std::span<const std::filesystem::path>;

std::vector<std::string> byte_alphabet() {
  std::vector<std::string> out;
  for (int b = 0; b < 256; b++) out.push_back(to_byte_alphabet(std::string(1, char(b))));
  return out;
}

// Words as the pre-tokenizer of that name cuts them.
LineCutter cutter_of(const std::string& pre_tokenizer) {
  if (canonical_pre_tokenizer(pre_tokenizer).empty()) {
    const std::string near = nearest_name(pre_tokenizer, known_pre_tokenizers());
    throw Error(
        "pre-tokenizer \"" + pre_tokenizer + "\" is not known" + (near.empty() ? "" : "; nearest: \"" + near + "\""),
        "gpt-2, qwen2, llama-bpe and gpt-4o are common ones");
  }
  if (const NextWord next = find_pre_tokenizer(pre_tokenizer))
    return [next](std::string_view line, WordTable& words) {
      const char *p = line.data(), *end = p + line.size();
      for (const char* q; p < end; p = q) {
        q = next(p, end);
        words.add({p, size_t(q - p)}, size_t(end - p), 1);
      }
    };
  auto splitter = std::make_shared<const PatternSplitter>(pre_tokenizer_patterns(pre_tokenizer));
  return [splitter](std::string_view line, WordTable& words) {
    for (const std::string_view piece : splitter->split(line)) words.add(piece, piece.size(), 1);
  };
}

LineCutter bert_cutter(bool lowercase) {
  BertNormalization normalization;
  normalization.lowercase = normalization.strip_accents = lowercase;
  return [normalization](std::string_view line, WordTable& words) {
    const std::string normal = normalization(unicode::replace_invalid(line));
    const char *p = normal.data(), *end = p + normal.size(), *begin = p;
    const auto flush = [&](const char* to) {
      if (to > begin) words.add({begin, size_t(to - begin)}, size_t(end - begin), 1);
    };
    while (p < end) {
      const unicode::Decoded c = unicode::decode(p, end);
      const bool space = unicode::is_space(c.code);
      if (space || is_bert_punctuation(c.code)) {
        flush(p);
        if (!space) words.add({p, size_t(c.length)}, size_t(end - p), 1);
        begin = p + c.length;
      }
      p += c.length;
    }
    flush(end);
  };
}

const char* const kUnigramParts = R"({
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFKC"},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
  "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
  "post_processor": null,
  "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
  "truncation": null, "padding": null
})";

// To nine decimals: readers of JSON that are out by one bit for more than 15 digits (serde_json's, which Hugging Face's tokenizers have)
// get the same number, and with it the same cut where two are equally good but for rounding. The writer (Grisu2) misses the shortest form
// of one number in a thousand: then the next is taken.
double written_score(double score) {
  for (double billionths = std::nearbyint(score * 1e9);; billionths++) {
    const std::string text = Json(billionths / 1e9).dump();
    if (std::count_if(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) <= 15)
      return billionths / 1e9;
  }
}

LineCutter unigram_cutter() {
  const Json parts = parse_json(kUnigramParts);
  const auto normalizer = std::make_shared<const Normalizer>(parts["normalizer"], "unigram");
  const auto steps = std::make_shared<const PreTokenizerSteps>(parts["pre_tokenizer"], "unigram");
  return [=](std::string_view line, WordTable& words) {
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    const std::string normal = (*normalizer)(unicode::replace_invalid(line));
    PreTokenizerSteps::Work work;
    steps->split(normal, true, work);
    for (const std::string_view piece : work.pieces) words.add(piece, piece.size(), 1);
  };
}

void add_special(TokenizerSpec& spec, const std::vector<std::string>& special) {
  for (const std::string& text : special) {
    const auto found = std::find(spec.tokens.begin(), spec.tokens.end(), text);
    SEDUM_CHECK(found != spec.tokens.end());
    AddedToken token;
    token.text = text, token.id = int32_t(found - spec.tokens.begin()), token.special = true;
    spec.added.push_back(token);
  }
}

// Words of bytes become words of the byte-level alphabet.
WordCounts in_byte_alphabet(WordCounts words) {
  for (auto& [word, count] : words) word = to_byte_alphabet(word);
  return words;
}

TokenizerTrainingResult train_byte_level(Files files, const TokenizerTraining& options, ThreadPool& pool) {
  TokenizerTrainingResult result;
  const std::vector<std::string> special =
      options.special_tokens.empty() ? std::vector<std::string>{"<|endoftext|>"} : options.special_tokens;
  if (options.vocab_size < 256 + special.size())
    throw Error("a vocabulary of " + std::to_string(options.vocab_size) + " is too small for byte-level BPE",
                "it has all 256 bytes and the special tokens");
  const WordCounts words = in_byte_alphabet(count_words(files, pool, cutter_of(options.pre_tokenizer)));
  result.distinct_words = words.size();
  for (const auto& [word, count] : words) result.words += count;
  BpeTraining training;
  training.vocab_size = options.vocab_size, training.min_frequency = options.min_frequency;
  training.special_tokens = special, training.initial_alphabet = byte_alphabet(),
  training.on_progress = options.on_progress;
  BpeVocabulary vocabulary = train_bpe(words, training, pool);
  TokenizerSpec& spec = result.spec;
  spec.pre_tokenizer = options.pre_tokenizer;
  spec.tokens = std::move(vocabulary.tokens), spec.merges = std::move(vocabulary.merges);
  add_special(spec, special);
  spec.eos = spec.added[0].id;
  return result;
}

TokenizerTrainingResult train_wordpiece(Files files, const TokenizerTraining& options, ThreadPool& pool) {
  TokenizerTrainingResult result;
  std::vector<std::string> special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (const std::string& text : options.special_tokens)
    if (std::find(special.begin(), special.end(), text) == special.end()) special.push_back(text);
  const WordCounts words = count_words(files, pool, bert_cutter(options.lowercase));
  result.distinct_words = words.size();
  for (const auto& [word, count] : words) result.words += count;
  BpeTraining training;
  training.vocab_size = options.vocab_size, training.min_frequency = options.min_frequency,
  training.limit_alphabet = 6000;
  training.special_tokens = special, training.continuing_prefix = "##", training.on_progress = options.on_progress;
  result.spec = bert_tokenizer(train_bpe(words, training, pool).tokens, "the trained vocabulary", options.lowercase);
  return result;
}

TokenizerTrainingResult train_unigram_tokenizer(Files files, const TokenizerTraining& options, ThreadPool& pool) {
  TokenizerTrainingResult result;
  const std::vector<std::string> special =
      options.special_tokens.empty() ? std::vector<std::string>{"<unk>", "<s>", "</s>"} : options.special_tokens;
  if (options.vocab_size <= special.size())
    throw Error("a vocabulary of " + std::to_string(options.vocab_size) + " has no room beside the special tokens",
                "give a larger --vocab-size");
  const WordCounts words = count_words(files, pool, unigram_cutter());
  result.distinct_words = words.size();
  for (const auto& [word, count] : words) result.words += count;
  UnigramTraining training;
  training.vocab_size = options.vocab_size - special.size();
  training.on_progress = options.on_progress;
  const UnigramVocabulary vocabulary = train_unigram(words, training, pool);
  result.loss = vocabulary.loss;
  TokenizerSpec& spec = result.spec;
  for (const std::string& text : special) spec.tokens.push_back(text), spec.scores.push_back(0);
  for (const auto& [text, score] : vocabulary.pieces) {
    if (std::find(special.begin(), special.end(), text) != special.end()) continue;
    spec.tokens.push_back(text), spec.scores.push_back(written_score(score));
  }
  add_special(spec, special);
  const auto id = [&](const char* text) {
    const auto found = std::find(special.begin(), special.end(), text);
    return found == special.end() ? -1 : int32_t(found - special.begin());
  };
  spec.unk = std::max(id("<unk>"), 0), spec.bos = id("<s>"), spec.eos = id("</s>");
  Json parts = parse_json(kUnigramParts);
  parts["model"] = {{"type", "Unigram"}, {"unk_id", spec.unk}, {"byte_fallback", false}};
  spec.model = "components", spec.components = parts.dump();
  return result;
}

}  // namespace

TokenizerTrainingResult train_tokenizer(Files files, const TokenizerTraining& options, ThreadPool& pool) {
  if (options.vocab_size > size_t(1) << 24)
    throw Error("a vocabulary of " + std::to_string(options.vocab_size) + " is too large");
  if (options.type == "bpe") return train_byte_level(files, options, pool);
  if (options.type == "wordpiece") return train_wordpiece(files, options, pool);
  if (options.type == "unigram") return train_unigram_tokenizer(files, options, pool);
  throw Error("tokenizers of the type \"" + options.type + "\" are not known", "bpe, unigram and wordpiece are");
}

}  // namespace sedum
