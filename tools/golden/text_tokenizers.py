#!/usr/bin/env python3
"""Golden token ids of SentencePiece, WordPiece and of tokenizer.json's parts: what sentencepiece and Hugging Face's `tokenizers` give.

    tools/golden/text_tokenizers.py TEST_DATA

Writes to tests/golden/text:
  tokenizers/*.json     small tokenizers trained here on public-domain text, which together use every component
  tokenizers.json       the stress strings; for each tokenizer a digest of every string's ids and decoded text, and one digest for each file

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
    return out


QWEN_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER, LEAD, APOSTROPHE = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
HAN_UPPER, HAN_LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*" + QWEN_TAIL
PUBLISHED = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "qwen2": [QWEN2 % r"\p{N}"],
    "llama-bpe": [QWEN2 % r"\p{N}{1,3}"],
    "gpt-4o": [f"{LEAD}{UPPER}*{LOWER}+{APOSTROPHE}|{LEAD}{UPPER}+{LOWER}*{APOSTROPHE}" + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + QWEN_TAIL],
    "tekken": [f"{LEAD}{UPPER}*{LOWER}+|{LEAD}{UPPER}+{LOWER}*" + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + QWEN_TAIL],
    "kimi-k2": [r"[\p{Han}]+|" + f"{LEAD}{HAN_UPPER}*{HAN_LOWER}+{APOSTROPHE}|{LEAD}{HAN_UPPER}+{HAN_LOWER}*{APOSTROPHE}" + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + QWEN_TAIL],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + QWEN_TAIL],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "bloom": [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"],
    "viking": [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+", r"\p{N}"],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "seed-coder": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + QWEN_TAIL],
}


def published(patterns):
    """The tiny byte-level vocabulary behind other pre-tokenizers."""
    model = json.loads((GOLDEN / "tiny_tokenizer.json").read_text())["model"]
    t = Tokenizer(models.BPE(model["vocab"], [tuple(m) for m in model["merges"]]))
    t.pre_tokenizer = pre_tokenizers.Sequence([*(pre_tokenizers.Split(Regex(p), "isolated") for p in patterns), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return t


PAIRS = [("How often?", "Rarely."), ("a " * 40, "b c " * 30), ("short", "long " * 60), ("long " * 60, "short"), ("", ""), ("One more, please", "and another one")]


def pairs(t):
    encodings = [t.encode(a, b) for a, b in PAIRS]
    singles = [t.encode(a) for a, _ in PAIRS]
    batch = t.encode_batch([a for a, _ in PAIRS[:2]] + ["x"])
    return {name: [[e.ids, e.type_ids, e.attention_mask] for e in list] for name, list in (("pair", encodings), ("single", singles), ("batch", batch))}


def main():
    folder = GOLDEN / "tokenizers"
    folder.mkdir(exist_ok=True)
    out = {"strings": STRINGS, "invalid": [b.hex() for b in INVALID], "pairs": PAIRS, "tokenizers": {}}
    for name, t in own().items():
        t.save(str(folder / f"{name}.json"), pretty=False)
        framed = {}
        if t.post_processor is not None:
            framed = {"framed": pairs(t)}
            t.no_truncation(), t.no_padding()
        older = {} if name in ("llama", "roberta") else {"older": True}
        out["tokenizers"]["own/" + name] = {**hf(t, files=False), **framed, **older}
    for name, patterns in PUBLISHED.items():
        out["tokenizers"]["pre/" + name] = hf(published(patterns), files=False)
        del out["tokenizers"]["pre/" + name]["decoded"]  # without a decoder
    out["tokenizers"]["mistral.model"] = spm(sentencepiece.SentencePieceProcessor(model_file=str(DATA / "tokenizers/mistral-v1-tokenizer.model")))
    out["tokenizers"]["t5.model"] = spm(sentencepiece.SentencePieceProcessor(model_file=str(DATA / "tokenizers/t5-spiece.model")))
    out["tokenizers"]["llama.gguf"] = spm(llama_gguf())
    out["tokenizers"]["bert-uncased"] = hf(bert("bert-base-uncased-vocab.txt", True))
    out["tokenizers"]["bert-chinese"] = hf(bert("bert-base-chinese-vocab.txt", True))
    out["tokenizers"]["t5.json"] = hf(t5_json())
    # There a normalised added token is decoded with the mark that the normaliser put before it.
    out["tokenizers"]["own/llama"]["decoded"][STRINGS.index("the  KEEP  end")] = None
    for name in ("bert-uncased", "bert-chinese", "t5.json"):
        out["tokenizers"][name]["older"] = True
    # Parts of the reference know Unicode of another year; what is newer than 3.2 is left out there ("older").
    # So is U+180E, which has been a space and is none.
    out["newer"] = [any(unicodedata.ucd_3_2_0.category(c) == "Cn" or c == "\u180e" for c in s) for s in STRINGS]
    (GOLDEN / "tokenizers.json").write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")).replace('"own/', '\n"own/').replace('"pre/', '\n"pre/') + "\n")


if __name__ == "__main__":
    main()
