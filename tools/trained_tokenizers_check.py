#!/usr/bin/env python3
"""Trains tokenizers with `sedum tokenizer train`, loads their tokenizer.json into Hugging Face's tokenizers and transformers and compares
ids; then compares unigram training with SentencePiece's own trainer. Run by hand; wants tokenizers, transformers, sentencepiece.

    tools/trained_tokenizers_check.py SEDUM DATA [FOLDER]

DATA is the folder of SEDUM_TEST_DATA. Ids are those of `sedum tokenize` and of both libraries, for lines of the texts, for the texts
as one string, and for the strings of tests/golden/text/tokenizers.json (for unigram and WordPiece without those that have characters newer
than Unicode 3.2: the libraries' tables for NFKC and accents are older than Sedum's). SentencePiece trains on the same lines to the same size, with the
rules that Sedum has not switched off (no piece across scripts, or of digits and letters), and also as it comes; the figure is tokens of the text.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

import sentencepiece
import transformers
from tokenizers import Tokenizer

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests/golden"
MARGIN = 0.01  # of the tokens that SentencePiece's vocabulary needs


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\n{done.stderr}")
    return done.stdout


def train(sedum, kind, size, texts, folder, *more):
    out = folder / f"{kind}-{size}{''.join(more)}"
    run(sedum, "tokenizer", "train", "--type", kind, "--vocab-size", size, *[x for t in texts for x in ("--input", t)], "--out", out, *more)
    return out


def ids_of(sedum, tokenizer, text, folder):
    path = folder / "string.txt"
    path.write_bytes(text.encode())
    return json.loads(run(sedum, "tokenize", "--model", tokenizer / "tokenizer.json", "--file", path, "--json"))["ids"]


def newer(text):
    return any(unicodedata.ucd_3_2_0.category(c) == "Cn" for c in text)


def compare(sedum, tokenizer, strings, folder):
    """How many strings differ, of how many."""
    plain, whole = Tokenizer.from_file(str(tokenizer / "tokenizer.json")), transformers.AutoTokenizer.from_pretrained(tokenizer)
    different = 0
    for text in strings:
        ours, theirs = ids_of(sedum, tokenizer, text, folder), plain.encode(text).ids
        if ours != theirs or theirs != whole(text)["input_ids"]:
            different += 1
            at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
            print(f"  {tokenizer.name}: {text[:60]!r} differs at {at}: {ours[at:at + 5]} {theirs[at:at + 5]} {[plain.id_to_token(i) for i in theirs[at:at + 5]]}")
    return different


def sentencepiece_tokens(lines, size, folder, **more):
    (folder / "lines.txt").write_text("\n".join(lines))
    model = folder / "sp"
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "lines.txt"), model_prefix=str(model), model_type="unigram", vocab_size=size, character_coverage=1.0, max_sentence_length=1 << 20,
        hard_vocab_limit=False, minloglevel=2, **more)
    processor = sentencepiece.SentencePieceProcessor(model_file=f"{model}.model")
    return sum(len(processor.encode(line)) for line in lines), processor.get_piece_size()


def main():
    sedum, data = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    folder = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    texts = sorted((data / "text").glob("*.txt"))
    contents = {t.stem: t.read_text(encoding="utf-8") for t in texts}
    strings = [*contents.values(), *json.loads((GOLDEN / "text/tokenizers.json").read_text())["strings"]]
    strings += [line for content in contents.values() for line in content.splitlines()[:4000:200]]
    failed = 0
    for kind, size, *more in (("bpe", 4000), ("bpe", 4000, "--pre-tokenizer=qwen2"), ("unigram", 4000), ("wordpiece", 4000), ("wordpiece", 4000, "--cased")):
        chosen = strings if kind == "bpe" else [s for s in strings if not newer(s)]
        different = compare(sedum, train(sedum, kind, size, texts, folder, *more), chosen, folder)
        print(f"{' '.join([kind, *more])}: {len(chosen) - different} of {len(chosen)} strings alike", flush=True)
        failed += different
    for text, size in ((t, s) for t in texts for s in (2000, 8000)):
        lines = [line.strip() for line in contents[text.stem].splitlines() if line.strip()]
        (folder / "stripped.txt").write_text("\n".join(lines) + "\n")
        ours = Tokenizer.from_file(str(train(sedum, "unigram", size, [folder / "stripped.txt"], folder) / "tokenizer.json"))
        mine = sum(len(ours.encode(line).ids) for line in lines)
        alike, pieces = sentencepiece_tokens(lines, size, folder, split_by_unicode_script=False, split_by_number=False)
        usual, _ = sentencepiece_tokens(lines, size, folder)
        print(f"unigram on {text.stem}, {ours.get_vocab_size()} pieces: {mine} tokens; SentencePiece with {pieces}: {alike} ({100 * (mine / alike - 1):+.2f} %), as it comes {usual} ({100 * (mine / usual - 1):+.2f} %)", flush=True)
        failed += mine > (1 + MARGIN) * alike
    sys.exit(failed > 0)


main()
