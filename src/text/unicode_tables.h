#pragma once
// The generated tables behind unicode.h; tools/unicode_tables.py writes unicode_tables.cc.

#include <cstdint>

namespace sedum::unicode::tables {

inline constexpr int kBlock = 128;  // code points in a block: value = blocks[index[code / 128] * 128 + code % 128]

extern const uint16_t kCategoryIndex[8704];
extern const uint8_t kCategoryBlocks[];  // Category, with 32 added for White_Space

extern const uint16_t kNormalizationIndex[8704];
extern const uint8_t kNormalizationBlocks[];  // into kNormalizationKinds
struct NormalizationKind {
  uint8_t combining_class;
  uint8_t nfc_quick_check;  // 0 yes, 1 maybe, 2 no
};
extern const NormalizationKind kNormalizationKinds[];

// Sorted by code; without Hangul, which is arithmetic.
struct Decomposition {
  char32_t code;
  uint16_t offset, length;
};
extern const Decomposition kDecompositions[];  // canonical
extern const Decomposition kCompatibility[];   // NFKD where it is not NFD
extern const char32_t kDecompositionPool[];
struct Composition {
  char32_t first, second, composed;
};
extern const Composition kCompositions[];
struct CaseMapping {
  char32_t code, to[3];
};
extern const CaseMapping kUpper[], kLower[];
extern const CaseMapping kTitle[];  // where it is not the upper case
extern const int kDecompositionCount, kCompatibilityCount, kCompositionCount, kUpperCount, kLowerCount, kTitleCount;

// Where parts of Hugging Face's tokenizers that know an earlier Unicode differ from the category. Sorted, ends included.
struct Range {
  char32_t first, last;
};
extern const Range kAccentsOtherwise[], kBertAccentsOtherwise[], kBertControlsOtherwise[], kBertPunctuationOtherwise[];
extern const int kAccentsOtherwiseCount, kBertAccentsOtherwiseCount, kBertControlsOtherwiseCount,
    kBertPunctuationOtherwiseCount;

}  // namespace sedum::unicode::tables
