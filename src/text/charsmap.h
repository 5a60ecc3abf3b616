#pragma once
// The normaliser tables of SentencePiece ("precompiled charsmap": NFKC and more, as a double-array trie from byte strings to their
// replacements).
//
//   Charsmap map(bytes);                                 // Error when the tables are damaged
//   std::string normal = map.normalize_graphemes(text);  // as Hugging Face's Precompiled applies them
//
// Format: u32 size of the trie in bytes; the trie (darts-clone units of 32 bits); the replacements, each ended by a zero byte.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sedum {

class Charsmap {
 public:
  Charsmap() = default;
  explicit Charsmap(std::string_view bytes);

  bool empty() const { return units_.empty(); }

  struct Rule {
    size_t length = 0;  // bytes of the text that it replaces; 0: no rule
    std::string_view to = {};
  };
  Rule longest(const char* p, const char* end) const { return find(p, end, true); }
  Rule shortest(const char* p, const char* end) const { return find(p, end, false); }
  // Whether an ASCII character followed by another stands for itself.
  bool plain(unsigned char ascii) const { return plain_.empty() || plain_[ascii]; }

  // Whether no rule begins with a character of U+0080 to U+FFFF, so that it stands for itself whatever follows.
  bool untouched(char32_t code) const { return empty() || (code < untouched_.size() && untouched_[code]); }

  // A grapheme of fewer than six bytes is replaced as a whole by the first rule that it begins with, others character by character.
  std::string normalize_graphemes(std::string_view text) const;

 private:
  Rule find(const char* p, const char* end, bool longest) const;
  std::vector<uint32_t> units_;
  std::string replacements_;
  bool begins_rule(const char* p, const char* end) const;
  std::vector<bool> plain_;      // by ASCII character
  std::vector<bool> untouched_;  // by code point
};

}  // namespace sedum
