#include "report/document.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace sedum::report {
namespace {

namespace fs = std::filesystem;

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8 | (i + k < bytes.size() ? uint8_t(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : kDigits[three >> (18 - 6 * k) & 63];
  }
  return out;
}

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,'Noto Sans CJK SC',sans-serif;max-width:1040px;margin:2em auto;padding:0 "
    "1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}th,td{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:left}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{border-bottom:2px solid #444}img{max-width:100%}";

// Puts parts below each other on A4 pages.
class Pages {
 public:
  static constexpr Size kPage{595, 842};
  static constexpr double kMargin = 42, kWidth = kPage.width - 2 * kMargin;
  Pages() : canvas_(kPage, Canvas::Format::kPdf) {}

  void text(const std::string& text, const TextStyle& style, double before, double keep_with) {
    const Size size = Canvas::measure(text, style);
    y_ += at_top() ? 0 : before;
    make_room(size.height + keep_with);
    canvas_.text({kMargin, y_}, text, style);
    y_ += size.height + 6;
  }
  // In its own size, or as wide as the page if it is wider.
  void picture(const Picture& picture) {
    const Size size = picture.size();
    const double scale = std::min({1.0, kWidth / size.width, (kPage.height - 2 * kMargin - 20) / size.height});
    make_room(size.height * scale);
    canvas_.scaled({kMargin, y_}, scale, [&] { picture.draw(canvas_, {0, 0, size.width, size.height}); });
    y_ += size.height * scale + 14;
  }
  // A long table goes on on the next page, under its headers.
  void table(const Table& table) {
    for (size_t row = 0; row < std::max<size_t>(table.rows(), 1); row += kRowsOnAPage)
      picture(table.part(row, kRowsOnAPage));
  }
  std::string finish() {
    number();
    return canvas_.finish();
  }

 private:
  static constexpr size_t kRowsOnAPage = 33;
  bool at_top() const { return y_ <= kMargin; }
  void number() {
    canvas_.text({kPage.width / 2, kPage.height - kMargin / 2 - 6}, std::to_string(page_),
                 {.size = 9, .align = Align::kCenter});
  }
  void make_room(double height) {
    if (at_top() || y_ + height <= kPage.height - kMargin) return;
    number();
    canvas_.new_page();
    ++page_, y_ = kMargin;
  }
  Canvas canvas_;
  double y_ = kMargin;
  int page_ = 1;
};

template <class... F>
struct Cases : F... {
  using F::operator()...;
};

}  // namespace

Document& Document::heading(std::string text) { return parts_.push_back(Heading{std::move(text)}), *this; }
Document& Document::paragraph(std::string text) { return parts_.push_back(Paragraph{std::move(text)}), *this; }
Document& Document::table(Table table) { return parts_.push_back(std::move(table)), *this; }

void Document::save(const fs::path& path) const {
  const std::string suffix = path.extension();
  if (suffix == ".md") return write_file(path, markdown(path));
  if (suffix == ".html") return write_file(path, html());
  if (suffix == ".pdf") return write_file(path, pdf());
  throw Error(path.string() + ": reports are written as .md, .html or .pdf", "change the name's ending");
}

std::string Document::markdown(const fs::path& path) const {
  const fs::path folder = path.stem().string() + "_files";
  std::string out = "# " + title_ + "\n";
  for (const auto& part : parts_)
    std::visit(Cases{[&](const Heading& h) { out += "\n## " + h.text + "\n"; },
                     [&](const Paragraph& p) { out += "\n" + p.text + "\n"; },
                     [&](const Table& t) { out += "\n" + t.markdown(); },
                     [&](const NamedPicture& p) {
                       fs::create_directories(path.parent_path() / folder);
                       report::save(*p.picture, path.parent_path() / folder / (p.name + ".svg"));
                       out += "\n![" + p.name + "](" + (folder / (p.name + ".svg")).generic_string() + ")\n";
                     }},
               part);
  return out;
}

std::string Document::html() const {
  std::string out = "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>" + escape_html(title_) +
                    "</title><style>" + kStyle + "</style></head><body>\n<h1>" + escape_html(title_) + "</h1>\n";
  for (const auto& part : parts_)
    std::visit(Cases{[&](const Heading& h) { out += "<h2>" + escape_html(h.text) + "</h2>\n"; },
                     [&](const Paragraph& p) { out += "<p>" + escape_html(p.text) + "</p>\n"; },
                     [&](const Table& t) { out += t.html(); },
                     [&](const NamedPicture& p) {
                       // As an image, so that the ids of several SVGs cannot meet.
                       out += "<p><img alt=\"" + escape_html(p.name) + "\" src=\"data:image/svg+xml;base64," +
                              base64(render(*p.picture, Canvas::Format::kSvg)) + "\"></p>\n";
                     }},
               part);
  return out + "</body></html>\n";
}

std::string Document::pdf() const {
  Pages pages;
  pages.text(title_, {.size = 19, .bold = true, .wrap = Pages::kWidth}, 0, 0);
  for (const auto& part : parts_)
    std::visit(
        Cases{[&](const Heading& h) { pages.text(h.text, {.size = 14, .bold = true, .wrap = Pages::kWidth}, 12, 80); },
              [&](const Paragraph& p) { pages.text(p.text, {.size = 10.5, .wrap = Pages::kWidth}, 4, 0); },
              [&](const Table& t) { pages.table(t); }, [&](const NamedPicture& p) { pages.picture(*p.picture); }},
        part);
  return pages.finish();
}

}  // namespace sedum::report
