#include "report/canvas.h"

#include <cmath>
#include <numbers>
#include <regex>

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <fmt/format.h>
#include <pango/pangocairo.h>

#include "base/error.h"

namespace sedum::report {
namespace {

// Latin, Greek and symbols from the first, Chinese from the second; another machine's fonts stand in where these are missing.
constexpr const char* kSans = "DejaVu Sans, WenQuanYi Micro Hei, Noto Sans CJK SC, Droid Sans Fallback, sans-serif";
constexpr const char* kMono = "DejaVu Sans Mono, WenQuanYi Micro Hei Mono, Noto Sans Mono CJK SC, monospace";

cairo_status_t append(void* bytes, const unsigned char* data, unsigned length) {
  static_cast<std::string*>(bytes)->append(reinterpret_cast<const char*>(data), length);
  return CAIRO_STATUS_SUCCESS;
}

cairo_surface_t* make_surface(Size size, Canvas::Format format, double scale, std::string* bytes) {
  switch (format) {
    case Canvas::Format::kPng:
      return cairo_image_surface_create(CAIRO_FORMAT_RGB24, int(std::lround(size.width * scale)),
                                        int(std::lround(size.height * scale)));
    case Canvas::Format::kSvg: {
      cairo_surface_t* surface = cairo_svg_surface_create_for_stream(append, bytes, size.width, size.height);
      cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
      return surface;
    }
    case Canvas::Format::kPdf: {
      cairo_surface_t* surface = cairo_pdf_surface_create_for_stream(append, bytes, size.width, size.height);
      cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, "2000-01-01T00:00:00Z");
      return surface;
    }
  }
  return nullptr;
}

// A layout with the text in it, which the caller gives back to GLib.
PangoLayout* make_layout(cairo_t* cairo, std::string_view text, const TextStyle& style) {
  PangoLayout* layout = pango_cairo_create_layout(cairo);
  cairo_font_options_t* options = cairo_font_options_create();
  cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
  cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
  cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
  PangoContext* context = pango_layout_get_context(layout);
  pango_cairo_context_set_font_options(context, options);
  pango_cairo_context_set_resolution(context, 72);
  cairo_font_options_destroy(options);
  PangoFontDescription* font = pango_font_description_new();
  pango_font_description_set_family(font, style.mono ? kMono : kSans);
  pango_font_description_set_absolute_size(font, style.size * PANGO_SCALE);
  pango_font_description_set_weight(font, style.bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
  pango_layout_set_font_description(layout, font);
  pango_font_description_free(font);
  pango_layout_set_text(layout, text.data(), int(text.size()));
  pango_layout_set_alignment(layout, style.align == Align::kLeft     ? PANGO_ALIGN_LEFT
                                     : style.align == Align::kCenter ? PANGO_ALIGN_CENTER
                                                                     : PANGO_ALIGN_RIGHT);
  if (style.wrap > 0) {
    pango_layout_set_width(layout, int(style.wrap * PANGO_SCALE));
    pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
  }
  return layout;
}

PangoRectangle extents(PangoLayout* layout) {
  PangoRectangle logical;
  pango_layout_get_extents(layout, nullptr, &logical);
  return logical;
}

}  // namespace

struct Canvas::Surface {
  std::string bytes;
  Format format;
  cairo_surface_t* surface = nullptr;
  cairo_t* cairo = nullptr;

  void color(Color c) { cairo_set_source_rgba(cairo, c.red, c.green, c.blue, c.alpha); }
  void stroke(const Stroke& s) {
    color(s.color);
    cairo_set_line_width(cairo, s.width);
    cairo_set_dash(cairo, s.dash.data(), int(s.dash.size()), 0);
    cairo_stroke(cairo);
  }
  void fill_and_stroke(Color fill, const Stroke& edge) {
    if (fill.alpha > 0) color(fill), cairo_fill_preserve(cairo);
    if (edge.color.alpha > 0) return stroke(edge);
    cairo_new_path(cairo);
  }
  void text(Point anchor, std::string_view text, const TextStyle& style, double down) {
    if (text.empty() || !std::isfinite(anchor.x) || !std::isfinite(anchor.y)) return;
    PangoLayout* layout = make_layout(cairo, text, style);
    const PangoRectangle size = extents(layout);
    const double left = style.align == Align::kLeft ? 0 : style.align == Align::kCenter ? 0.5 : 1;
    cairo_save(cairo);
    cairo_translate(cairo, anchor.x, anchor.y);
    cairo_rotate(cairo, -style.turn * std::numbers::pi / 180);
    cairo_move_to(cairo, -(size.x + left * size.width) / PANGO_SCALE, -(size.y + down * size.height) / PANGO_SCALE);
    color(style.color);
    pango_cairo_update_layout(cairo, layout);
    pango_cairo_show_layout(cairo, layout);
    cairo_restore(cairo);
    g_object_unref(layout);
  }
};

Canvas::Canvas(Size size, Format format, double scale) : surface_(std::make_unique<Surface>()) {
  if (!(size.width >= 1 && size.height >= 1 && size.width * scale <= 20000 && size.height * scale <= 20000))
    throw ApiError("Canvas", "a picture has from 1 to 20000 points a side");
  surface_->format = format;
  surface_->surface = make_surface(size, format, scale, &surface_->bytes);
  surface_->cairo = cairo_create(surface_->surface);
  surface_->color(kPaper);
  cairo_paint(surface_->cairo);
  if (format == Format::kPng) cairo_scale(surface_->cairo, scale, scale);
  cairo_set_line_join(surface_->cairo, CAIRO_LINE_JOIN_ROUND);
}

Canvas::~Canvas() {
  cairo_destroy(surface_->cairo);
  cairo_surface_destroy(surface_->surface);
}

void Canvas::line(std::span<const Point> points, const Stroke& stroke) {
  bool on = false;
  for (const Point p : points) {
    if (!std::isfinite(p.x) || !std::isfinite(p.y)) {
      on = false;
      continue;
    }
    on ? cairo_line_to(surface_->cairo, p.x, p.y) : cairo_move_to(surface_->cairo, p.x, p.y);
    on = true;
  }
  surface_->stroke(stroke);
}

void Canvas::curve(Point from, Point near_from, Point near_to, Point to, const Stroke& stroke) {
  cairo_move_to(surface_->cairo, from.x, from.y);
  cairo_curve_to(surface_->cairo, near_from.x, near_from.y, near_to.x, near_to.y, to.x, to.y);
  surface_->stroke(stroke);
}

void Canvas::polygon(std::span<const Point> corners, Color fill) {
  for (const Point p : corners) cairo_line_to(surface_->cairo, p.x, p.y);
  cairo_close_path(surface_->cairo);
  surface_->fill_and_stroke(fill, {.color = kNone});
}

void Canvas::rectangle(const Box& box, Color fill, const Stroke& edge, double radius) {
  constexpr double kQuarter = std::numbers::pi / 2;
  cairo_t* c = surface_->cairo;
  if (radius > 0) {
    const double r = std::min({radius, box.width / 2, box.height / 2});
    cairo_new_sub_path(c);
    cairo_arc(c, box.right() - r, box.y + r, r, -kQuarter, 0);
    cairo_arc(c, box.right() - r, box.bottom() - r, r, 0, kQuarter);
    cairo_arc(c, box.x + r, box.bottom() - r, r, kQuarter, 2 * kQuarter);
    cairo_arc(c, box.x + r, box.y + r, r, 2 * kQuarter, 3 * kQuarter);
    cairo_close_path(c);
  } else {
    cairo_rectangle(c, box.x, box.y, box.width, box.height);
  }
  surface_->fill_and_stroke(fill, edge);
}

void Canvas::circle(Point center, double radius, Color fill, const Stroke& edge) {
  cairo_new_sub_path(surface_->cairo);
  cairo_arc(surface_->cairo, center.x, center.y, radius, 0, 2 * std::numbers::pi);
  surface_->fill_and_stroke(fill, edge);
}

void Canvas::arrow_head(Point tip, double dx, double dy, Color fill, double size) {
  const double length = std::hypot(dx, dy);
  if (!(length > 0)) return;
  const double ux = dx / length, uy = dy / length, wide = size * 0.42;
  const Point corners[] = {tip,
                           {tip.x - size * ux + wide * uy, tip.y - size * uy - wide * ux},
                           {tip.x - size * ux - wide * uy, tip.y - size * uy + wide * ux}};
  polygon(corners, fill);
}

void Canvas::text(Point anchor, std::string_view text, const TextStyle& style) {
  surface_->text(anchor, text, style, 0);
}

void Canvas::text_middle(Point anchor, std::string_view text, const TextStyle& style) {
  surface_->text(anchor, text, style, 0.5);
}

Size Canvas::measure(std::string_view text, const TextStyle& style) {
  static thread_local const Canvas ruler({1, 1}, Format::kPng);
  PangoLayout* layout = make_layout(ruler.surface_->cairo, text, style);
  const PangoRectangle size = extents(layout);
  g_object_unref(layout);
  return {double(size.width) / PANGO_SCALE, double(size.height) / PANGO_SCALE};
}

void Canvas::clip(const Box& box) {
  cairo_save(surface_->cairo);
  cairo_rectangle(surface_->cairo, box.x, box.y, box.width, box.height);
  cairo_clip(surface_->cairo);
}

void Canvas::unclip() { cairo_restore(surface_->cairo); }

void Canvas::scaled(Point origin, double scale, const std::function<void()>& draw) {
  cairo_save(surface_->cairo);
  cairo_translate(surface_->cairo, origin.x, origin.y);
  cairo_scale(surface_->cairo, scale, scale);
  draw();
  cairo_restore(surface_->cairo);
}

void Canvas::new_page() { cairo_show_page(surface_->cairo); }

void Canvas::link(const Box& box, const std::string& url) {
  if (surface_->format != Format::kPdf) return;
  std::string quoted;  // as Cairo's attributes want it
  for (const char c : url) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  const std::string attributes =
      fmt::format("uri='{}' rect=[{:.3f} {:.3f} {:.3f} {:.3f}]", quoted, box.x, box.y, box.width, box.height);
  cairo_tag_begin(surface_->cairo, CAIRO_TAG_LINK, attributes.c_str());
  cairo_tag_end(surface_->cairo, CAIRO_TAG_LINK);
}

std::string Canvas::finish() {
  cairo_surface_flush(surface_->surface);
  if (surface_->format == Format::kPng) cairo_surface_write_to_png_stream(surface_->surface, append, &surface_->bytes);
  cairo_surface_finish(surface_->surface);
  const cairo_status_t status = cairo_status(surface_->cairo);
  SEDUM_CHECK(status == CAIRO_STATUS_SUCCESS, cairo_status_to_string(status));
  // Cairo numbers its surfaces through the whole process; a file should not depend on what was drawn before it.
  if (surface_->format == Format::kSvg)
    return std::regex_replace(surface_->bytes, std::regex("(id=\"|#)surface[0-9]+"), "$1surface");
  return std::move(surface_->bytes);
}

}  // namespace sedum::report
