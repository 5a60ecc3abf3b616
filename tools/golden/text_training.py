#!/usr/bin/env python3
"""Golden values of tokenizer training: what Hugging Face's trainers make of a small public-domain text.

    tools/golden/text_training.py TEST_DATA

Writes tests/golden/text/training.json: the text; the merges and tokens of byte-level BPE; for unigram and WordPiece, whose trainers have no one right
answer, how many tokens their vocabularies need for the text.
"""
import json
import pathlib
import sys

from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, normalizers, pre_tokenizers, trainers

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/text"


def main():
    text = (pathlib.Path(sys.argv[1]) / "text/botchan.txt").read_text(encoding="utf-8")[2000:62000]
    corpus = text + "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u591a\u8089\u690d\u7269\u591a\u4e45\u6d47\u6c34\uff1f\n" * 3 + "aaaa aaaaaaa abab ababab abcabcabc 12345 123456\r\n" * 5
    lines = corpus.splitlines(keepends=True) if "\r" not in corpus else [l + "\n" for l in corpus.split("\n")[:-1]]
    out = {"corpus": corpus, "bpe": {}}
    for size, frequency in ((400, 2), (1500, 2), (3000, 0)):
        t = ByteLevelBPETokenizer(add_prefix_space=False)
        t.train_from_iterator(lines, vocab_size=size, min_frequency=frequency, special_tokens=["<|endoftext|>"], show_progress=False)
        model = json.loads(t._tokenizer.to_str())["model"]
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        out["bpe"][str(size)] = {"min_frequency": frequency, "tokens": tokens, "merges": [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]}
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=1500, min_frequency=2, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    out["wordpiece"] = sum(len(t.encode(line).ids) for line in lines)
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator([line.strip() for line in lines], trainers.UnigramTrainer(vocab_size=1500, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>"))
    out["unigram"] = sum(len(t.encode(line.strip()).ids) for line in lines)
    (GOLDEN / "training.json").write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")) + "\n")
    print({k: v for k, v in out.items() if isinstance(v, int)})


main()
