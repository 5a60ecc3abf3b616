#!/usr/bin/env python3
"""A GGUF file of a well-known shape with random weights: speed depends on shapes and types alone. Needs the package gguf.

    bench/infer/random_model.py --shape 1.1b --type q4_0 --out random-1.1b.q4_0.gguf

Blocks are random bits with scales of a size that keeps activations finite. --type q4_k has its head in Q6_K, as llama.cpp's mixtures do. The vocabulary
is made up: bytes and numbered words.
"""

import argparse
import os

import gguf
import numpy

SHAPES = {  # hidden, inner, layers, heads, key-value heads: TinyLlama-1.1B, Llama-2-7B; and one for trials
    "1.1b": (2048, 5632, 22, 32, 4),
    "7b": (4096, 11008, 32, 32, 32),
    "tiny": (256, 512, 2, 4, 2),
}
VOCABULARY = 32000
Type = gguf.GGMLQuantizationType


def halves(rng, shape, scale):
    return (rng.random(shape, dtype=numpy.float32) * scale + scale / 4).astype(numpy.float16).view(numpy.uint8)


def blocks(rng, rows, cols, kind):
    """(rows, bytes of a row) of random blocks whose values have a deviation of some 0.02."""
    if kind == Type.Q4_0:  # f16 d, 16 bytes of nibbles − 8
        count = cols // 32
        out = numpy.empty((rows, count, 18), numpy.uint8)
        out[..., :2] = halves(rng, (rows, count, 1), 0.006)
        out[..., 2:] = rng.integers(0, 256, (rows, count, 16), dtype=numpy.uint8)
    elif kind == Type.Q4_K:  # f16 d, f16 dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles
        count = cols // 256
        out = numpy.empty((rows, count, 144), numpy.uint8)
        out[..., :2] = halves(rng, (rows, count, 1), 0.0002)
        out[..., 2:4] = halves(rng, (rows, count, 1), 0.0015)
        out[..., 4:] = rng.integers(0, 256, (rows, count, 140), dtype=numpy.uint8)
    else:  # Q6_K: 128 + 64 bytes of values, 16 scales, f16 d
        count = cols // 256
        out = numpy.empty((rows, count, 210), numpy.uint8)
        out[..., :192] = rng.integers(0, 256, (rows, count, 192), dtype=numpy.uint8)
        out[..., 192:208] = rng.integers(0, 64, (rows, count, 16), dtype=numpy.uint8)
        out[..., 208:] = halves(rng, (rows, count, 1), 0.00005)
    return out.reshape(rows, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--type", choices=["q4_0", "q4_k"], required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    hidden, inner, layers, heads, kv_heads = SHAPES[args.shape]
    kind = Type.Q4_0 if args.type == "q4_0" else Type.Q4_K
    rng = numpy.random.default_rng(1)
    part = args.out + ".part"
    writer = gguf.GGUFWriter(part, "llama")
    writer.add_name(f"random {args.shape}")
    writer.add_context_length(4096), writer.add_embedding_length(hidden), writer.add_block_count(layers)
    writer.add_feed_forward_length(inner), writer.add_head_count(heads), writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(hidden // heads), writer.add_layer_norm_rms_eps(1e-5), writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0 if args.type == "q4_0" else gguf.LlamaFileType.MOSTLY_Q4_K_M)
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    while len(tokens) < VOCABULARY:
        tokens.append(f"\u2581w{len(tokens)}"), types.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("llama"), writer.add_token_list([t.encode() for t in tokens])
    writer.add_token_scores([-float(i) for i in range(VOCABULARY)]), writer.add_token_types([int(t) for t in types])
    writer.add_bos_token_id(1), writer.add_eos_token_id(2), writer.add_unk_token_id(0)

    matrices = [("token_embd.weight", VOCABULARY, hidden, kind)]
    kv = hidden // heads * kv_heads
    for i in range(layers):
        at = f"blk.{i}."
        matrices += [(at + "attn_q.weight", hidden, hidden, kind), (at + "attn_k.weight", kv, hidden, kind), (at + "attn_v.weight", kv, hidden, kind),
                     (at + "attn_output.weight", hidden, hidden, kind), (at + "ffn_gate.weight", inner, hidden, kind), (at + "ffn_up.weight", inner, hidden, kind),
                     (at + "ffn_down.weight", hidden, inner, kind)]  # fmt: skip
    matrices.append(("output.weight", VOCABULARY, hidden, Type.Q6_K))
    norms = [f"blk.{i}.{name}.weight" for i in range(layers) for name in ("attn_norm", "ffn_norm")] + ["output_norm.weight"]
    for name in norms:
        writer.add_tensor_info(name, (hidden,), numpy.dtype(numpy.float32), hidden * 4)
    for name, rows, cols, t in matrices:
        block, size = gguf.GGML_QUANT_SIZES[t]
        writer.add_tensor_info(name, (rows, cols // block * size), numpy.dtype(numpy.uint8), rows * cols // block * size, raw_dtype=t)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_ti_data_to_file()
    for _ in norms:
        writer.write_tensor_data(numpy.ones(hidden, numpy.float32))
    for _, rows, cols, t in matrices:
        writer.write_tensor_data(blocks(rng, rows, cols, t))
    writer.close()
    os.replace(part, args.out)


if __name__ == "__main__":
    main()
