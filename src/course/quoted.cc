#include "course/quoted.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/file.h"
#include "base/json.h"

namespace sedum::course {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kOpen = "<!--result ", kClose = "-->", kMinus = "−";

bool is_digit(std::string_view text, size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; }

// [-−+]?[0-9][0-9,]*(\.[0-9]+)?([eE][-+]?[0-9]+)?%?
std::string_view leading_number(std::string_view text) {
  size_t i = text.starts_with('-') || text.starts_with('+') ? 1 : text.starts_with(kMinus) ? kMinus.size() : 0;
  if (!is_digit(text, i)) return {};
  while (is_digit(text, i) || (text.substr(i).starts_with(',') && is_digit(text, i + 1))) ++i;
  if (text.substr(i).starts_with('.') && is_digit(text, i + 1))
    for (++i; is_digit(text, i);) ++i;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    const size_t sign = i + 1 < text.size() && (text[i + 1] == '-' || text[i + 1] == '+') ? 1 : 0;
    if (is_digit(text, i + 1 + sign))
      for (i += 1 + sign; is_digit(text, i);) ++i;
  }
  if (text.substr(i).starts_with('%')) ++i;
  return text.substr(0, i);
}

constexpr int kFarAway = 10000;  // a power of ten beyond every double

// A number as decimal digits and the power of ten of the last one: 12.30 is 1230 and -2.
struct Decimal {
  std::string digits;  // without leading zeros
  int exponent = 0;
  bool negative = false;
  bool operator==(const Decimal&) const = default;
};

Decimal parse_decimal(std::string_view text) {
  Decimal d;
  if (text.starts_with(kMinus)) d.negative = true, text.remove_prefix(kMinus.size());
  bool fraction = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-') d.negative = true;
    if (c == '.') fraction = true;
    if (c == '%') d.exponent -= 2;
    if (c == 'e' || c == 'E') {
      size_t at = i + 1 + (text[i + 1] == '+');
      int power = 0;
      const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), power);
      d.exponent += error == std::errc() ? std::clamp(power, -kFarAway, kFarAway) : kFarAway;
      i = size_t(end - text.data()) - 1;
    } else if (c >= '0' && c <= '9') {
      d.digits += c;
      d.exponent -= fraction;
    }
  }
  d.digits.erase(0, std::min(d.digits.find_first_not_of('0'), d.digits.size()));
  if (d.digits.empty()) d.negative = false;
  return d;
}

// The value with its last digit at 10^exponent. Exact halves of the value's shortest decimal text go away from zero, as people round.
Decimal rounded(double value, int exponent) {
  Decimal d = parse_decimal(fmt::format("{}", value));
  const int drop = exponent - d.exponent;
  if (drop <= 0) {
    if (!d.digits.empty()) d.digits.append(size_t(-drop), '0');
  } else {
    const size_t kept = size_t(drop) > d.digits.size() ? 0 : d.digits.size() - size_t(drop);
    const bool up = size_t(drop) <= d.digits.size() && d.digits[kept] >= '5';
    d.digits.resize(kept);
    for (size_t i = kept; up;) {
      if (i == 0) {
        d.digits.insert(0, "1");
        break;
      }
      if (d.digits[--i] != '9') {
        ++d.digits[i];
        break;
      }
      d.digits[i] = '0';
    }
  }
  d.exponent = exponent;
  if (d.digits.find_first_not_of('0') == std::string::npos) d.digits.clear(), d.negative = false;
  return d;
}

}  // namespace

std::vector<Quote> quotes_in(std::string_view text) {
  std::vector<Quote> quotes;
  int line = 1;
  size_t counted = 0;
  for (size_t at = 0; (at = text.find(kOpen, at)) != std::string_view::npos;) {
    for (; counted < at; ++counted) line += text[counted] == '\n';
    const size_t begin = at + kOpen.size(), end = text.find(kClose, begin);
    if (end == std::string_view::npos) {
      quotes.push_back({line, std::string(text.substr(begin, 60)), "", ""});
      break;
    }
    const std::string_view name = text.substr(begin, end - begin);
    const size_t colon = name.rfind(':');
    Quote quote{.line = line, .place = std::string(name.substr(0, colon)), .key = "", .number = ""};
    if (colon != std::string_view::npos) quote.key = name.substr(colon + 1);
    quote.number = leading_number(text.substr(end + kClose.size()));
    quotes.push_back(std::move(quote));
    at = end;
  }
  return quotes;
}

bool same_when_rounded(double value, std::string_view printed) {
  if (!std::isfinite(value) || leading_number(printed) != printed || printed.empty()) return false;
  const Decimal said = parse_decimal(printed);
  if (std::abs(said.exponent) > 400) return false;
  return rounded(value, said.exponent) == said;
}

std::string wrong_quote(const Quote& quote, const fs::path& results) {
  const auto is_name = [](std::string_view name) {
    return !name.empty() && name.find("..") == std::string_view::npos && name[0] != '/';
  };
  if (!is_name(quote.place) || quote.key.empty())
    return fmt::format("\"{}\" names no result: write <!--result PLACE:KEY-->", quote.place);
  if (quote.number.empty()) return fmt::format("no number follows <!--result {}:{}-->", quote.place, quote.key);
  const fs::path file = results / quote.place / "result.json";
  if (!fs::exists(file)) return fmt::format("quotes {}, which has no result.json", quote.place);
  const auto result = try_parse_json(read_file(file));
  const auto values = result.is_object() ? result.find("values") : result.end();
  if (!result.is_object() || values == result.end() || !values->is_object())
    return fmt::format("{} holds no values", file.string());
  const auto value = values->find(quote.key);
  if (value == values->end() || !value->is_number())
    return fmt::format("{} has no number \"{}\"", quote.place, quote.key);
  if (same_when_rounded(value->get<double>(), quote.number)) return "";
  return fmt::format("says {}, but {}:{} is {}", quote.number, quote.place, quote.key, value->dump());
}

}  // namespace sedum::course
