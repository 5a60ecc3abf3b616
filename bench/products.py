#!/usr/bin/env python3
"""The products of a linear layer: Sedum against PyTorch, in turn, and both against the peak measured beside them.

    bench/products.py --peers FOLDER --out bench/results/products.md

bf16 and f32: prepacked weights, weights packed on each call (forward), and both backward products, on shapes of SmolLM2-135M and
of a 7B-wide layer, many rows and 64. 4-bit weights in place of bf16, and int8 products, have no counterpart in PyTorch: shares of
the peak alone.
"""

import argparse

import measure
from measure import Run, Table

# Tokens, outputs, inputs.
BF16 = ["1024,576,576", "1024,1536,576", "1024,576,1536", "1024,49152,576", "1024,4096,4096", "1024,11008,4096", "64,4096,4096"]
F32 = ["1024,1536,576", "1024,576,1536", "1024,4096,4096", "64,4096,4096"]
Q4 = ["1024,1536,576", "1024,4096,4096"]
INT8_TYPES = ["q8_0", "q4_0", "q5_0", "q4_1", "q4_K", "q6_K"]
INT8 = ["1024,4096,4096", "64,4096,4096", "8,4096,4096"]
QUICK = ["64,256,256"]


def cases(quick):
    """(compute, weights, shape, the peer's type or None)"""
    kinds = [("bf16", ["bf16"], BF16, "bf16"), ("bf16", ["q4_0"], Q4, None), ("f32", ["f32"], F32, "f32"), ("int8", INT8_TYPES, INT8, None)]
    for compute, types, shapes, peer in kinds:
        for kind in types[:1] if quick else types:
            for shape in QUICK if quick else shapes:
                yield compute, kind, shape, peer


def lines_of(children, what):
    """For each round the line about one product, or None."""
    return [next((line for line in child.lines if line["what"] == what), None) if child else None for child in children]


def compare(ours, theirs):
    """GFLOP/s and share of either side. The peer's share is of the peak that Sedum measured in the same round."""
    speed = lambda line: line["gflops"]
    mine, share = measure.median(ours, speed), measure.median(ours, lambda line: line["share"])
    row = [mine, measure.percent(share)]
    if not any(theirs):
        return row + [None, None, None]
    shares = [b["gflops"] * a["share"] / a["gflops"] for a, b in zip(ours, theirs) if a and b]
    their_share = sorted(shares)[len(shares) // 2] if shares else None
    return row + [measure.median(theirs, speed), measure.percent(their_share), measure.times(measure.ratio(ours, theirs, speed))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="bf16,f32,int8", help="kinds of products, separated by commas; default: bf16,f32,int8")
    args = measure.parse(parser, minutes=20, rounds=3)
    session = measure.Session("Matrix products", args)
    threads, runs, listed = ["--threads", str(args.threads)], [], [case for case in cases(args.quick) if case[0] in args.only.split(",")]
    for compute, kind, shape, peer in listed:
        ours = [args.sedum, "bench", "matmul", "--shape", shape, "--type", kind, "--compute", compute, "--json"]
        runs.append(Run(f"sedum {compute} {kind} {shape}", ours + threads))
        if peer:
            script = str(measure.SCRIPTS / "torch_products.py")
            runs.append(Run(f"torch {peer} {shape}", [args.python, script, "--shape", shape, "--dtype", peer] + threads))
    done = session.interleave(runs)

    tables = {}
    for compute, kind, shape, peer in listed:
        ours = done[f"sedum {compute} {kind} {shape}"]
        theirs = done.get(f"torch {peer} {shape}", [None] * len(ours))
        for what in ["prepacked", "forward", "dX", "dW", "dW-bf16"]:
            mine = lines_of(ours, what)
            if any(mine):
                title = f"{compute}, weights in {kind}" if compute != "int8" else "int8, scales per block of 32"
                row = [shape.replace(",", " × "), kind, what] + compare(mine, lines_of(theirs, what.removesuffix("-bf16")))
                tables.setdefault(title, []).append(row)
    header = ["M × N × K", "weights", "product", "Sedum GFLOP/s", "of the peak", "torch GFLOP/s", "of the peak", "ratio"]
    session.finish([Table(title, header, rows) for title, rows in tables.items()])


if __name__ == "__main__":
    main()
