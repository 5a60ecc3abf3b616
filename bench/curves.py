#!/usr/bin/env python3
"""Loss curves in bf16 beside PyTorch's, three seeds of each kind of run: full, 8-bit AdamW, LoRA, DoRA, NF4, DPO.

    bench/curves.py --peers FOLDER --out runs/curves one.txt other.txt

Both sides start from the same weights and adapters and see the same batches in the same order; a seed is another start and other batches. Of
each kind it says how far Sedum's loss is from PyTorch's (autocast) over the last third of the steps, mean and largest over the seeds; what
PyTorch's own rounding does (autocast against f32); and the noise, PyTorch's standard deviation between seeds. Exit code 1 when a mean
difference is beyond twice what PyTorch's rounding does and beyond a fifth of the noise. The folder receives both sides' curves as runs;
`sedum report` draws them: curves.md and its pictures. No timing: a busy machine does not matter.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = ROOT / "bench" / "peers" / "torch_curves.py"
KINDS = {  # peak learning rate, and what a recipe says beyond the rest
    "full": (2e-3, {"finetuning_type": "full"}),
    "adamw_8bit": (2e-3, {"finetuning_type": "full", "optim": "adamw_8bit"}),
    "lora": (4e-3, {"finetuning_type": "lora"}),
    "dora": (4e-3, {"finetuning_type": "lora"}),
    "nf4": (4e-3, {"finetuning_type": "qlora"}),
    "dpo": (2e-4, {"finetuning_type": "full", "stage": "dpo", "pref_beta": 0.1}),
}


def peer(args, *arguments):
    command = [args.python, str(PEER), *map(str, arguments), "--steps", str(args.steps), "--threads", str(args.threads)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def ours(args, kind, seed, compute="bf16"):
    rate, more = KINDS[kind]
    folder, data = args.out, args.out / "start"
    recipe = {
        "stage": "pretrain", "output_dir": str(folder / f"{kind}{seed}-sedum"), "compute": compute, "learning_rate": rate, "warmup_steps": 10,
        "lr_scheduler_type": "cosine", "cutoff_len": 256, "weight_decay": 0.0, "shuffle": False, "threads": args.threads,
        "per_device_train_batch_size": 8, "max_steps": args.steps, "overwrite_output_dir": True, "success_gate": False,
        "gradient_checkpointing": False, **more,
    }  # fmt: skip
    recipe["model_name_or_path"] = str(data / (f"random{seed}" if kind in ("full", "adamw_8bit") else "pretrained"))
    if kind == "dpo":
        recipe["data"] = {"train": [str(data / f"pairs{seed}.jsonl")]}
    else:
        recipe["data"] = {"pretokenized": str(data / f"{'text' if kind in ('full', 'adamw_8bit') else 'other'}{seed}.npy")}
    if more["finetuning_type"] != "full":
        recipe["adapter_name_or_path"] = str(data / f"{kind}{seed}")
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    subprocess.run([args.sedum, "train", str(path)], check=True, stdout=subprocess.DEVNULL)
    lines = (folder / f"{kind}{seed}-sedum" / "metrics.jsonl").read_text().splitlines()
    for part in ("model", "adapter"):
        shutil.rmtree(folder / f"{kind}{seed}-sedum" / part, ignore_errors=True)
    for checkpoint in (folder / f"{kind}{seed}-sedum").glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return [json.loads(line)["loss"] for line in lines if '"loss"' in line]


def theirs(args, kind, seed, dtype):
    losses = peer(args, "train", args.out / "start", "--kind", kind, "--seed", seed, "--dtype", dtype)["loss"]
    folder = args.out / f"{kind}{seed}-pytorch-{dtype}"
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": i + 1, "loss": loss}) + "\n" for i, loss in enumerate(losses)))
    (folder / "run.json").write_text(json.dumps({"version": 1, "base_model": "pytorch", "config": {"compute": dtype}, "result": {"steps": len(losses)}}))
    return losses


def last_third(losses):
    return statistics.fmean(losses[-max(1, len(losses) // 3) :])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs=2, type=pathlib.Path, help="a text to learn, and another to be fine-tuned on")
    parser.add_argument("--sedum", default=str(ROOT / "build" / "release" / "bin" / "sedum"))
    parser.add_argument("--peers", default=sys.executable, help="the folder made by bench/peers.sh, or its Python")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/curves"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    peers = pathlib.Path(args.peers)
    args.python = str(peers / "bin" / "python") if peers.is_dir() else args.peers
    args.out.mkdir(parents=True, exist_ok=True)
    peer(args, "prepare", args.out / "start", "--texts", *[p.resolve() for p in args.texts], "--seeds", args.seeds)
    print("| run | PyTorch bf16 | Sedum bf16 | apart, mean | largest | PyTorch's rounding | noise between seeds |\n|---|---|---|---|---|---|---|")
    wrong, figures = [], {}
    for kind in args.kinds:
        mine, bf16, f32 = [], [], []
        for seed in range(args.seeds):
            bf16.append(theirs(args, kind, seed, "bf16"))
            f32.append(theirs(args, kind, seed, "fp32"))
            mine.append(ours(args, kind, seed))
        end = lambda curves: [last_third(losses) for losses in curves]
        apart = [a - b for a, b in zip(end(mine), end(bf16))]
        rounding = [a - b for a, b in zip(end(bf16), end(f32))]
        noise = statistics.stdev(end(bf16)) if args.seeds > 1 else 0.0
        mean, most, own = statistics.fmean(apart), max(map(abs, apart)), max(map(abs, rounding))
        if abs(mean) > 2 * own and abs(mean) > 0.2 * noise:
            wrong.append(kind)
        figures[kind] = {"sedum": end(mine), "pytorch_bf16": end(bf16), "pytorch_f32": end(f32)}
        show = lambda values: f"{statistics.fmean(values):.4f}"
        print(f"| {kind} | {show(end(bf16))} | {show(end(mine))} | {mean:+.4f} | {most:.4f} | {own:.4f} | {noise:.4f} |", flush=True)
    (args.out / "curves.json").write_text(json.dumps(figures, indent=1) + "\n")
    runs = [str(args.out / f"{kind}0-{side}") for kind in args.kinds for side in ("sedum", "pytorch-bf16")]
    subprocess.run([args.sedum, "report", *runs, "--out", str(args.out / "curves.md")], check=True, stdout=subprocess.DEVNULL)
    if wrong:
        sys.exit(f"not within the noise: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
