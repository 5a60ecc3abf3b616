#!/usr/bin/env python3
"""Encoding and training speed of tiktoken, Hugging Face's tokenizers and sentencepiece, on one thread (training: on --threads).

    tokenizers_peer.py encode KIND FILE --vocabulary PATH [--merges PATH] [--lines]     kinds: tiktoken hf-bpe sentencepiece hf-wordpiece
    tokenizers_peer.py train hf-bpe|sentencepiece FILE --vocab-size N --threads N

Prints one JSON line: mb_s, tokens; or seconds, tokens.
"""
import argparse
import json
import os
import re
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["encode", "train"])
parser.add_argument("kind")
parser.add_argument("file")
parser.add_argument("--vocabulary")
parser.add_argument("--merges")
parser.add_argument("--lines", action="store_true")
parser.add_argument("--seconds", type=float, default=1)
parser.add_argument("--vocab-size", type=int, default=32000)
parser.add_argument("--threads", type=int, default=1)
args = parser.parse_args()
os.environ["RAYON_NUM_THREADS"] = str(args.threads if args.what == "train" else 1)
os.environ["TOKENIZERS_PARALLELISM"] = "true" if args.what == "train" else "false"

GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""  # as tiktoken writes it


def byte_alphabet():
    codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = codes[:]
    for byte in range(256):
        if byte not in codes:
            codes.append(byte)
            characters.append(256 + len(characters) - 188)
    return {chr(c): b for b, c in zip(codes, characters)}


def tiktoken_encoder():
    import tiktoken
    alphabet, vocabulary = byte_alphabet(), json.load(open(args.vocabulary, encoding="utf-8"))
    ranks = {bytes(alphabet[c] for c in token): i for token, i in vocabulary.items() if token != "<|endoftext|>"}
    encoding = tiktoken.Encoding("gpt2", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": len(ranks)})
    return lambda text: len(encoding.encode_ordinary(text))


def hf_bpe_encoder():
    from tokenizers import ByteLevelBPETokenizer
    tokenizer = ByteLevelBPETokenizer(args.vocabulary, args.merges)
    return lambda text: len(tokenizer.encode(text).ids)


def hf_wordpiece_encoder():
    from tokenizers import BertWordPieceTokenizer
    tokenizer = BertWordPieceTokenizer(args.vocabulary)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def sentencepiece_encoder():
    import sentencepiece
    processor = sentencepiece.SentencePieceProcessor(model_file=args.vocabulary)
    return lambda text: len(processor.encode(text))


def encode():
    encoder = {"tiktoken": tiktoken_encoder, "hf-bpe": hf_bpe_encoder, "hf-wordpiece": hf_wordpiece_encoder, "sentencepiece": sentencepiece_encoder}[args.kind]()
    text = open(args.file, encoding="utf-8", newline="").read()
    parts = re.findall(r"[^\n]*\n|[^\n]+", text) if args.lines else [text]
    passes, tokens, begin = [], 0, time.perf_counter()
    while len(passes) < 3 or time.perf_counter() - begin < args.seconds:
        start = time.perf_counter()
        tokens = sum(map(encoder, parts))
        passes.append(time.perf_counter() - start)
    size = len(text.encode())
    print(json.dumps({"mb_s": size / 1e6 / statistics.median(passes), "bytes": size, "tokens": tokens}))


def train():
    start = time.perf_counter()
    if args.kind == "hf-bpe":
        from tokenizers import ByteLevelBPETokenizer
        tokenizer = ByteLevelBPETokenizer(add_prefix_space=False)
        tokenizer.train([args.file], vocab_size=args.vocab_size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False)
        tokens = tokenizer.get_vocab_size()
    else:
        import io
        import sentencepiece
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(input=args.file, model_writer=model, vocab_size=args.vocab_size, model_type="bpe", num_threads=args.threads,
                                                 max_sentence_length=1 << 20, minloglevel=2, hard_vocab_limit=False)
        tokens = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    print(json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens}))


encode() if args.what == "encode" else train()
