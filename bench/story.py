#!/usr/bin/env python3
"""A 15M Llama from random weights, pre-trained on texts by Sedum and by PyTorch over the same tokens: time, held-out loss, the curve as a picture.

    bench/story.py --peers FOLDER --folder runs/story --out bench/results/story.md a.txt b.txt

A byte-level BPE of 8,000 tokens is trained on the texts; both sides see the same batches of 8 × 256 tokens in the same order, in bf16 with f32
masters (in f32 where the processor has no bf16), with the same schedule and clipping. PyTorch runs eager or compiled, whichever a short trial finds faster (compilation is not counted
in its time). Held-out loss, the last twentieth of each text, is computed of both models by PyTorch in f32. Everything together takes --minutes
(10) at most: the number of steps follows from the trial. The folder receives both runs and `sedum report`'s story.md with its pictures (loss and
tokens/s of both by step).
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import time

import measure
from measure import Table

SHAPE = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 288, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6,
    "num_key_value_heads": 6, "max_position_embeddings": 512, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
}  # fmt: skip
TINY = {**SHAPE, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 8192}
BATCH, SEQUENCE, PEAK, WARMUP = 8, 256, 1.5e-3, 0.05


def peer(args, *arguments):
    command = [args.python, str(measure.SCRIPTS / "torch_story.py"), *map(str, arguments), "--threads", str(args.threads)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def ours(args, steps, name):
    """Seconds of the loop, tokens per second (median)."""
    out = args.folder / name
    recipe = {
        "stage": "pretrain", "finetuning_type": "full", "model": args.shape, "tokenizer_name_or_path": str(args.folder), "output_dir": str(out),
        "data": {"pretokenized": str(args.folder / "batches.npy")}, "max_steps": steps, "per_device_train_batch_size": BATCH, "cutoff_len": SEQUENCE,
        "learning_rate": PEAK, "lr_scheduler_type": "cosine", "warmup_ratio": WARMUP, "weight_decay": 0.1, "adam_beta2": 0.95, "max_grad_norm": 1.0,
        "compute": args.precision, "gradient_checkpointing": False, "shuffle": False, "seed": 0, "threads": args.threads, "overwrite_output_dir": True,
        "success_gate": False,
    }  # fmt: skip
    path = args.folder / f"{name}.json"
    path.write_text(json.dumps(recipe))
    subprocess.run([args.sedum, "train", str(path)], check=True, stdout=subprocess.DEVNULL)
    for checkpoint in out.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    speeds = sorted(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)
    return sum(line["tokens"] / line["tokens_per_second"] for line in lines if "tokens" in line), speeds[len(speeds) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/story"), help="for both runs and the pictures")
    parser.add_argument("--steps", type=int, help="instead of as many as the time allows")
    measure.add_precision(parser)
    args = measure.parse(parser, minutes=10, rounds=1)
    begin = time.monotonic()
    session = measure.Session("A 15M model from scratch", args)  # refuses a busy machine
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    args.shape = TINY if args.quick else SHAPE
    (args.folder / "shape.json").write_text(json.dumps(args.shape))
    subprocess.run([args.sedum, "tokenizer", "train", "--type", "bpe", *[f"--input={p}" for p in args.texts], "--vocab-size", "8000", "--out", str(args.folder)],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    made = peer(args, "tokens", args.folder, "--texts", *[p.resolve() for p in args.texts], "--steps", 8 if args.quick else 2000)
    dtype = ["--dtype", "autocast" if args.precision == "bf16" else "fp32"]
    trial = ["train", args.folder, "--steps", 6, "--seconds", 10, *dtype]
    speeds = {compiled: peer(args, *trial, *["--compile"] * compiled)["tok_s"] for compiled in ((False,) if args.quick else (False, True))}
    compiled = max(speeds, key=speeds.get)
    _, mine = ours(args, 4, "trial")
    shutil.rmtree(args.folder / "trial")
    left = 60 * args.minutes - (time.monotonic() - begin) - 60  # a minute for evaluation and what a compiled run compiles again
    steps = args.steps or (8 if args.quick else min(2000, int(left / (BATCH * SEQUENCE * (1 / mine + 1 / speeds[compiled])))))

    theirs = peer(args, "train", args.folder, "--steps", steps, *dtype, "--out", args.folder / "pytorch", *["--compile"] * compiled)
    seconds, speed = ours(args, steps, "sedum")
    losses = peer(args, "evaluate", args.folder, args.folder / "sedum" / "model", args.folder / "pytorch" / "model")["losses"]
    subprocess.run([args.sedum, "report", str(args.folder / "sedum"), str(args.folder / "pytorch"), "--out", str(args.folder / "story.md")], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        picture = args.out.with_suffix(".svg")
        shutil.copy(args.folder / "story_files" / "curves.svg", picture)
        session.note(f"both by step: ![curves]({picture.name})")
    # A step's median times the steps: a compiled run's compilation is left out.
    their_seconds = steps * BATCH * SEQUENCE / theirs["tok_s"]
    session.note(f"{made['train_tokens']:,} tokens of text; {steps} steps of {BATCH} × {SEQUENCE}; held out: {made['held_out_tokens']:,} tokens, by PyTorch in f32")
    session.note("training s: the loop alone; of PyTorch the median step times the steps, so that compilation is left out")
    session.note(f"Sedum takes {100 * seconds / their_seconds:.0f} % of PyTorch's time")
    kind = "compiled" if compiled else "eager"
    header = ["", "training s", "tokens/s", "held-out loss", "time, PyTorch's as 1"]
    session.finish([Table("", header, [
        [f"Sedum, {args.precision}", seconds, speed, f"{losses[0]:.4f}", f"{seconds / their_seconds:.2f}"],
        [f"PyTorch, {dtype[1]}, {kind}", their_seconds, theirs["tok_s"], f"{losses[1]:.4f}", "1"],
    ])])  # fmt: skip


if __name__ == "__main__":
    main()
