#pragma once
// Finding added tokens ("<|im_start|>") in text, the longest of the leftmost first, and their claims on the whitespace around.
//
//   AddedTokens added(spec.added, /*normalized=*/false);
//   added.split(text, /*parse_special=*/true, [&](std::string_view between) {...}, [&](const AddedToken& token) {...});

#include <functional>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sedum {

class AddedTokens {
 public:
  // Takes those whose `normalized` is as given.
  AddedTokens(const std::vector<AddedToken>& tokens, bool normalized);

  bool empty() const { return tokens_.empty(); }

  template <class Text, class Token>
  void split(std::string_view text, bool parse_special, Text on_text, Token on_token) const {
    size_t done = 0;
    Match match;
    for (size_t at = 0; find(text, at, done, parse_special, match); at = match.resume) {
      if (match.begin > done) on_text(text.substr(done, match.begin - done));
      on_token(*match.token);
      done = match.end;
    }
    if (done < text.size()) on_text(text.substr(done));
  }

 private:
  struct Match {
    const AddedToken* token;
    size_t begin, end;  // with the whitespace it takes
    size_t resume;      // where to look on
  };
  bool find(std::string_view text, size_t from, size_t floor, bool parse_special, Match& match) const;
  const AddedToken* longest_at(std::string_view text, bool parse_special) const;

  std::vector<AddedToken> tokens_;      // sorted by text
  std::vector<uint32_t> first_, last_;  // by first byte: the range of tokens that begin with it
};

}  // namespace sedum
