#!/usr/bin/env python3
"""Golden token ids: what Hugging Face's `tokenizers` makes of test strings and of whole files.

    tools/golden/text_tokens.py TEST_DATA MODELS

Writes to tests/golden/text:
  tiny_tokenizer.json   a byte-level vocabulary of 2,000 trained here, so that tests need no other files
  tokens.json           for each tokenizer: ids of the stress strings, and for each file a digest over the ids of every line
The tokenizers are the tiny vocabulary under each of the four pre-tokenizers, GPT-2 (TEST_DATA/tokenizers), and the two real models' GGUF
files with what their conversion leaves out restored: SmolLM2's splitting of digits, Qwen2's NFC.
"""
import hashlib
import json
import pathlib
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/text"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

STRESS = [
    "", " ", "  ", "\n", "\n\n", " \n ", "\t\t", "\r\n", "a\r\nb\r\n\r\nc", "Hello, world!", " Hello  World   !", "don't DON'T we'll We'LL I'd I'D they've it's IT'S 'tis a'sb 's",
    "12345 1 23 456 7890 12,345.67 \u0663\u0664\u0665 \u2167 \u00bd x2y3", "a  1", "a   \u00bc", " \n 7", "price: $5.00 (approx)", "!!!??? ...\n\n---\r\n", "foo_bar __init__ a.b.c/d\\e",
    "e\u0301a\u0300 \u00e9\u00e0 \u1e9b\u0323 \u212b \u2126 \u00c5 A\u030a q\u0307\u0323 q\u0323\u0307", "\u1100\u1161\u11a8 \uac00\u11a8 \ud55c\uae00 \u1112\u1161\u11ab", "\u0958 \u2adc \ufb1d \U0001d15e \u0344 \u0f43",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f335\U0001f3fd \U0001f1e9\U0001f1ea \u2764\ufe0f", "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u591a\u8089\u690d\u7269\u591a\u4e45\u6d47\u6c34\uff1f", "\u3053\u3093\u306b\u3061\u306f \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0646\u0635 \u0939\u093f\u0928\u094d\u0926\u0940 \u0417\u0434\u0440\u0430\u0432\u0441\u0442\u0432\u0443\u0439\u0442\u0435",
    "\u00a0\u2003\u3000x \u2028y\u0085z\u180e", "a\u017fb 'ſ x'\u017f can'\u017ft", "\u0000\u0001\x7f", "x" * 200, "ab" * 100 + " " + "1" * 50, " " * 40 + "x", "\n" * 30 + " y", "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>", "<|im_start|<|im_end|>>", "<|endoftext|><|endoftext|>",
    "\u0301\u0301 leading marks", "A\u0315\u0300\u05ae\u0300b", "def f(x):\n    return x  # \u6ce8\u91ca\n\n\n\tpass", "https://example.org/?q=a+b&c=%20", "\U0002f800 \U00020000 \U0010ffff \ufffd \ufdd0",
]


def bpe(vocab, merges, special, plain, stages, nfc=False, ignore_merges=False):
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([*stages, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, normalized=False) for s in special])
    t.add_tokens([AddedToken(s, normalized=False) for s in plain])
    return t


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
KINDS = {"gpt-2": dict(stages=[split(GPT2)]), "smollm": dict(stages=[pre_tokenizers.Digits(individual_digits=True), split(GPT2)]),
         "qwen2": dict(stages=[split(QWEN % r"\p{N}")], nfc=True), "llama-bpe": dict(stages=[split(QWEN % r"\p{N}{1,3}")], ignore_merges=True)}


def from_gguf(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ", 1)) for m in fields["tokenizer.ggml.merges"].contents()]
    special = [t for t, kind in zip(tokens, types) if kind == 3]
    plain = [t for t, kind in zip(tokens, types) if kind == 4]
    return bpe({t: i for i, t in enumerate(tokens)}, merges, special, plain, **KINDS[fields["tokenizer.ggml.pre"].contents()])


def train_tiny(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([split(GPT2), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                                     special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"]))
    model = json.loads(t.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def chunks(data):
    """The files that are tokenized line by line."""
    for path in sorted((data / "text").glob("*.txt")):
        yield "text/" + path.name, path.read_bytes().decode().split("\n")  # not read_text: it would drop \r
    for path in sorted((data / "instructions").glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        yield "instructions/" + path.name, [row[key] for row in rows for key in ("instruction", "input", "output")]


def digest(lists):
    h = hashlib.sha256()
    for ids in lists:
        h.update((" ".join(map(str, ids)) + "\n").encode())
    return h.hexdigest()


def golden(t, data):
    ids = lambda text: t.encode(text, add_special_tokens=False).ids
    files = {name: {"lines": len(lines), "sha256": digest(ids(line) for line in lines)} for name, lines in chunks(data)}
    return {"stress": [ids(s) for s in STRESS], "files": files}


def main():
    data, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    vocab, merges = train_tiny(line for name, lines in chunks(data) if name.startswith("text/") for line in lines)  # public domain
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tiny = {kind: bpe(vocab, merges, specials, [], **options) for kind, options in KINDS.items()}
    tiny["gpt-2"].save(str(GOLDEN / "tiny_tokenizer.json"), pretty=False)
    gpt2_vocab = json.loads((data / "tokenizers/gpt2-vocab.json").read_text(encoding="utf-8"))
    lines = (data / "tokenizers/gpt2-merges.txt").read_text(encoding="utf-8").split("\n")
    gpt2 = bpe(gpt2_vocab, [tuple(m.split()) for m in lines[1:] if m], ["<|endoftext|>"], [], **KINDS["gpt-2"])
    out = {"strings": STRESS, "tokenizers": {f"tiny/{kind}": golden(t, data) for kind, t in tiny.items()}}
    out["tokenizers"]["gpt2"] = golden(gpt2, data)
    for name in ("smollm2", "qwen"):
        out["tokenizers"][name] = golden(from_gguf(folder / f"{name}.gguf"), data)
    (GOLDEN / "tokens.json").write_text(json.dumps(out, ensure_ascii=True, indent=None, separators=(",", ":")).replace('"tiny/', '\n"tiny/') + "\n")


if __name__ == "__main__":
    main()
