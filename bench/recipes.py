#!/usr/bin/env python3
"""What each recipe costs and reaches: forecast and measured memory, loss from and to, tokens/s. Prints the lines to paste into the recipes.

    bench/recipes.py --model smollm2-135m.gguf --encoder all-minilm-l6-v2 --texts a.txt [recipes/lora.yaml …]

Each recipe runs for --steps updates (24) with its own settings on its own data, or on rows made from the texts where it names files of the
reader's; its base is --model (--encoder of stage embed). Loss is of the first and last quarter of the steps. Figures of speed want a quiet machine.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make_data(folder, texts):
    """texts.txt, pairs.jsonl, judged.jsonl and a tokenizer's input, from the texts' lines."""
    text = "\n".join(p.read_text(encoding="utf-8", errors="ignore") for p in texts)
    (folder / "texts.txt").write_text(text, encoding="utf-8")
    (folder / "stories.txt").write_text(text, encoding="utf-8")
    lines = [line for line in text.splitlines() if 20 < len(line) < 80][:1200]
    rows = list(zip(lines[::3], lines[1::3], lines[2::3]))
    write = lambda name, some: (folder / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some), encoding="utf-8")
    write("pairs.jsonl", [{"prompt": a, "chosen": b, "rejected": c} for a, b, c in rows])
    write("judged.jsonl", [{"prompt": a, "completion": b if i % 2 else c, "label": bool(i % 2)} for i, (a, b, c) in enumerate(rows)])


def settings(args, path):
    """Overrides that make the recipe run here."""
    text = path.read_text(encoding="utf-8")
    stage = re.search(r"^stage: (\w+)", text, re.M)[1]
    over = {"max_steps": args.steps, "save_steps": 0, "logging_steps": 1, "overwrite_output_dir": "true", "success_gate": "false", "output_dir": f"out-{path.stem}"}
    over["threads"] = args.threads
    if re.search(r"^model_name_or_path:", text, re.M):
        over["model_name_or_path"] = str(args.encoder if stage == "embed" else args.model)
    if "teacher_model_name_or_path" in text:
        over["teacher_model_name_or_path"] = str(args.model)
    if re.search(r"^tokenizer_name_or_path: smollm2", text, re.M):
        over["tokenizer_name_or_path"] = str(args.model)
    if stage == "kto":
        over["data.train"] = "judged.jsonl"
    elif stage in ("dpo", "orpo"):
        over["data.train"] = "pairs.jsonl"
    return stage, over


def measure(args, folder, path):
    stage, over = settings(args, path)
    options = [f"{key}={value}" for key, value in over.items()]
    run = lambda *command: subprocess.run([args.sedum, *map(str, command)], cwd=folder, capture_output=True, text=True)
    if stage == "mlm":
        run("tokenizer", "train", "--type", "wordpiece", "--vocab-size", 8000, "--input", "texts.txt", "--out", "my-bert")
    if stage == "seq2seq":
        run("tokenizer", "train", "--type", "unigram", "--vocab-size", 8000, "--input", "texts.txt", "--out", "my-t5")
    if stage == "pretrain":
        run("data", "pack", "--model", args.model, "--input", "stories.txt", "--out", "tokens")
    done = run("train", path, *options, "--json")
    if done.returncode:
        return f"{path.name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}"
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    steps = [e for e in events if e.get("event") == "step"]
    evals = [e["eval_loss"] for e in events if e.get("event") == "eval"]
    losses, quarter = [e["loss"] for e in steps], max(1, len(steps) // 4)
    mean = lambda some: sum(some) / len(some)
    speeds = sorted(e["tokens_per_second"] for e in steps)
    last = events[-1]
    off = 100 * (last["forecast_bytes"] / last["peak_bytes"] - 1)
    held_out = f"; held out {evals[0]:.3f} to {evals[-1]:.3f}" if len(evals) > 1 else ""
    return (f"# Measured ({pathlib.Path(over.get('model_name_or_path', 'its own model')).stem}, {len(steps)} updates, {args.threads} threads): {speeds[len(speeds) // 2]:.0f} tokens/s, "
            f"{last['peak_bytes'] / 2**20:.0f} MiB (forecast {off:+.1f} %), loss {mean(losses[:quarter]):.3f} to {mean(losses[-quarter:]):.3f}{held_out}.")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=pathlib.Path, help="default: all")
    parser.add_argument("--sedum", default=str(ROOT / "build" / "release" / "bin" / "sedum"))
    parser.add_argument("--model", required=True, type=lambda p: pathlib.Path(p).resolve(), help="the base of language models")
    parser.add_argument("--encoder", type=lambda p: pathlib.Path(p).resolve(), help="the base of stage embed")
    parser.add_argument("--texts", nargs="+", required=True, type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sedum-recipes-") as name:
        folder = pathlib.Path(name)
        (folder / "assistants").symlink_to(ROOT / "assistants")
        make_data(folder, args.texts)
        for path in args.recipes or sorted((ROOT / "recipes").glob("*.yaml")):
            if "stage: embed" in path.read_text() and not args.encoder:
                print(f"{path.name}: give --encoder", file=sys.stderr)
                continue
            print(f"{path.name}\n{measure(args, folder, path.resolve())}\n", flush=True)


if __name__ == "__main__":
    main()
