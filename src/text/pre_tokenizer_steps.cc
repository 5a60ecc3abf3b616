#include "text/pre_tokenizer_steps.h"

#include <algorithm>

#include "text/bpe.h"
#include "text/json_fields.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace sedum {

namespace {

using fields::Json;
using Work = PreTokenizerSteps::Work;

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct Part {
  size_t begin, end;
  bool match;
};

// What becomes of matches and of what lies between them (a partition of the piece).
void merge_parts(std::vector<Part>& parts, Behavior behavior) {
  std::vector<Part> out;
  switch (behavior) {
    case Behavior::kIsolated:
      return;
    case Behavior::kRemoved:
      std::erase_if(parts, [](const Part& p) { return p.match; });
      return;
    case Behavior::kContiguous:
      for (const Part& p : parts)
        if (!out.empty() && out.back().match == p.match)
          out.back().end = p.end;
        else
          out.push_back(p);
      break;
    case Behavior::kMergedWithPrevious: {
      bool after_match = false;
      for (const Part& p : parts) {
        if (p.match && !after_match && !out.empty())
          out.back().end = p.end;
        else
          out.push_back(p);
        after_match = p.match;
      }
      break;
    }
    case Behavior::kMergedWithNext: {
      bool before_match = false;
      for (auto p = parts.rbegin(); p != parts.rend(); ++p) {
        if (p->match && !before_match && !out.empty())
          out.back().begin = p->begin;
        else
          out.push_back(*p);
        before_match = p->match;
      }
      std::reverse(out.begin(), out.end());
      break;
    }
  }
  parts = std::move(out);
}

// A function from a piece to its parts: `find(piece, add_match)`.
template <class Find>
auto splitter(Find find, Behavior behavior, bool invert = false) {
  return [=](Work& work) {
    std::vector<std::string_view> out;
    std::vector<Part> parts;
    for (const std::string_view piece : work.pieces) {
      parts.clear();
      size_t done = 0;
      find(piece, [&](size_t begin, size_t end) {
        if (begin > done) parts.push_back({done, begin, invert});
        parts.push_back({begin, end, !invert});
        done = end;
      });
      if (done < piece.size()) parts.push_back({done, piece.size(), invert});
      merge_parts(parts, behavior);
      for (const Part& p : parts)
        if (p.end > p.begin) out.push_back(piece.substr(p.begin, p.end - p.begin));
    }
    work.at_start &= !out.empty() && !work.pieces.empty() && out[0].data() == work.pieces[0].data();
    work.pieces = std::move(out);
  };
}

// Every character that `matches` is a match of its own.
template <class Matches>
auto each_matching(Matches matches) {
  return [matches](std::string_view piece, auto found) {
    for (const char *begin = piece.data(), *p = begin, *end = p + piece.size(); p < end;) {
      const unicode::Decoded c = unicode::decode(p, end);
      if (matches(c.code)) found(size_t(p - begin), size_t(p - begin) + size_t(c.length));
      p += c.length;
    }
  };
}

// So many characters at a time.
auto each_of_length(size_t length) {
  return [length](std::string_view piece, auto found) {
    for (const char *begin = piece.data(), *p = begin, *end = p + piece.size(); p < end;) {
      const char* from = p;
      for (size_t i = 0; i < length && p < end; i++) p += unicode::decode(p, end).length;
      found(size_t(from - begin), size_t(p - begin));
    }
  };
}

auto each_match(const std::string& pattern) {
  return [regex = Regex(pattern)](std::string_view piece, auto found) { regex.for_each_match(piece, found); };
}

// Words of \w and runs of what is neither \w nor space.
void words_and_symbols(std::string_view piece, const std::function<void(size_t, size_t)>& found) {
  const auto kind = [](char32_t c) { return unicode::is_regex_word(c) ? 1 : unicode::is_space(c) ? 0 : 2; };
  const char *begin = piece.data(), *p = begin, *end = p + piece.size();
  while (p < end) {
    unicode::Decoded c = unicode::decode(p, end);
    const int first = kind(c.code);
    const char* from = p;
    for (p += c.length; first != 0 && p < end; p += c.length) {
      c = unicode::decode(p, end);
      if (kind(c.code) != first) break;
    }
    if (first != 0) found(size_t(from - begin), size_t(p - begin));
  }
}

void gpt2_words(std::string_view piece, const std::function<void(size_t, size_t)>& found) {
  static const NextWord next = find_pre_tokenizer("gpt-2");
  const char *begin = piece.data(), *end = begin + piece.size();
  for (const char *p = begin, *q; p < end; p = q) q = next(p, end), found(size_t(p - begin), size_t(q - begin));
}

template <class Rewrite>
auto rewriter(Rewrite rewrite) {
  return [rewrite](Work& work) {
    for (size_t i = 0; i < work.pieces.size(); i++) {
      work.rewritten.push_back(rewrite(work.pieces[i], i == 0 && work.at_start));
      work.pieces[i] = work.rewritten.back();
    }
    std::erase_if(work.pieces, [](std::string_view p) { return p.empty(); });
  };
}

Behavior behavior_of(const Json& json, const std::string& name, const char* otherwise) {
  const std::string text = fields::text(json, "behavior", otherwise);
  if (text == "Removed") return Behavior::kRemoved;
  if (text == "Isolated") return Behavior::kIsolated;
  if (text == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (text == "MergedWithNext") return Behavior::kMergedWithNext;
  if (text == "Contiguous") return Behavior::kContiguous;
  fields::not_supported(name, "the behavior of a pre-tokenizer", json);
}

}  // namespace

PreTokenizerSteps::PreTokenizerSteps(const Json& json, const std::string& name, bool bytes) {
  if (!json.is_null()) add(json, name, bytes);
}

void PreTokenizerSteps::add_split(const Json& json, const std::string& name) {
  const Json& pattern = fields::at(json, "pattern");
  const Behavior behavior = behavior_of(json, name, "Isolated");
  const bool invert = fields::flag(json, "invert");
  if (const std::string regex = fields::text(pattern, "Regex"); !regex.empty())
    steps_.push_back(splitter(each_match(regex), behavior, invert));
  else if (const std::string literal = fields::text(pattern, "String"); !literal.empty())
    steps_.push_back(splitter(each_match(Regex::escape(literal)), behavior, invert));
  else
    fields::not_supported(name, "the pattern of a Split", json);
}

void PreTokenizerSteps::add(const Json& json, const std::string& name, bool last) {
  const std::string type = fields::text(json, "type");
  if (type == "Sequence") {
    const Json& parts = fields::at(json, "pretokenizers");
    for (size_t i = 0; parts.is_array() && i < parts.size(); i++) add(parts[i], name, last && i + 1 == parts.size());
  } else if (type == "Split") {
    add_split(json, name);
  } else if (type == "ByteLevel") {
    if (fields::flag(json, "add_prefix_space", true))
      steps_.push_back(rewriter(
          [](std::string_view p, bool) { return p.starts_with(' ') ? std::string(p) : ' ' + std::string(p); }));
    if (fields::flag(json, "use_regex", true)) steps_.push_back(splitter(gpt2_words, Behavior::kIsolated));
    if (last)
      ends_in_bytes_ = true;
    else
      steps_.push_back(rewriter([](std::string_view p, bool) { return to_byte_alphabet(p); }));
  } else if (type == "Digits") {
    const Behavior behavior = fields::flag(json, "individual_digits") ? Behavior::kIsolated : Behavior::kContiguous;
    steps_.push_back(splitter(each_matching(unicode::is_number), behavior));
  } else if (type == "FixedLength") {
    const int64_t length = fields::number(json, "length", 5);
    if (length < 1) fields::not_supported(name, "the pre-tokenizer", json);
    steps_.push_back(splitter(each_of_length(size_t(length)), Behavior::kIsolated));
  } else if (type == "Punctuation") {
    steps_.push_back(splitter(each_matching(is_bert_punctuation), behavior_of(json, name, "Isolated")));
  } else if (type == "Whitespace") {
    steps_.push_back(splitter(words_and_symbols, Behavior::kRemoved, true));
  } else if (type == "WhitespaceSplit") {
    steps_.push_back(splitter(each_matching(unicode::is_space), Behavior::kRemoved));
  } else if (type == "BertPreTokenizer") {
    steps_.push_back(splitter(each_matching(unicode::is_space), Behavior::kRemoved));
    steps_.push_back(splitter(each_matching(is_bert_punctuation), Behavior::kIsolated));
  } else if (type == "CharDelimiterSplit") {
    const std::string text = fields::text(json, "delimiter");
    if (text.empty()) fields::not_supported(name, "the pre-tokenizer", json);
    const char32_t delimiter = unicode::decode(text.data(), text.data() + text.size()).code;
    steps_.push_back(splitter(each_matching([delimiter](char32_t c) { return c == delimiter; }), Behavior::kRemoved));
  } else if (type == "Metaspace") {
    const std::string mark = fields::text(json, "replacement", "▁");
    const std::string scheme =
        fields::text(json, "prepend_scheme", fields::flag(json, "add_prefix_space", true) ? "always" : "never");
    if (mark.empty()) fields::not_supported(name, "the pre-tokenizer", json);
    steps_.push_back(rewriter([mark, scheme](std::string_view p, bool first) {
      std::string out;
      if ((scheme == "always" || (scheme == "first" && first)) && !p.starts_with(mark) && !p.starts_with(' '))
        out = mark;
      for (const char c : p) c == ' ' ? out += mark : out += c;
      return out;
    }));
    if (fields::flag(json, "split", true))
      steps_.push_back(splitter(each_match(Regex::escape(mark)), Behavior::kMergedWithNext));
  } else {
    fields::not_supported(name, "the pre-tokenizer", json);
  }
}

void PreTokenizerSteps::split(std::string_view text, bool at_start, Work& work) const {
  work.pieces.clear(), work.rewritten.clear();
  work.at_start = at_start;
  if (!text.empty()) work.pieces.push_back(text);
  for (const Step& step : steps_) step(work);
}

}  // namespace sedum
