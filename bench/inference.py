#!/usr/bin/env python3
"""Prefill and decoding of GGUF files: Sedum against llama.cpp, in turn.

    bench/inference.py --peers FOLDER --out bench/results/inference.md smollm2.gguf qwen.gguf

Prefill of 512 tokens; decoding of 64 at depths 0 and 512, and of several streams at once. llama.cpp (through llama-cpp-python)
with and without flash attention: the ratio is to the better of the two. Sedum computes in int8, its default here. Beside
decoding stands what share of the measured read bandwidth its weights, as they lie in the file, take.
"""

import argparse
import pathlib

import measure
from measure import Run, Table

FLASH = ["on", "off"]


def cases(quick):
    """(what, its name, tokens, depth, streams)"""
    if quick:
        return [("prefill", "prefill of 16", 16, 0, 1), ("decode", "decoding at 16", 3, 16, 1), ("decode", "2 streams at 0", 2, 0, 2)]
    return [
        ("prefill", "prefill of 512", 512, 0, 1),
        ("decode", "decoding at 0", 64, 0, 1),
        ("decode", "decoding at 512", 64, 512, 1),
        ("decode", "4 streams at 0", 64, 0, 4),
        ("decode", "8 streams at 0", 64, 0, 8),
    ]


def sedum_command(args, model, what, tokens, depth, streams):
    command = [args.sedum, "bench", what, "--json", "--model", str(model), "--tokens", str(tokens), "--threads", str(args.threads)]
    return command + (["--depth", str(depth), "--streams", str(streams)] if what == "decode" else [])


def llama_command(args, model, what, tokens, depth, streams, flash):
    command = [args.python, str(measure.SCRIPTS / "llama_inference.py"), "--model", str(model), "--measure", what, "--tokens", str(tokens)]
    return command + ["--depth", str(depth), "--streams", str(streams), "--flash-attn", flash, "--threads", str(args.threads)]


def row(name, ours, theirs):
    """theirs: a list of children for each setting of flash attention."""
    speed, memory = (lambda child: child["tok_s"]), (lambda child: child.peak_mib)
    mine = measure.median(ours, speed)
    best = max(theirs, key=lambda children: measure.median(children, speed) or 0)
    share = measure.percent(measure.median(ours, lambda child: child["share"]))
    decoding = any(child and "read_gb_s" in child.lines[-1] for child in ours)
    gigabytes, read, their_share = None, None, None
    # Decoding: before the probe of the bandwidth, which reads a GiB of its own.
    our_memory = measure.median(ours, (lambda child: child["peak_rss_mib"]) if decoding else memory)
    if decoding:
        gigabytes = measure.median(ours, lambda child: child["gb_s"])
        read = measure.median(ours, lambda child: child["read_gb_s"])
        # The same bytes a step on either side.
        shares = [b["tok_s"] / a["tok_s"] * a["share"] for a, b in zip(ours, best) if a and b]
        their_share = measure.percent(sorted(shares)[len(shares) // 2]) if shares else None
    return [
        name, mine, *(measure.median(children, speed) for children in theirs), measure.times(measure.ratio(ours, best, speed)),
        share, their_share, gigabytes, read, our_memory, measure.median(best, memory),
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=pathlib.Path, nargs="+", metavar="MODEL.gguf")
    args = measure.parse(parser, minutes=20, rounds=3)
    for model in args.models:
        if not model.is_file():
            parser.error(f"{model} is no file")
    session = measure.Session("Inference", args)
    runs, names = [], {}
    for model in args.models:
        for what, name, *sizes in cases(args.quick):
            ours = Run(f"sedum, {model.name}, {name}", sedum_command(args, model, what, *sizes))
            theirs = [Run(f"llama.cpp, {model.name}, {name}, flash {f}", llama_command(args, model, what, *sizes, f)) for f in FLASH]
            runs += [ours, *theirs]
            names[model, name] = ours.name, [run.name for run in theirs]
    done = session.interleave(runs)

    header = ["", "Sedum tokens/s", "llama.cpp, flash", "llama.cpp, plain", "ratio", "Sedum of the limit", "llama.cpp", "Sedum GB/s",
              "read GB/s", "Sedum peak MiB", "llama.cpp"]  # fmt: skip
    tables = []
    for model in args.models:
        rows = [row(name, done[ours], [done[n] for n in theirs]) for (m, name), (ours, theirs) in names.items() if m == model]
        tables.append(Table(model.name, header, rows))
    session.note("the limit: of prefill the int8 peak, without embedding and head; of decoding the read bandwidth, measured beside each")
    system = next((c["system"] for run in done.values() for c in run if c and "system" in c.lines[-1]), None)
    if system:
        session.note(f"llama.cpp: {system}")
    session.finish(tables)


if __name__ == "__main__":
    main()
