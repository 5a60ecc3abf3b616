#include "fuzz/mutator.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>

namespace sedum::fuzz {
namespace {

constexpr uint64_t kNumbers[] = {0,          1,          2,          7,          8,           31,         32,
                                 127,        128,        255,        256,        32767,       32768,      65535,
                                 65536,      0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 1ull << 62, 1ull << 63,
                                 ~0ull >> 1, ~0ull - 31, ~0ull - 7,  ~0ull - 1,  ~0ull};

}  // namespace

std::string Mutator::mutate(std::string input, std::string_view other, size_t max_size) {
  for (uint64_t left = 1 + below(8); left > 0; --left) change(input, other);
  if (input.size() > max_size) input.resize(max_size);
  return input;
}

void Mutator::change(std::string& input, std::string_view other) {
  const size_t at = below(input.size() + 1), length = 1 + below(below(4) ? 8 : 256);
  const std::string piece = input.substr(at, length);
  switch (below(12)) {
    case 0:
      if (at < input.size()) input[at] = char(input[at] ^ (1 << below(8)));
      break;
    case 1:
      if (at < input.size()) input[at] = char(below(256));
      break;
    case 2:
      input.insert(at, 1, char(below(256)));
      break;
    case 3:
      input.erase(at, length);
      break;
    case 4:
      input.insert(at, piece);
      break;
    case 5: {  // a piece of this input somewhere else in it
      const size_t to = below(input.size() + 1);
      below(2) ? input.replace(to, piece.size(), piece) : input.insert(to, piece);
      break;
    }
    case 6:
      input.replace(at, length, other.substr(below(other.size() + 1), length));
      break;
    case 7:
      input = input.substr(0, at) + std::string(other.substr(below(other.size() + 1)));
      break;
    case 8:
      overwrite_number(input);
      break;
    case 9:
      change_digits(input);
      break;
    case 10:
      below(16) ? input.resize(at) : nest(input);
      break;
    default:
      if (dictionary_.empty()) return overwrite_number(input);
      const std::string& token = dictionary_[below(dictionary_.size())];
      below(2) ? input.insert(at, token) : input.replace(at, token.size(), token);
  }
}

void Mutator::overwrite_number(std::string& input) {
  const size_t width = size_t{1} << below(4);
  if (input.size() < width) return;
  char* at = input.data() + below(input.size() - width + 1);
  uint64_t number = 0;
  std::memcpy(&number, at, width);
  if (below(2))
    number = kNumbers[below(std::size(kNumbers))];
  else
    number += below(65) - 32;
  std::memcpy(at, &number, width);
}

// The decimal number behind some place.
void Mutator::change_digits(std::string& input) {
  const size_t begin = input.find_first_of("0123456789", below(input.size() + 1));
  if (begin == std::string::npos) return;
  const size_t end = std::min(input.find_first_not_of("0123456789", begin), input.size());
  uint64_t number = 0;
  std::from_chars(input.data() + begin, input.data() + end, number);
  number = below(2) ? kNumbers[below(std::size(kNumbers))] : number + below(5) - 2;
  input.replace(begin, end - begin, std::to_string(number));
}

void Mutator::nest(std::string& input) {
  const size_t at = below(input.size() + 1), length = below(16), times = 1 + below(2000);
  const std::string piece = input.substr(at, length);
  std::string many;
  for (size_t i = 0; i < times; ++i) many += piece;
  input.insert(at, many);
}

std::vector<std::string> parse_dictionary(std::string_view text) {
  std::vector<std::string> tokens;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t begin = line.find('"'), end = line.rfind('"');
    if (line.starts_with('#') || begin == end) continue;
    line = line.substr(begin + 1, end - begin - 1);
    std::string token;
    for (size_t i = 0; i < line.size(); ++i) {
      if (line[i] != '\\' || i + 1 == line.size()) {
        token += line[i];
      } else if (line[++i] == 'x' && i + 2 < line.size()) {
        unsigned value = 0;
        std::from_chars(line.data() + i + 1, line.data() + i + 3, value, 16);
        token += char(value), i += 2;
      } else {
        token += line[i];
      }
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace sedum::fuzz
