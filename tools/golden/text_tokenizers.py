#!/usr/bin/env python3
"""Golden token ids of SentencePiece, WordPiece and of tokenizer.json's parts: what sentencepiece and Hugging Face's `tokenizers` give.

    tools/golden/text_tokenizers.py TEST_DATA [--train]

Writes to tests/golden/text:
  tokenizers/*.json     small tokenizers trained here on public-domain text, which together use every component; with --train alone:
                        the trainers break ties in another way each time
  tokenizers.json       the stress strings; for each tokenizer a digest of every string's ids and decoded text, and one digest for each file;
                        what each normaliser makes of every character

Digests are the first 16 hexadecimal digits of SHA-256 over the ids, written with spaces between; `--show NAME INDEX` prints ids.
"""
import hashlib
import json
import pathlib
import random
import sys
import unicodedata

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from text_tokens import GOLDEN, STRESS, chunks, digest

DATA = pathlib.Path(sys.argv[1])
random.seed(1)


def scripts():
    """A string for every block of 256 code points that has letters: some of its characters, spaces in between."""
    out = []
    for start in range(0, 0x30000, 256):
        if 0xD800 <= start < 0xE000:
            continue
        chars = [chr(c) for c in range(start, start + 256) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
        if not chars:
            continue
        picked = chars if len(chars) < 40 else random.sample(chars, 40)
        out.append("".join(c + (" " if i % 7 == 6 else "") for i, c in enumerate(picked)))
    return out


def long_words():
    letters = "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(10000))
    return ["a" * 10000, letters, "".join(random.choice("0123456789") for _ in range(10000)), "\u6c34" * 3000 + "\u6d47\u6c34" * 1000, "x " * 3000, " " * 3000, "!?" * 2000,
            "\u00e9" * 3000, "\U0001f335" * 500]


SPECIAL = ["<s> a </s>", "a<s>b", "[CLS] hello [SEP] world [MASK]", "<unk> <pad>", "<0x41> <0x0A>", "\u2581a \u2581\u2581b", "a  b   c", "  lead", "trail  ", "\ta\tb", "x\u0300y", "\u2126 \ufb01 \uff21\uff22\uff23 \u00bd \u2460 \u337f",
           "\u30ac\uff76\uff9e \u304c\u304b\u3099", "\u1e9e \u0130 \u01c5 \u03a3\u03a3 \u1fb3 \ufb06", "na\u00efve caf\u00e9 \u00dcber stra\u00dfe", "\u4e2d\u6587English\u6df7\u5408 \u7e41\u9ad4\u5b57\u3400\U00020000", "a\u200bb\u200cc\u200dd\ufeffe\u00adf",
           "$100,000.00 (50%) a_b-c~d`e^f|g", "I'm can't don't we've they're O'Neil's", "ENDING. Next? Yes! No; ok: (x) [y] {z}", "\u0e01\u0e33 \u0e19\u0e49\u0e33", "\u0915\u093c \u0958", "\r\n\r\nx\r\ry\n", "aaaaa aaaaaaa abababab", "mask<mask>mask <mask> x", "newword new word newwordnew NEWWORD x newword",
           "the  KEEP  end", "a\u00a0b\u3000c\u2028d\u0085e\u000bf\u000cg"]
STRINGS = STRESS + SPECIAL + scripts() + long_words()
INVALID = [b"\xff", b"a\xc3", b"\xed\xa0\x80 b", b"x\xf0\x9f\x8c y", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"ok \xe4\xbd \xe4\xbd\xa0", b"\x80\x81\x82"]


def short(ids):
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()[:16]


def text_digest(text):
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def golden(encode, decode, encode_bytes, files=True):
    out = {"ids": [short(encode(s)) for s in STRINGS], "invalid": [short(encode_bytes(b)) for b in INVALID]}
    if decode:
        out["decoded"] = [text_digest(decode(encode(s))) for s in STRINGS]
    if files:
        out["files"] = {name: digest(encode(line) for line in lines) for name, lines in chunks(DATA)}
    return out


def hf(t, files=True, special=False):
    return golden(lambda s: t.encode(s, add_special_tokens=special).ids, lambda ids: t.decode(ids, skip_special_tokens=False), lambda b: t.encode(b.decode("utf-8", "replace"), add_special_tokens=special).ids, files)


def spm(p):
    return golden(p.encode, None, p.encode)


def llama_gguf():
    """SentencePiece's own model of the vocabulary that the GGUF file holds."""
    fields = gguf.GGUFReader(DATA / "vocab/ggml-vocab-llama-spm.gguf").fields
    model = proto.ModelProto()
    for text, score, kind in zip(fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.scores"].contents(), fields["tokenizer.ggml.token_type"].contents()):
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback, model.trainer_spec.unk_id = 2, True, 0
    model.normalizer_spec.name, model.normalizer_spec.add_dummy_prefix, model.normalizer_spec.remove_extra_whitespaces = "identity", True, False
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def bert(vocab, lowercase):
    tokens = (DATA / "tokenizers" / vocab).read_text(encoding="utf-8").split("\n")
    t = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens) if token}, unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return t


def t5_json():
    """What transformers' converter makes of the unigram model, in its older form."""
    import base64
    p = proto.ModelProto()
    p.ParseFromString((DATA / "tokenizers/t5-spiece.model").read_bytes())
    t = Tokenizer(models.Unigram([(x.piece, x.score) for x in p.pieces], 2, False))
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(p.normalizer_spec.precompiled_charsmap), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " "),
                                         normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return t


def texts():
    return [line for name, lines in chunks(DATA) if name.startswith("text/") for line in lines]


def trained(model, trainer, normalizer=None, pre=None):
    t = Tokenizer(model)
    t.normalizer, t.pre_tokenizer = normalizer, pre
    t.train_from_iterator(texts(), trainer)
    return t


def fixed_length(like):
    """The merges of another tokenizer behind words of five characters, decoded by a regular expression."""
    model = json.loads(like.to_str())["model"]
    t = Tokenizer(models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.pre_tokenizer = pre_tokenizers.FixedLength(length=5)
    t.decoder = decoders.Sequence([decoders.Replace(Regex("\u2581+|e(?=r)"), " "), decoders.Fuse()])
    return t


def own():
    """Small tokenizers with, between them, every component."""
    out = {}
    N, P, D = normalizers, pre_tokenizers, decoders
    bpe = lambda **o: trainers.BpeTrainer(vocab_size=600, show_progress=False, **o)
    flags = [AddedToken("<mask>", lstrip=True, special=True), AddedToken("newword", single_word=True, normalized=False), AddedToken("KEEP", lstrip=True, rstrip=True, normalized=True)]

    base = trained(models.BPE(unk_token="<unk>"), bpe(special_tokens=["<unk>", "<s>", "</s>"]), None, P.Metaspace())
    j = json.loads(base.to_str())["model"]
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for b in range(256):
        vocab[f"<0x{b:02X}>"] = len(vocab)
    for token in j["vocab"]:
        vocab.setdefault(token, len(vocab))
    t = Tokenizer(models.BPE(vocab, [tuple(m) for m in j["merges"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = N.Sequence([N.Prepend("\u2581"), N.Replace(" ", "\u2581")])
    t.decoder = D.Sequence([D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.add_tokens(flags)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    out["llama"] = t

    t = trained(models.BPE(unk_token="<unk>", fuse_unk=True), bpe(special_tokens=["<unk>", "<s>", "</s>"]), N.NFKC(), P.Metaspace(prepend_scheme="first"))
    t.decoder = D.Metaspace(prepend_scheme="first")
    t.add_tokens(flags)
    out["metaspace-first"] = t

    t = trained(models.Unigram(), trainers.UnigramTrainer(vocab_size=600, show_progress=False, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"),
                N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace())
    t.decoder = D.Metaspace()
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", t.token_to_id("</s>"))])
    out["unigram"] = t

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    wp = lambda: trainers.WordPieceTrainer(vocab_size=800, show_progress=False, special_tokens=special)
    for name, normalizer in (("wordpiece", N.BertNormalizer()), ("wordpiece-cased", N.BertNormalizer(lowercase=False)), ("wordpiece-plain", N.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=True))):
        t = trained(models.WordPiece(unk_token="[UNK]"), wp(), normalizer, P.BertPreTokenizer())
        t.decoder = D.WordPiece(cleanup=name != "wordpiece-plain")
        t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        t.enable_truncation(24, strategy="longest_first")
        t.enable_padding(pad_id=0, pad_token="[PAD]", pad_to_multiple_of=8)
        t.add_tokens([AddedToken("newword", single_word=True)])
        out[name] = t

    t = trained(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(vocab_size=500, show_progress=False, special_tokens=special), N.Sequence([N.NFD(), N.Lowercase(), N.StripAccents(), N.Strip()]), P.Whitespace())
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.enable_padding(direction="left", pad_id=0, pad_token="[PAD]", length=16)
    t.enable_truncation(16, direction="left")
    out["wordlevel"] = t

    clip = N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()])
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    t = trained(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"), bpe(special_tokens=["<|endoftext|>"], end_of_word_suffix="</w>"), clip,
                P.Sequence([P.Split(Regex(pattern), "removed", invert=True), P.ByteLevel(add_prefix_space=False, use_regex=False)]))
    out["clip"] = t  # decoded below without its suffix

    t = trained(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##"), bpe(special_tokens=["[UNK]"], continuing_subword_prefix="##"), N.NFKD(), P.WhitespaceSplit())
    t.decoder = D.WordPiece(prefix="##", cleanup=False)
    out["bpe-prefix"] = t

    t = trained(models.BPE(), bpe(initial_alphabet=P.ByteLevel.alphabet(), special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), None, P.ByteLevel(add_prefix_space=True))
    t.decoder = D.ByteLevel()
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    out["roberta"] = t

    splits = [("punctuation", P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(), P.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))]
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            splits.append((f"split-{behavior}{'-inverted' if invert else ''}", P.Sequence([P.Split(Regex("[aeiou ]"), behavior, invert), P.ByteLevel(add_prefix_space=False, use_regex=False)])))
        splits.append((f"punctuation-{behavior}", P.Sequence([P.Punctuation(behavior), P.Digits(individual_digits=True), P.Metaspace(prepend_scheme="never", split=False)])))
    splits.append(("delimiter", P.Sequence([P.CharDelimiterSplit("e"), P.Split(" the", "removed"), P.Digits()])))
    small = json.loads(json.dumps(j))
    for name, pre in splits:
        if "ByteLevel" in repr(pre) and not name == "punctuation":
            t = Tokenizer(models.BPE(dict(out["roberta"].get_vocab(False)), [tuple(m) for m in json.loads(out["roberta"].to_str())["model"]["merges"]]))
        elif name == "punctuation":
            t = Tokenizer(models.BPE(dict(out["roberta"].get_vocab(False)), [tuple(m) for m in json.loads(out["roberta"].to_str())["model"]["merges"]]))
        else:
            t = Tokenizer(models.BPE(small["vocab"], [tuple(m) for m in small["merges"]], unk_token="<unk>"))
        t.pre_tokenizer = pre
        t.decoder = D.ByteLevel() if "ByteLevel" in repr(pre) else D.Metaspace(prepend_scheme="never")
        out[name] = t
    out["fixed-length"] = fixed_length(out["metaspace-first"])
    return out


QWEN_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER, LEAD, APOSTROPHE = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
HAN_UPPER, HAN_LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*" + QWEN_TAIL
GPT4O = f"{LEAD}{UPPER}*{LOWER}+{APOSTROPHE}|{LEAD}{UPPER}+{LOWER}*{APOSTROPHE}" + r"|%s| ?[^\s\p{L}\p{N}]+[\r\n/]*" + QWEN_TAIL
DEEPSEEK_LEAD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
# The letters of DeepSeek's first models: most of those with case.
DEEPSEEK_LLM = "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+"
# By name of tokenizer.ggml.pre: patterns whose matches are isolated, or (pattern, behaviour).
PUBLISHED = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "qwen2": [QWEN2 % r"\p{N}"],
    "llama-bpe": [QWEN2 % r"\p{N}{1,3}"],
    "gpt-4o": [GPT4O % r"\p{N}{1,3}"],
    "tekken": [f"{LEAD}{UPPER}*{LOWER}+|{LEAD}{UPPER}+{LOWER}*" + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + QWEN_TAIL],
    "kimi-k2": [r"[\p{Han}]+|" + f"{LEAD}{HAN_UPPER}*{HAN_LOWER}+{APOSTROPHE}|{LEAD}{HAN_UPPER}+{HAN_LOWER}*{APOSTROPHE}" + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + QWEN_TAIL],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + QWEN_TAIL],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "bloom": [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"],
    "viking": [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+", r"\p{N}"],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "deepseek-llm": [r"[\r\n]", DEEPSEEK_LLM, r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}+"],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]", GPT2],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "qwen35": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + QWEN_TAIL],
    "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + QWEN_TAIL],
    "minicpm5": [r"\p{N}{1,3}", QWEN2 % r"\p{N}+"],
    "jais-2": [(QWEN2 % r"\p{N}{1,3}").removesuffix(r"\s+(?!\S)|\s+") + "".join(rf"\s{{{n}}}(?!\S)|" for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"\s{1,2}(?!\S)|\s{1}"],
    "exaone-moe": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    "laguna": [(r"(?:\r?\n)+(?!\r?\n)", "merged_with_next"), QWEN2 % r"\p{N}"],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O % r"\p{N}{1,3}"],
    "youtu": ["[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", GPT4O % r"\p{N}"],
    "spark2_5": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK_LEAD + r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+", r"\p{N}"],
    # Arcee's Trinity; Oniguruma reads {3}+ as a repetition of the group of three.
    "afmoe": [r"\p{Nd}{1,510}(?=(?>\p{Nd}{510})*(?:\P{Nd}|$))|\G\p{Nd}{510}", r"\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)", r"\A\p{Nd}{3}|\G\p{Nd}{3}",
              r"(?:[\u4E00-\u9FFF\u3040-\u309F\u30A0-\u30FF\u3400-\u4DBF\uf900-\uFAFF\uFF65-\uFF9F\u2F00-\u2FDF]+|[\u0E00-\u0E7F]+|[\u0E80-\u0EFF]+|[\u1780-\u17FF]+|[\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF]+|[\uAC00-\uD7AF\u1100-\u11FF]+)",
              DEEPSEEK_LEAD + r"| ?[\p{P}\p{S}]+[\r\n]*" + QWEN_TAIL],
    "seed-coder": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + QWEN_TAIL],
}


def splits(patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") if isinstance(p, str) else pre_tokenizers.Split(Regex(p[0]), p[1]) for p in patterns]


def published(patterns):
    """The tiny byte-level vocabulary behind other pre-tokenizers."""
    model = json.loads((GOLDEN / "tiny_tokenizer.json").read_text())["model"]
    t = Tokenizer(models.BPE(model["vocab"], [tuple(m) for m in model["merges"]]))
    t.pre_tokenizer = pre_tokenizers.Sequence([*splits(patterns), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return t


def cuts(patterns):
    """Lengths of the pieces in bytes: few merges of the tiny vocabulary would run over a cut that is missing."""
    cut = pre_tokenizers.Sequence(splits(patterns))
    return [short(len(piece.encode()) for piece, _ in cut.pre_tokenize_str(s)) for s in STRINGS]


def every_character():
    """Each character of Unicode through each normaliser, among marks that have an order, and between letters through the cut at punctuation: digests by 4,096 code points."""
    N, punctuation = normalizers, pre_tokenizers.Punctuation()
    bert = lambda **parts: N.BertNormalizer(**{"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False} | parts)
    parts = {"NFC": N.NFC(), "NFD": N.NFD(), "NFKC": N.NFKC(), "NFKD": N.NFKD(), "Lowercase": N.Lowercase(), "StripAccents": N.StripAccents(),
             "clean_text": bert(clean_text=True), "handle_chinese_chars": bert(handle_chinese_chars=True), "strip_accents": bert(strip_accents=True)}
    ways = {name: lambda text, n=n: n.normalize_str(text) for name, n in parts.items()}
    ways["Punctuation"] = lambda text: "\n".join(piece for piece, _ in punctuation.pre_tokenize_str(text))
    blocks = [[chr(c) for c in range(start, start + 4096) if not 0xD800 <= c < 0xE000] for start in range(0, 0x110000, 4096)]
    return {name: [text_digest("".join(way(f"a{c}\u0334\u0345{c}b\n") for c in block)) for block in blocks if block] for name, way in ways.items()}


PAIRS = [("How often?", "Rarely."), ("a " * 40, "b c " * 30), ("short", "long " * 60), ("long " * 60, "short"), ("", ""), ("One more, please", "and another one")]


def pairs(t):
    encodings = [t.encode(a, b) for a, b in PAIRS]
    singles = [t.encode(a) for a, _ in PAIRS]
    batch = t.encode_batch([a for a, _ in PAIRS[:2]] + ["x"])
    return {name: [[e.ids, e.type_ids, e.attention_mask] for e in list] for name, list in (("pair", encodings), ("single", singles), ("batch", batch))}


def main():
    folder = GOLDEN / "tokenizers"
    folder.mkdir(exist_ok=True)
    out = {"strings": STRINGS, "invalid": [b.hex() for b in INVALID], "pairs": PAIRS, "every": every_character(), "tokenizers": {}}
    if "--train" in sys.argv:
        for name, t in own().items():
            t.save(str(folder / f"{name}.json"), pretty=False)
    for name, t in ((p.stem, Tokenizer.from_file(str(p))) for p in sorted(folder.glob("*.json"))):
        framed = {}
        if t.post_processor is not None:
            framed = {"framed": pairs(t)}
            t.no_truncation(), t.no_padding()
        out["tokenizers"]["own/" + name] = {**hf(t, files=False), **framed}
    for name, patterns in PUBLISHED.items():
        out["tokenizers"]["pre/" + name] = {**hf(published(patterns), files=False), "cuts": cuts(patterns)}
        del out["tokenizers"]["pre/" + name]["decoded"]  # without a decoder
    out["tokenizers"]["mistral.model"] = spm(sentencepiece.SentencePieceProcessor(model_file=str(DATA / "tokenizers/mistral-v1-tokenizer.model")))
    out["tokenizers"]["t5.model"] = spm(sentencepiece.SentencePieceProcessor(model_file=str(DATA / "tokenizers/t5-spiece.model")))
    out["tokenizers"]["llama.gguf"] = spm(llama_gguf())
    out["tokenizers"]["bert-uncased"] = hf(bert("bert-base-uncased-vocab.txt", True))
    out["tokenizers"]["bert-chinese"] = hf(bert("bert-base-chinese-vocab.txt", True))
    out["tokenizers"]["t5.json"] = hf(t5_json())
    # There a normalised added token is decoded with the mark that the normaliser put before it.
    out["tokenizers"]["own/llama"]["decoded"][STRINGS.index("the  KEEP  end")] = None
    (GOLDEN / "tokenizers.json").write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")).replace('"own/', '\n"own/').replace('"pre/', '\n"pre/') + "\n")


if __name__ == "__main__":
    main()
