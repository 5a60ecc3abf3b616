#include "course/markdown.h"

#include <algorithm>
#include <memory>

#include <cmark-gfm-core-extensions.h>
#include <cmark-gfm.h>
#include <fmt/format.h>
#include <glib.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::course {
namespace {

struct FreeNode {
  void operator()(cmark_node* node) const { cmark_node_free(node); }
};
struct FreeParser {
  void operator()(cmark_parser* parser) const { cmark_parser_free(parser); }
};
struct FreeIterator {
  void operator()(cmark_iter* iterator) const { cmark_iter_free(iterator); }
};
using Parser = std::unique_ptr<cmark_parser, FreeParser>;
using Node = std::unique_ptr<cmark_node, FreeNode>;

Parser new_parser() {
  cmark_gfm_core_extensions_ensure_registered();
  Parser parser(cmark_parser_new(CMARK_OPT_DEFAULT));
  for (const char* name : {"table", "strikethrough", "autolink"}) {
    cmark_syntax_extension* extension = cmark_find_syntax_extension(name);
    SEDUM_CHECK(extension);
    cmark_parser_attach_syntax_extension(parser.get(), extension);
  }
  return parser;
}

Node parse_document(cmark_parser* parser, std::string_view text) {
  cmark_parser_feed(parser, text.data(), text.size());
  return Node(cmark_parser_finish(parser));
}

// Calls `visit` for every node below `root`, itself included, in the order of the text.
template <class Visit>
void walk(cmark_node* root, Visit visit) {
  const std::unique_ptr<cmark_iter, FreeIterator> iterator(cmark_iter_new(root));
  for (cmark_event_type event; (event = cmark_iter_next(iterator.get())) != CMARK_EVENT_DONE;)
    if (event == CMARK_EVENT_ENTER) visit(cmark_iter_get_node(iterator.get()));
}

std::string plain_text(cmark_node* root) {
  std::string text;
  walk(root, [&](cmark_node* node) {
    const cmark_node_type type = cmark_node_get_type(node);
    if (type == CMARK_NODE_TEXT || type == CMARK_NODE_CODE) text += cmark_node_get_literal(node);
    if (type == CMARK_NODE_SOFTBREAK || type == CMARK_NODE_LINEBREAK) text += ' ';
  });
  return text;
}

bool stays_in_anchor(gunichar c) {
  switch (g_unichar_type(c)) {
    case G_UNICODE_UPPERCASE_LETTER:
    case G_UNICODE_LOWERCASE_LETTER:
    case G_UNICODE_TITLECASE_LETTER:
    case G_UNICODE_MODIFIER_LETTER:
    case G_UNICODE_OTHER_LETTER:
    case G_UNICODE_NON_SPACING_MARK:
    case G_UNICODE_SPACING_MARK:
    case G_UNICODE_ENCLOSING_MARK:
    case G_UNICODE_DECIMAL_NUMBER:
    case G_UNICODE_CONNECT_PUNCTUATION:
      return true;
    default:
      return c == '-' || c == ' ';
  }
}

}  // namespace

std::string github_anchor(std::string_view heading, const std::vector<std::string>& taken) {
  std::string anchor;
  for (const char *p = heading.data(), *end = p + heading.size(); p < end; p = g_utf8_next_char(p)) {
    const gunichar c = g_utf8_get_char_validated(p, end - p);
    if (c >= 0x110000 || !stays_in_anchor(c)) continue;
    char bytes[6];
    anchor.append(bytes, size_t(g_unichar_to_utf8(c == ' ' ? '-' : g_unichar_tolower(c), bytes)));
  }
  const auto is_taken = [&](const std::string& name) {
    return std::find(taken.begin(), taken.end(), name) != taken.end();
  };
  std::string unique = anchor;
  for (int i = 1; is_taken(unique); ++i) unique = fmt::format("{}-{}", anchor, i);
  return unique;
}

Note Note::parse(std::string_view text, std::string name) {
  const Parser parser = new_parser();
  const Node document = parse_document(parser.get(), text);
  Note note{.name = std::move(name), .text = std::string(text), .headings = {}, .links = {}};
  std::vector<std::string> taken;
  int line = 1;
  walk(document.get(), [&](cmark_node* node) {
    if (const int own = cmark_node_get_start_line(node); own > 0) line = own;
    const cmark_node_type type = cmark_node_get_type(node);
    if (type == CMARK_NODE_HEADING) {
      Heading heading{cmark_node_get_heading_level(node), line, plain_text(node), ""};
      heading.anchor = github_anchor(heading.text, taken);
      taken.push_back(heading.anchor);
      note.headings.push_back(std::move(heading));
    } else if (type == CMARK_NODE_LINK || type == CMARK_NODE_IMAGE) {
      const char* url = cmark_node_get_url(node);
      note.links.push_back({line, percent_decoded(url ? url : ""), type == CMARK_NODE_IMAGE});
    }
  });
  return note;
}

Note Note::read(const std::filesystem::path& path) { return parse(read_file(path), path.string()); }

const Heading* Note::find(std::string_view anchor) const {
  for (const Heading& heading : headings)
    if (heading.anchor == anchor) return &heading;
  return nullptr;
}

std::pair<int, int> Note::lines(const Heading& heading) const {
  const auto own =
      std::find_if(headings.begin(), headings.end(), [&](const Heading& h) { return h.line == heading.line; });
  SEDUM_CHECK(own != headings.end());
  const auto next = std::find_if(own + 1, headings.end(), [&](const Heading& h) { return h.level <= heading.level; });
  const int end = next == headings.end() ? int(std::count(text.begin(), text.end(), '\n')) + 2 : next->line;
  return {heading.line, end};
}

std::string Note::section(const Heading& heading) const {
  const auto [first, end] = lines(heading);
  std::string section;
  int line = 1;
  for (size_t begin = 0; begin < text.size() && line < end; ++line) {
    const size_t stop = std::min(text.find('\n', begin), text.size() - 1) + 1;
    if (line >= first) section.append(text, begin, stop - begin);
    begin = stop;
  }
  return section;
}

std::string render_markdown(std::string_view text) {
  const Parser parser = new_parser();
  const Node document = parse_document(parser.get(), text);
  const std::unique_ptr<char, void (*)(void*)> html(
      cmark_render_html(document.get(), CMARK_OPT_DEFAULT, cmark_parser_get_syntax_extensions(parser.get())),
      std::free);
  return html.get();
}

std::string percent_encoded(std::string_view url) {
  std::string encoded;
  for (const char c : url) {
    const bool stays =
        g_ascii_isalnum(c) || (c != '\0' && std::string_view("-_.~/#:?&=@+,").find(c) != std::string_view::npos);
    encoded += stays ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

std::string percent_decoded(std::string_view url) {
  std::string decoded;
  const auto digit = [&](size_t i) { return i < url.size() ? g_ascii_xdigit_value(url[i]) : -1; };
  for (size_t i = 0; i < url.size(); ++i) {
    const bool escaped = url[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0;
    decoded += escaped ? char(digit(i + 1) * 16 + digit(i + 2)) : url[i];
    if (escaped) i += 2;
  }
  return decoded;
}

}  // namespace sedum::course
