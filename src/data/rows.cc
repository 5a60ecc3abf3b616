#include "data/rows.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/unicode.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kSpace = " \t\r\n";
const char* const kNotAnArray = "check the brackets and commas, or write one JSON object a line";

// Where a JSON value ends, found by brackets and quotes alone, and how deep and wide it is: the parser sees it whole
// afterwards.
struct Extent {
  size_t end = 0;
  bool closed = false;
  int depth = 0, keys = 0;
};

Extent measure_value(std::string_view text, size_t begin) {
  Extent extent;
  int open = 0;
  bool in_string = false;
  size_t i = begin;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      extent.depth = std::max(extent.depth, ++open);
    } else if (c == '}' || c == ']') {
      if (open == 0) break;  // the array's own end, after a bare value
      if (--open == 0) {
        extent.closed = true, ++i;
        break;
      }
    } else if (c == ':') {
      ++extent.keys;
    } else if (c == ',' && open == 0) {
      break;
    }
  }
  extent.end = std::min(i, text.size());
  return extent;
}

// Some characters of `text` around `at`, fit to be shown on one line.
std::string excerpt(std::string_view text, size_t at) {
  constexpr size_t kBefore = 16, kAfter = 16;
  size_t begin = at > kBefore ? at - kBefore : 0;
  while (begin < at && (text[begin] & 0xC0) == 0x80) ++begin;
  std::string shown = unicode::replace_invalid(text.substr(begin, at - begin + kAfter));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return shown;
}

}  // namespace

RowReader::RowReader(const std::filesystem::path& path) : file_(path), text_(file_.text()) {
  origin_.source = path.string();
  if (path.extension() == ".txt") form_ = Form::kText;
  begin();
}

RowReader::RowReader(std::string_view content, std::string name) : text_(content) {
  origin_.source = std::move(name);
  begin();
}

void RowReader::begin() {
  if (text_.starts_with("\xEF\xBB\xBF")) position_ = 3;
  if (text_.starts_with("\xFF\xFE") || text_.starts_with("\xFE\xFF"))
    throw Error(origin_.source + ": the file is UTF-16", "save it as UTF-8");
  if (form_ == Form::kText) return;
  const size_t first = text_.find_first_not_of(kSpace, position_);
  if (first == std::string_view::npos || text_[first] != '[') return;
  form_ = Form::kArray, origin_.in_array = true, position_ = first + 1;
}

std::optional<Row> RowReader::next() {
  if (finished_) return std::nullopt;
  switch (form_) {
    case Form::kArray:
      return next_element();
    case Form::kText:
      return whole_text();
    default:
      return next_line();
  }
}

std::optional<Row> RowReader::next_line() {
  while (position_ < text_.size()) {
    const size_t end = std::min(text_.find('\n', position_), text_.size());
    std::string_view line = text_.substr(position_, end - position_);
    position_ = std::min(end + 1, text_.size());
    ++origin_.line;
    if (line.find_first_not_of(kSpace) == std::string_view::npos) continue;
    if (line.ends_with('\r')) line.remove_suffix(1);
    return parse(line);
  }
  finished_ = true;
  return std::nullopt;
}

std::optional<Row> RowReader::next_element() {
  const auto skip_space = [&] { position_ = std::min(text_.find_first_not_of(kSpace, position_), text_.size()); };
  skip_space();
  if (origin_.line > 0 && position_ < text_.size() && text_[position_] == ',') {
    ++position_;
    skip_space();
    if (position_ < text_.size() && text_[position_] == ']') fail("a comma, and no row after it", "remove the comma");
  } else if (position_ < text_.size() && text_[position_] == ']') {
    ++position_;
    skip_space();
    if (position_ < text_.size())
      fail("text after the end of the array, near: " + excerpt(text_, position_), kNotAnArray);
    finished_ = true;
    return std::nullopt;
  } else if (origin_.line > 0 && position_ < text_.size()) {
    fail("after the row, a comma or ] is expected, near: " + excerpt(text_, position_), kNotAnArray);
  }
  if (position_ == text_.size())
    fail("the array is not closed: the file ends too early", "get the whole file, or end it with ]");
  ++origin_.line;
  const Extent extent = measure_value(text_, position_);
  const std::string_view element = text_.substr(position_, extent.end - position_);
  if (element.starts_with('{') && !extent.closed)
    fail("the file ends inside this row", "get the whole file, or remove the row");
  position_ = extent.end;
  return parse(element);
}

std::optional<Row> RowReader::whole_text() {
  finished_ = true;
  origin_.line = 1;
  const std::string_view content = text_.substr(position_);
  position_ = text_.size();
  if (content.empty()) return std::nullopt;
  check_utf8(content);
  return Row{std::make_shared<Json>(Json{{"text", content}}), origin_};
}

Row RowReader::parse(std::string_view json) const {
  const Extent extent = measure_value(json, 0);
  if (extent.depth > kMaxDepth)
    fail("the row is nested deeper than " + std::to_string(kMaxDepth) + " levels", "flatten or remove it");
  if (extent.keys > kMaxKeys) fail("the row has more than " + std::to_string(kMaxKeys) + " keys", "split or remove it");
  check_utf8(json);
  Row row{std::make_shared<Json>(), origin_};
  try {
    *row.columns = parse_json<Json>(json);
  } catch (const nlohmann::json::parse_error& e) {
    if (e.byte > json.size()) fail("not valid JSON: the row ends too early", "a row is one JSON object, on one line");
    const size_t at = e.byte > 0 ? e.byte - 1 : 0;
    fail("not valid JSON at character " + std::to_string(unicode::count_characters(json.substr(0, at)) + 1) +
             ", near: " + excerpt(json, at),
         "quote keys and texts with \", and escape \" and line breaks inside them");
  } catch (const nlohmann::json::exception&) {
    fail("not valid JSON: a number is out of range", "write it as text, or remove it");
  }
  if (!row.columns->is_object())
    fail(std::string("the row is ") + (row.columns->is_array() ? "an " : "a ") + row.columns->type_name() +
             ", not an object",
         "write {\"instruction\": …, \"output\": …}");
  return row;
}

void RowReader::check_utf8(std::string_view json) const {
  const char *begin = json.data(), *end = begin + json.size();
  for (const char* p = begin; p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    if (c.code == unicode::kInvalid)
      fail("not UTF-8: byte " + std::to_string(p - begin + 1) + (form_ == Form::kText ? " of the file" : " of the row"),
           "save the file as UTF-8 (it may be GB18030 or Latin-1)");
    p += c.length;
  }
}

void RowReader::fail(const std::string& problem, const std::string& mend) const {
  throw Error(origin_.to_string() + ": " + problem, mend);
}

Conversation to_conversation(const Row& row, const ColumnNames& names) {
  return to_conversation(*row.columns, row.origin, names);
}

std::vector<Conversation> read_conversations(const std::filesystem::path& path, const ColumnNames& names) {
  RowReader reader(path);
  std::vector<Conversation> all;
  while (const auto row = reader.next()) all.push_back(to_conversation(*row, names));
  if (all.empty()) throw Error(path.string() + ": the file has no rows", "add some, one JSON object a line");
  return all;
}

}  // namespace sedum::data
