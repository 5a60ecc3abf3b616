#pragma once
// Cutting text into words, inside which merges happen.
//
//   NextWord next = find_pre_tokenizer("qwen2");
//   for (const char* p = begin; p < end; p = q) { q = next(p, end); word(p, q); }
//
// The known ones are written by hand: each is a function from where a word begins to where it ends, since their regular
// expressions never look back. What nobody knew when this was compiled runs as patterns by PCRE2 (PatternSplitter).

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sedum {

using NextWord = const char* (*)(const char* begin, const char* end);  // begin < end; returns more than begin

// gpt-2       's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// smollm      the same after each \p{N} has been cut out
// qwen2       (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// llama-bpe   the same with \p{N}{1,3}
// Null for others, which have patterns only, and for unknown names. Aliases are the names that GGUF files use for the same cutting.
NextWord find_pre_tokenizer(std::string_view name);
std::string_view canonical_pre_tokenizer(std::string_view name);         // "llama3" → "llama-bpe"; "" when unknown
std::vector<std::string> pre_tokenizer_patterns(std::string_view name);  // for PatternSplitter; empty when unknown
std::string_view pre_tokenizer_of_patterns(const std::vector<std::string>& patterns);  // the name; "" when unknown
std::vector<std::string> known_pre_tokenizers();                                       // names and aliases

// Regular expressions applied one after the other: each cuts what the one before left into its matches and what lies between.
// Throws Error for a pattern that does not compile or that exceeds the match limits on a text. Bytes that are no UTF-8 are
// pieces of their own. PCRE2 brings its own Unicode version.
class PatternSplitter {
 public:
  explicit PatternSplitter(std::span<const std::string> patterns);
  ~PatternSplitter();
  std::vector<std::string_view> split(std::string_view text) const;  // not empty ones, in order, nothing left out

 private:
  struct Pattern;
  std::vector<std::unique_ptr<Pattern>> patterns_;
};

}  // namespace sedum
