#pragma once
// What Python's strings can do, as far as templates ask for it. Characters are code points.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sedum::jinja {

class Interpreter;
struct Arguments;

std::string capitalize(std::string_view text);   // str.capitalize
std::string title_words(std::string_view text);  // the filter `title`
std::string title_case(std::string_view text);   // str.title
std::string swap_case(std::string_view text);
std::string escape_html(std::string_view text);
std::string url_quote(std::string_view text, std::string_view safe, bool plus = false);  // plus: for a space
bool is_lower(std::string_view text);
bool is_upper(std::string_view text);

std::vector<std::string> split_on(std::string_view text, std::string_view separator, int64_t max_splits = -1);
std::vector<std::string> split_on_right(std::string_view text, std::string_view separator, int64_t max_splits);
std::vector<std::string> split_space(std::string_view text, int64_t max_splits = -1);
std::vector<std::string> split_space_right(std::string_view text, int64_t max_splits);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
std::string strip_characters(std::string_view text, std::string_view characters, bool left, bool right);
// Refuses, through `in`, a result beyond the limits before it is built.
std::string replace_text(Interpreter& in, const std::string& text, const std::string& from, const std::string& to,
                         int64_t count);
enum class Align { kLeft, kRight, kCenter };
std::string padded(Interpreter& in, const std::string& text, int64_t width, const std::string& fill, Align align);
std::string format_braces(Interpreter& in, const std::string& format, const Arguments& arguments);  // str.format

size_t byte_offset(std::string_view text, size_t characters);
std::optional<int64_t> parse_int(std::string_view text, int base);
std::optional<double> parse_float(std::string_view text);

}  // namespace sedum::jinja
