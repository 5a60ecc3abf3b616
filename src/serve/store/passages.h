#pragma once
// Documents cut into passages, and passages into the terms that they are found by.
//
//   for (const Passage& p : cut_passages(read_file("care.md"), DocumentKind::kMarkdown)) ...
//   index_terms("夏天浇水 in summer")   // "夏天 天浇 浇水 in summer": pairs of Han characters, words of other scripts

#include <string>
#include <string_view>
#include <vector>

namespace sedum::serve {

enum class DocumentKind { kText, kMarkdown, kHtml };

struct Passage {
  std::string heading;  // those above it, joined by " › "
  std::string text;
  int line = 1;  // where it begins, in the text that was cut
};

// Whole paragraphs of one heading, up to some 900 bytes together; longer ones are cut where a sentence ends.
std::vector<Passage> cut_passages(std::string_view text, DocumentKind kind);

// What a reader sees of a page: no tags, scripts or styles; headings as Markdown's "#".
std::string html_to_text(std::string_view html);

// Lower case, without punctuation, separated by spaces. Han, kana and Hangul have no spaces between words: there a term is a pair of
// neighbours, or a character that stands alone.
std::string index_terms(std::string_view text);

}  // namespace sedum::serve
