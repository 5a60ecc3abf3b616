#!/usr/bin/env python3
"""Writes src/text/unicode_tables.cc: what the tokenizers need of Unicode, as compact tables.

    pip install unicodedata2==16.0.0 tokenizers==0.23.* && tools/unicode_tables.py

The version is pinned to the one that Hugging Face's `tokenizers` cuts words with (its Oniguruma): another would give other ids for letters
that one of the two does not know yet. Other parts of `tokenizers` know other years, found by trying every character: its normal forms and
StripAccents Unicode 9, BERT's accents, controls and punctuation Unicode 8, lower case Unicode 17. What the first do not know yet is left
out of the normal forms here; where categories differ, there are ranges.
"""
import pathlib

from tokenizers import normalizers, pre_tokenizers
import unicodedata2 as ucd

VERSION = "16.0.0"
BLOCK = 128  # code points in a block of the two-stage tables
CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co".split()
WHITE_SPACE = [*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
LIMIT = 0x110000
HANGUL = range(0xAC00, 0xAC00 + 11172)  # decomposed by arithmetic


def normal(form, text):
    return getattr(normalizers, form)().normalize_str(text)


def unknown_to_normal_forms():
    """Characters that `tokenizers` neither decomposes nor orders among marks: U+0334 and U+0345 have the classes 1 and 240."""
    tries = [lambda c: c, lambda c: f"a{c}\u0334\u0345{c}"]
    return {code for code in range(LIMIT) if not 0xD800 <= code < 0xE000 and any(normal("NFKD", t(chr(code))) != ucd.normalize("NFKD", t(chr(code))) for t in tries)}


UNKNOWN = unknown_to_normal_forms()


def two_stage(values):
    blocks, index = {}, []
    for start in range(0, LIMIT, BLOCK):
        block = tuple(values[start:start + BLOCK])
        index.append(blocks.setdefault(block, len(blocks)))
    return index, [v for block in blocks for v in block]


def array(kind, name, values):
    lines, line = [], "   "
    for v in values:
        text = f" {v},"
        if len(line) + len(text) > 118:
            lines.append(line)
            line = "   "
        line += text
    lines.append(line)
    return f"const {kind} {name}[{len(values)}] = {{\n" + "\n".join(lines) + "\n};\n"


def composition_pairs():
    pairs = {}
    for code in range(LIMIT):
        parts = ucd.decomposition(chr(code)).split()
        if code in UNKNOWN or len(parts) != 2 or parts[0].startswith("<") or code in HANGUL:
            continue
        first, second = (int(p, 16) for p in parts)
        if ucd.normalize("NFC", chr(first) + chr(second)) == chr(code):  # not one of the composition exclusions
            pairs[(first, second)] = code
    return pairs


def normalization(pairs):
    """By code point: an index into distinct (combining class, quick check) pairs; quick check 0 yes, 1 maybe, 2 no."""
    seconds = {second for _, second in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    kinds, values = {(0, 0): 0}, []
    for code in range(LIMIT):
        surrogate = 0xD800 <= code < 0xE000
        changed = not surrogate and code not in UNKNOWN and ucd.normalize("NFC", chr(code)) != chr(code)
        check = 2 if changed else 1 if code in seconds else 0
        combining = 0 if code in UNKNOWN else ucd.combining(chr(code))
        values.append(kinds.setdefault((combining, check), len(kinds)))
    return values, list(kinds)


def decompositions(form, known, pool):
    """Code point → full decomposition where it is not what `known` gives (None: the character itself), as (code, offset, length) into one pool."""
    entries = []
    for code in range(LIMIT):
        if 0xD800 <= code < 0xE000 or code in HANGUL or code in UNKNOWN:
            continue
        text = ucd.normalize(form, chr(code))
        if text != (ucd.normalize(known, chr(code)) if known else chr(code)):
            entries.append((code, len(pool), len(text)))
            pool += [ord(c) for c in text]
    return entries


def cases(fold):
    """Code point → its full case mapping (up to three code points, filled with 0)."""
    entries = []
    for code in range(LIMIT):
        if 0xD800 <= code < 0xE000:
            continue
        mapped = [ord(c) for c in fold(chr(code))]
        if mapped != [code]:
            entries.append((code, *(mapped + [0, 0])[:3]))
    return entries


def otherwise(matches, categories):
    """Ranges of characters for which `matches` is not what their category says."""
    ranges = []
    for code in range(LIMIT):
        if 0xD800 <= code < 0xE000 or code < 0x80 or matches(chr(code)) == (ucd.category(chr(code)) in categories):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return ranges


def removed_by(normalizer):
    return lambda c: normalizer.normalize_str(f"a{c}b") == "ab"


def hugging_face_ranges():
    bert = lambda **parts: normalizers.BertNormalizer(**{"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False} | parts)
    punctuation = pre_tokenizers.Punctuation()
    return {
        "Accents": otherwise(removed_by(normalizers.StripAccents()), ("Mn", "Mc", "Me")),
        "BertAccents": otherwise(removed_by(bert(strip_accents=True)), ("Mn",)),
        "BertControls": [r for r in otherwise(removed_by(bert(clean_text=True)), ("Cc", "Cf", "Co")) if r != [0xFFFD, 0xFFFD]],
        "BertPunctuation": otherwise(lambda c: len(punctuation.pre_tokenize_str(f"a{c}b")) == 3, ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po")),
    }


def braces(rows):
    return ["{" + ", ".join(map(str, row)) + "}" for row in rows]


def main():
    assert ucd.unidata_version == VERSION, f"needs unicodedata2=={VERSION}"
    index = {name: i for i, name in enumerate(CATEGORIES)}
    category = [index[ucd.category(chr(code))] for code in range(LIMIT)]
    for code in WHITE_SPACE:
        category[code] |= 32
    pairs = composition_pairs()
    norm, kinds = normalization(pairs)
    pool = []
    entries = decompositions("NFD", None, pool)
    compatible = decompositions("NFKD", "NFD", pool)
    out = [f"// Generated by tools/unicode_tables.py from Unicode {VERSION}; not edited by hand.",
           '#include "text/unicode_tables.h"\n\nnamespace sedum::unicode::tables {\n\n// clang-format off']
    for name, values in (("Category", category), ("Normalization", norm)):
        first, second = two_stage(values)
        out.append(array("uint16_t", f"k{name}Index", first))
        out.append(array("uint8_t", f"k{name}Blocks", second))
    out.append(array("NormalizationKind", "kNormalizationKinds", braces(kinds)))
    out.append(array("Decomposition", "kDecompositions", braces(entries)))
    out.append(array("Decomposition", "kCompatibility", braces(compatible)))
    out.append(array("char32_t", "kDecompositionPool", pool))
    out.append(array("Composition", "kCompositions", braces((a, b, c) for (a, b), c in sorted(pairs.items()))))
    # Case mappings change less than letters are added; Python's own str knows the special casings.
    out.append(array("CaseMapping", "kUpper", braces(cases(str.upper))))
    lower = cases(normalizers.Lowercase().normalize_str)
    out.append(array("CaseMapping", "kLower", braces(lower)))
    titles = [(ord(c), *([ord(t) for t in c.title()] + [0, 0])[:3]) for c in map(chr, range(LIMIT)) if c.title() != c.upper() and not 0xD800 <= ord(c) < 0xE000]
    out.append(array("CaseMapping", "kTitle", braces(titles)))  # where it is not the upper case
    out.append(f"const int kTitleCount = {len(titles)};")
    out.append(f"const int kDecompositionCount = {len(entries)}, kCompatibilityCount = {len(compatible)}, kCompositionCount = {len(pairs)};")
    out.append(f"const int kUpperCount = {len(cases(str.upper))}, kLowerCount = {len(lower)};")
    for name, ranges in hugging_face_ranges().items():
        out.append(array("Range", f"k{name}Otherwise", braces(ranges)))
        out.append(f"const int k{name}OtherwiseCount = {len(ranges)};")
    out.append("// clang-format on\n\n}  // namespace sedum::unicode::tables\n")
    root = pathlib.Path(__file__).resolve().parent.parent
    (root / "src/text/unicode_tables.cc").write_text("\n".join(out))


main()
