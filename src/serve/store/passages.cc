#include "serve/store/passages.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "text/unicode.h"

namespace sedum::serve {
namespace {

constexpr size_t kPassageBytes = 900;

bool is_cjk(char32_t c) {
  return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xAC00 && c <= 0xD7AF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// The end of the first piece of `text` that is at most `limit` bytes: after a sentence, or else between characters.
size_t cut_at(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text.size();
  size_t best = 0;
  for (const std::string_view end : {". ", "! ", "? ", "\n", "。", "！", "？", "；"}) {
    const size_t at = text.rfind(end, limit - end.size());
    if (at != std::string_view::npos) best = std::max(best, at + end.size());
  }
  if (best > limit / 3) return best;
  while (limit > 1 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
  return limit;
}

class Cutter {
 public:
  void paragraph(std::string_view text, int line) {
    text = trimmed(text);
    while (!text.empty()) {
      if (!current_.empty() && current_.size() + text.size() > kPassageBytes) flush();
      const size_t end = cut_at(text, kPassageBytes);
      if (current_.empty()) line_ = line;
      if (!current_.empty()) current_ += "\n\n";
      current_ += text.substr(0, end);
      text = trimmed(text.substr(end));
    }
  }
  void heading(size_t level, std::string_view text) {
    flush();
    headings_.resize(level - 1);
    headings_.emplace_back(trimmed(text));
  }
  std::vector<Passage> finish() {
    flush();
    return std::move(passages_);
  }

 private:
  void flush() {
    if (trimmed(current_).empty()) return;
    std::string path;
    for (const std::string& heading : headings_)
      if (!heading.empty()) path += (path.empty() ? "" : " › ") + heading;
    passages_.push_back({std::move(path), std::move(current_), line_});
    current_.clear();
  }
  std::vector<std::string> headings_;
  std::string current_;
  int line_ = 1;
  std::vector<Passage> passages_;
};

// &amp; &#20013; &#x4e2d;: the reference at html[at], or the ampersand itself.
void append_reference(std::string_view html, size_t& at, std::string& out) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kNames{{{"amp", "&"},
                                                                                         {"lt", "<"},
                                                                                         {"gt", ">"},
                                                                                         {"quot", "\""},
                                                                                         {"apos", "'"},
                                                                                         {"nbsp", " "},
                                                                                         {"mdash", "—"},
                                                                                         {"ndash", "–"},
                                                                                         {"hellip", "…"},
                                                                                         {"copy", "©"},
                                                                                         {"deg", "°"},
                                                                                         {"times", "×"}}};
  const size_t end = html.find(';', at);
  if (end != std::string_view::npos && end - at <= 10) {
    const std::string_view name = html.substr(at + 1, end - at - 1);
    if (name.starts_with('#') && name.size() > 1) {
      const bool hex = name[1] == 'x' || name[1] == 'X';
      uint32_t code = 0;
      const char* first = name.data() + (hex ? 2 : 1);
      const auto [stop, error] = std::from_chars(first, name.data() + name.size(), code, hex ? 16 : 10);
      if (error == std::errc() && stop == name.data() + name.size() && code > 0 && code < 0x110000 &&
          (code < 0xD800 || code > 0xDFFF)) {
        unicode::append(out, code);
        at = end + 1;
        return;
      }
    }
    for (const auto& [known, text] : kNames) {
      if (name != known) continue;
      out += text;
      at = end + 1;
      return;
    }
  }
  out += '&';
  ++at;
}

std::string lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? char(c + 32) : c;
  return lower;
}

// Skips <tag …>, where quoted attributes may hold '>'. Returns the tag's name, "/name" for an end.
std::string skip_tag(std::string_view html, size_t& at) {
  size_t end = at + 1;
  char quote = 0;
  for (; end < html.size() && (quote || html[end] != '>'); ++end) {
    if (quote ? html[end] == quote : (html[end] == '"' || html[end] == '\'')) quote = quote ? 0 : html[end];
  }
  size_t stop = at + 1;
  while (stop < end && std::string_view(" \t\r\n>").find(html[stop]) == std::string_view::npos &&
         (html[stop] != '/' || stop == at + 1))
    ++stop;
  const std::string name = lower_ascii(html.substr(at + 1, stop - at - 1));
  at = std::min(end + 1, html.size());
  return name;
}

}  // namespace

std::string html_to_text(std::string_view html) {
  static constexpr std::array<std::string_view, 24> kBlocks{
      "p",  "div", "br",      "li",      "ul",  "ol", "tr", "table", "h1",         "h2",     "h3",     "h4",
      "h5", "h6",  "section", "article", "pre", "hr", "dt", "dd",    "blockquote", "header", "footer", "title"};
  std::string out;
  for (size_t at = 0; at < html.size();) {
    if (html[at] == '&') {
      append_reference(html, at, out);
    } else if (html.substr(at, 4) == "<!--") {
      const size_t end = html.find("-->", at);
      at = end == std::string_view::npos ? html.size() : end + 3;
    } else if (html[at] == '<' && at + 1 < html.size() &&
               (std::isalpha(static_cast<unsigned char>(html[at + 1])) || html[at + 1] == '/' || html[at + 1] == '!')) {
      const std::string tag = skip_tag(html, at);
      if (tag == "script" || tag == "style") {  // up to its end tag, whatever stands in it
        while (at < html.size() && lower_ascii(html.substr(at, tag.size() + 2)) != "</" + tag) ++at;
        continue;
      }
      const std::string_view name = tag.starts_with('/') ? std::string_view(tag).substr(1) : std::string_view(tag);
      if (std::find(kBlocks.begin(), kBlocks.end(), name) == kBlocks.end()) continue;
      const bool line_only = name == "br" || name == "li" || name == "tr" || name == "dt" || name == "dd";
      out += line_only ? "\n" : "\n\n";
      const bool heading = tag.size() == 2 && tag[0] == 'h' && tag[1] >= '1' && tag[1] <= '6';
      if (heading) out += std::string(size_t(tag[1] - '0'), '#') + " ";
    } else {
      const char c = html[at++];
      const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
      if (!space)
        out += c;
      else if (!out.empty() && out.back() != ' ' && out.back() != '\n')
        out += ' ';
    }
  }
  return out;
}

std::vector<Passage> cut_passages(std::string_view text, DocumentKind kind) {
  std::string plain;
  if (kind == DocumentKind::kHtml) text = plain = html_to_text(text);
  const bool headings = kind != DocumentKind::kText;
  Cutter cutter;
  std::string paragraph;
  int line = 0, begun = 1;
  bool in_code = false;
  const auto flush = [&] {
    cutter.paragraph(paragraph, begun);
    paragraph.clear();
  };
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view here = text.substr(at, end - at);
    at = end + 1, ++line;
    if (kind == DocumentKind::kMarkdown && trimmed(here).starts_with("```")) in_code = !in_code;
    const size_t level = headings && !in_code && here.starts_with('#') ? here.find_first_not_of('#') : 0;
    if (level >= 1 && level <= 6 && here[level] == ' ') {
      flush();
      cutter.heading(level, here.substr(level));
    } else if (trimmed(here).empty() && !in_code) {
      flush();
    } else {
      if (paragraph.empty()) begun = line;
      paragraph += here, paragraph += '\n';
    }
  }
  flush();
  return cutter.finish();
}

std::string index_terms(std::string_view text) {
  const std::string lower = unicode::to_lower(text);
  std::string terms, word, before,
      single;  // `before`: the CJK character just seen; `single`: it, if it has no pair yet
  const auto add = [&](const std::string& term) {
    if (term.empty()) return;
    if (!terms.empty()) terms += ' ';
    terms += term;
  };
  const auto end_word = [&] { add(std::exchange(word, "")); };
  const auto end_run = [&] {
    add(std::exchange(single, ""));
    before.clear();
  };
  const char* const end = lower.data() + lower.size();
  for (const char* p = lower.data(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    const std::string character(p, size_t(c.length));
    p += c.length;
    if (c.code != unicode::kInvalid && is_cjk(c.code)) {
      end_word();
      if (before.empty())
        single = character;
      else
        single.clear(), add(before + character);
      before = character;
    } else if (c.code != unicode::kInvalid &&
               (unicode::is_letter(c.code) || unicode::is_number(c.code) || unicode::is_mark(c.code))) {
      end_run();
      word += character;
    } else {
      end_run();
      end_word();
    }
  }
  end_run();
  end_word();
  return terms;
}

}  // namespace sedum::serve
