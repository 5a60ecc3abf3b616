// Normal forms C, D, KC and KD (UAX #15). The quick check finds the first character that may not be normal; from the last character
// before it that nothing can change, to the next such, a run is decomposed, ordered and composed; the rest is copied.

#include <algorithm>
#include <vector>

#include "text/unicode.h"

namespace sedum::unicode {

namespace {

// Hangul syllables by arithmetic (Unicode 3.12).
constexpr char32_t kS = 0xAC00, kL = 0x1100, kV = 0x1161, kT = 0x11A7;
constexpr char32_t kLCount = 19, kVCount = 21, kTCount = 28, kNCount = kVCount * kTCount, kSCount = kLCount * kNCount;

tables::NormalizationKind kind_of(char32_t code) {
  if (code < 0x300 || code >= 0x110000) return {0, uint8_t(0)};
  return tables::kNormalizationKinds[tables::kNormalizationBlocks[tables::kNormalizationIndex[code / tables::kBlock] *
                                                                      tables::kBlock +
                                                                  code % tables::kBlock]];
}

// Nothing before such a character can change it or be changed through it.
bool is_boundary(char32_t code) {
  const auto kind = kind_of(code);
  return kind.combining_class == 0 && kind.nfc_quick_check == 0;
}

struct Symbol {
  char32_t code;
  uint8_t combining_class;
};

const tables::Decomposition* find_decomposition(const tables::Decomposition* begin, int count, char32_t code) {
  const auto* end = begin + count;
  const auto* found = std::lower_bound(begin, end, code, [](const auto& entry, char32_t c) { return entry.code < c; });
  return found != end && found->code == code ? found : nullptr;
}

void decompose(char32_t code, bool compatible, std::vector<Symbol>& out) {
  if (code - kS < kSCount) {
    const char32_t s = code - kS, t = s % kTCount;
    out.push_back({kL + s / kNCount, 0});
    out.push_back({kV + s % kNCount / kTCount, 0});
    if (t) out.push_back({kT + t, 0});
    return;
  }
  const auto* found =
      compatible ? find_decomposition(tables::kCompatibility, tables::kCompatibilityCount, code) : nullptr;
  if (!found) found = find_decomposition(tables::kDecompositions, tables::kDecompositionCount, code);
  if (!found) return out.push_back({code, kind_of(code).combining_class});
  for (int i = 0; i < found->length; i++) {
    const char32_t part = tables::kDecompositionPool[found->offset + i];
    out.push_back({part, kind_of(part).combining_class});
  }
}

// Canonical ordering: runs of combining marks sorted by class, equal ones left in their order.
void order(std::vector<Symbol>& run) {
  for (auto begin = run.begin(); begin != run.end();) {
    if (begin->combining_class == 0) {
      ++begin;
      continue;
    }
    auto end = std::find_if(begin, run.end(), [](const Symbol& s) { return s.combining_class == 0; });
    std::stable_sort(begin, end,
                     [](const Symbol& a, const Symbol& b) { return a.combining_class < b.combining_class; });
    begin = end;
  }
}

char32_t compose_pair(char32_t a, char32_t b) {
  if (a - kL < kLCount && b - kV < kVCount) return kS + ((a - kL) * kVCount + (b - kV)) * kTCount;
  if (a - kS < kSCount && (a - kS) % kTCount == 0 && b - kT - 1 < kTCount - 1) return a + (b - kT);
  const auto* end = tables::kCompositions + tables::kCompositionCount;
  const auto less = [](const auto& entry, std::pair<char32_t, char32_t> key) {
    return std::pair(entry.first, entry.second) < key;
  };
  const auto* found = std::lower_bound(tables::kCompositions, end, std::pair(a, b), less);
  return found != end && found->first == a && found->second == b ? found->composed : 0;
}

void compose(std::vector<Symbol>& run) {
  size_t starter = run.size(), kept = 0;
  uint8_t last_class = 0;  // of the last character kept after the starter
  for (size_t i = 0; i < run.size(); i++) {
    const Symbol s = run[i];
    const bool adjacent = starter < kept && starter + 1 == kept;
    if (starter < kept && (adjacent || (last_class != 0 && last_class < s.combining_class))) {
      if (const char32_t composed = compose_pair(run[starter].code, s.code)) {
        run[starter].code = composed;
        continue;
      }
    }
    if (s.combining_class == 0) starter = kept;
    last_class = s.combining_class;
    run[kept++] = s;
  }
  run.resize(kept);
}

// Bytes of `text` up to the first character that may not be normal.
size_t normal_prefix(std::string_view text) {
  const char *begin = text.data(), *end = begin + text.size();
  const char* boundary = begin;  // of the last character that nothing after it has touched
  uint8_t last_class = 0;
  for (const char* p = begin; p < end;) {
    if (static_cast<unsigned char>(*p) < 0xCC) {  // below U+0300 everything is normal and nothing combines
      boundary = p, last_class = 0;
      p += decode(p, end).length;
      continue;
    }
    const Decoded c = decode_multibyte(p, end);
    const auto kind = kind_of(c.code);
    if (kind.nfc_quick_check != 0 || (kind.combining_class != 0 && kind.combining_class < last_class))
      return size_t(boundary - begin);
    if (kind.combining_class == 0) boundary = p;
    last_class = kind.combining_class;
    p += c.length;
  }
  return text.size();
}

// The same where compatibility decompositions count: what a character stands for may combine, half-width sound marks and jamo do.
bool is_compatible_boundary(char32_t code) {
  if (!is_boundary(code)) return false;
  const auto* found = find_decomposition(tables::kCompatibility, tables::kCompatibilityCount, code);
  return !found || is_boundary(tables::kDecompositionPool[found->offset]);
}

// Handles one run that begins at `p`; returns its end.
const char* normalize_run(const char* p, const char* end, bool composing, bool compatible, std::vector<Symbol>& run,
                          std::string& out) {
  run.clear();
  do {
    const Decoded c = decode(p, end);
    if (c.code == kInvalid) {
      if (run.empty()) out.push_back(*p++);
      break;
    }
    decompose(c.code, compatible, run);
    p += c.length;
  } while (p < end && !(compatible ? is_compatible_boundary(decode(p, end).code) : is_boundary(decode(p, end).code)));
  order(run);
  if (composing) compose(run);
  for (const Symbol& s : run) append(out, s.code);
  return p;
}

// Every run in turn; ASCII before ASCII is copied.
std::string normalize_all(std::string_view text, bool composing, bool compatible) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  std::vector<Symbol> run;
  const auto ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    if (ascii(*p) && (p + 1 == end || ascii(p[1])))
      out.push_back(*p++);
    else
      p = normalize_run(p, end, composing, compatible, run, out);
  }
  return out;
}

}  // namespace

bool is_nfc(std::string_view text) { return normal_prefix(text) == text.size() || nfc(text) == text; }

std::string nfc(std::string_view text) {
  std::string out;
  std::vector<Symbol> run;
  const char *p = text.data(), *end = p + text.size();
  while (true) {
    const size_t normal = normal_prefix({p, size_t(end - p)});
    out.append(p, normal);
    p += normal;
    if (p == end) return out;
    p = normalize_run(p, end, true, false, run, out);
  }
}

std::string nfd(std::string_view text) { return normalize_all(text, false, false); }
std::string nfkc(std::string_view text) { return normalize_all(text, true, true); }
std::string nfkd(std::string_view text) { return normalize_all(text, false, true); }

}  // namespace sedum::unicode
