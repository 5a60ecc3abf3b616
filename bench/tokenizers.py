#!/usr/bin/env python3
"""Tokenizers: Sedum against tiktoken, Hugging Face's tokenizers and sentencepiece, in turn, on one thread; training on all.

    bench/tokenizers.py --peers FOLDER --vocabularies FOLDER --out bench/results/tokenizers.md english.txt chinese.txt code.py [--train big.txt]

The folder of vocabularies holds vocab.json and merges.txt (GPT-2), bert.txt, bpe.model and unigram.model (SentencePiece). The peers need
`pip install tiktoken tokenizers sentencepiece`. Texts are encoded whole by the byte-level ones and line by line by SentencePiece and WordPiece, as they are used.
"""

import argparse
import os
import pathlib

import measure
from measure import Run, Table

measure.PACKAGES[:] = ["tiktoken", "tokenizers", "sentencepiece"]
PEER = str(measure.SCRIPTS / "tokenizers_peer.py")
# What is measured: our file, the peers with theirs, whether line by line.
KINDS = [
    ("byte-level BPE", "vocab.json", [("tiktoken", "vocab.json"), ("hf-bpe", "vocab.json")], False),
    ("SentencePiece BPE", "bpe.model", [("sentencepiece", "bpe.model")], True),
    ("SentencePiece unigram", "unigram.model", [("sentencepiece", "unigram.model")], True),
    ("WordPiece", "bert.txt", [("hf-wordpiece", "bert.txt")], True),
]


def encoding_runs(args):
    folder = args.vocabularies
    for kind, ours, peers, lines in KINDS:
        flag = ["--lines"] if lines else []
        for text in args.text:
            name = f"{kind}, {os.path.basename(text)}"
            yield Run(f"sedum {name}", [args.sedum, "tokenizer", "bench", "--model", str(folder / ours), "--file", text, "--json", *flag])
            for peer, file in peers:
                merges = ["--merges", str(folder / "merges.txt")] if peer == "hf-bpe" else []
                yield Run(f"{peer} {name}", [args.python, PEER, "encode", peer, text, "--vocabulary", str(folder / file), *merges, *flag])


def training_runs(args):
    out = ["--out", str(args.folder)]
    ours = [args.sedum, "tokenizer", "train", "--type", "bpe", "--vocab-size", "32000", "--input", args.train, "--threads", str(args.threads), "--json", *out]
    yield Run("sedum training", ours)
    for peer in ("hf-bpe", "sentencepiece"):
        yield Run(f"{peer} training", [args.python, PEER, "train", peer, args.train, "--vocab-size", "32000", "--threads", str(args.threads)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="+", help="text files")
    parser.add_argument("--vocabularies", type=pathlib.Path, required=True, help="the folder of vocabularies")
    parser.add_argument("--train", help="a large text file: training of 32,000 tokens is measured too")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/sedum-bench-tokenizer"), help="where the trained tokenizer goes")
    args = measure.parse(parser, minutes=20, rounds=3)
    session = measure.Session("Tokenizers", args)
    runs = list(encoding_runs(args)) + (list(training_runs(args)) if args.train else [])
    done = session.interleave(runs)

    speed, rows = (lambda child: child["mb_s"]), []
    for kind, _, peers, _ in KINDS:
        for text in args.text:
            name = f"{kind}, {os.path.basename(text)}"
            ours = done[f"sedum {name}"]
            for peer, _ in peers:
                theirs = done[f"{peer} {name}"]
                same = all(a["tokens"] == b["tokens"] for a, b in zip(ours, theirs) if a and b)
                rows.append([kind, os.path.basename(text), measure.median(ours, speed), peer, measure.median(theirs, speed),
                             measure.times(measure.ratio(ours, theirs, speed)), "yes" if same else "no"])
    tables = [Table("Encoding on one thread", ["kind", "text", "Sedum MB/s", "peer", "its MB/s", "ratio", "as many tokens"], rows)]
    if args.train:
        ours, rows = done["sedum training"], []
        for peer in ("hf-bpe", "sentencepiece"):
            theirs = done[f"{peer} training"]
            rows.append([peer, measure.median(ours, lambda c: c.seconds), measure.median(theirs, lambda c: c.seconds),
                         measure.times(measure.ratio(theirs, ours, lambda c: c.seconds))])
        tables.append(Table("Training BPE of 32,000 tokens, seconds of the whole process", ["peer", "Sedum s", "its s", "ratio"], rows))
    session.finish(tables)


if __name__ == "__main__":
    main()
