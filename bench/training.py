#!/usr/bin/env python3
"""Training steps: Sedum against PyTorch (full) and PEFT (LoRA, r = 16), eager and compiled, on a known shape with random weights, in turn.

    bench/training.py --peers FOLDER --out bench/results/training.md
    bench/training.py --peers FOLDER --out bench/results/qlora.md --shape tinyllama-1.1b --only bf16,int8,qlora --modes lora --sizes 1x512 --no-compile

4 × 256 and 1 × 1024 tokens. Sedum's fp32 meets fp32; its bf16 (f32 masters) meets autocast, which also keeps f32 masters, and
PyTorch in pure bf16, which does not and is its fastest; each by torch.compile too ("compiled"), and of each the best row is the peer at its
best. Peak memory is of the whole process.
"""

import argparse

import measure
from measure import Run, Table

# the kind that --only names, mode, Sedum's options, what it is called, the peers it meets
LORA_PEERS = ["autocast", "bf16", "bf16-pure", "autocast compiled", "bf16-pure compiled"]
PAIRS = [
    ("fp32", "full", ["--dtype", "fp32"], "fp32", ["fp32", "fp32 compiled"]),
    ("bf16", "full", ["--dtype", "bf16"], "bf16", ["autocast", "autocast compiled", "bf16-pure", "bf16-pure compiled"]),
    ("fp32", "lora", ["--dtype", "fp32", "--weights", "f32"], "fp32", ["fp32", "fp32 compiled"]),
    ("bf16", "lora", ["--dtype", "bf16"], "bf16", LORA_PEERS),
    ("bf16", "lora", ["--dtype", "bf16", "--weights", "q4_0"], "bf16, base in q4_0", []),
    ("int8", "lora", ["--dtype", "int8", "--weights", "q8_0"], "int8, base in q8_0", LORA_PEERS),
    ("qlora", "lora", ["--dtype", "bf16", "--weights", "nf4"], "bf16, base in nf4", ["nf4"]),
]
CALLED = {
    ("full", "fp32"): "PyTorch fp32",
    ("full", "autocast"): "PyTorch bf16 autocast",
    ("full", "bf16-pure"): "PyTorch pure bf16",
    ("lora", "fp32"): "PEFT fp32",
    ("lora", "autocast"): "PEFT bf16 autocast",
    ("lora", "bf16"): "PEFT bf16, adapters f32",
    ("lora", "bf16-pure"): "PEFT pure bf16",
    ("lora", "nf4"): "PEFT + bitsandbytes, NF4",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2, help="timed in each round, after one to warm up; default: 2")
    parser.add_argument("--sizes", type=lambda text: [tuple(map(int, size.split("x"))) for size in text.split(",")], default="4x256,1x1024",
                        help="batch x tokens, separated by commas; default: 4x256,1x1024")  # fmt: skip
    parser.add_argument("--only", default="fp32,bf16", help="of fp32, bf16, int8 (LoRA, the frozen base multiplied in int8), qlora, separated by commas; default: fp32,bf16")
    parser.add_argument("--modes", default="full,lora", help="full, lora or both; default: full,lora")
    parser.add_argument("--shape", default="smollm2-135m", help="smollm2-135m, tinyllama-1.1b, llama2-7b-4l or story-15m; default: smollm2-135m")
    parser.add_argument("--no-compile", action="store_true", help="peers in eager mode alone")
    args = measure.parse(parser, minutes=60, rounds=3)
    session = measure.Session("Training", args)
    shape, sizes, steps = ("story-15m", [(1, 32)], 1) if args.quick else (args.shape, args.sizes, args.steps)

    runs, rows = [], []  # rows: the title of the table, Sedum's run and name, a peer's run and name or None
    for batch, seq in sizes:
        size = ["--shape", shape, "--batch", str(batch), "--seq", str(seq), "--steps", str(steps), "--threads", str(args.threads)]
        for kind, mode, options, called, peers in PAIRS:
            if kind not in args.only.split(",") or mode not in args.modes.split(","):
                continue
            ours = Run(f"sedum {mode} {called} {batch}x{seq}", [args.sedum, "bench", "train", "--json", "--mode", mode] + options + size)
            runs.append(ours)
            peers = [peer for peer in peers if not (args.no_compile and peer.endswith("compiled"))]
            title = f"{'Full' if mode == 'full' else 'LoRA'}, {batch} × {seq} tokens"
            for peer in peers:
                dtype, _, compiled = peer.partition(" ")
                script = str(measure.SCRIPTS / "torch_training.py")
                command = [args.python, script, "--mode", mode, "--dtype", dtype] + size + ["--compile"] * bool(compiled)
                theirs = Run(f"torch {mode} {peer} {batch}x{seq}", command)
                if theirs not in runs:  # one peer may be met by several rows
                    runs.append(theirs)
                rows.append((title, ours, called, theirs, CALLED[mode, dtype] + (", compiled" if compiled else "")))
            if not peers:
                rows.append((title, ours, called, None, None))
    done = session.interleave(runs)

    speed, memory = (lambda child: child["tok_s"]), (lambda child: child.peak_mib)
    tables = {}
    for title, ours, called, theirs, peer in rows:
        mine = done[ours.name]
        other = done[theirs.name] if theirs else [None] * len(mine)
        tables.setdefault(title, []).append([
            called, measure.median(mine, speed), measure.percent(measure.median(mine, lambda child: child["share"])),
            measure.median(mine, memory), peer, measure.median(other, speed), measure.median(other, memory),
            measure.times(measure.ratio(mine, other, speed)),
        ])  # fmt: skip
    header = ["Sedum", "tokens/s", "of the peak", "peak MiB", "against", "tokens/s", "peak MiB", "ratio"]
    session.note("of the peak: 6 (full) or 4 (LoRA) operations for each weight and token, attention not counted")
    session.finish([Table(title, header, body) for title, body in tables.items()])


if __name__ == "__main__":
    main()
