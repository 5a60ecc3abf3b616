"""A Llama from random weights over given batches, by PyTorch: child of bench/story.py. Prints one JSON line.

    python torch_story.py tokens FOLDER --texts a.txt b.txt --steps 100   # batches.npy (steps, batch, sequence) and held_out.npy from tokenizer.json
    python torch_story.py train FOLDER --steps 100 --dtype autocast --compile --out FOLDER/run
    python torch_story.py evaluate FOLDER MODEL …                          # loss over held_out.npy, in f32

A step is forward, backward, clipping, fused AdamW. autocast keeps f32 masters, as Sedum's `compute: bf16` does.
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch
import transformers

BATCH, SEQUENCE, PEAK, WARMUP = 8, 256, 1.5e-3, 0.05
HELD_OUT = 0.05  # of each text, its end


def tokens(args):
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    train, held_out = [], []
    for path in args.texts:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="ignore")
        cut = int(len(text) * (1 - HELD_OUT))
        train += tokenizer.encode(text[:cut], add_special_tokens=False).ids
        held_out += tokenizer.encode(text[cut:], add_special_tokens=False).ids
    data = np.array(train, dtype=np.int32)
    at = np.random.default_rng(0).integers(0, len(data) - SEQUENCE, (args.steps, BATCH))
    np.save(args.folder / "batches.npy", data[at[..., None] + np.arange(SEQUENCE)])
    whole = len(held_out) // SEQUENCE
    np.save(args.folder / "held_out.npy", np.array(held_out[: whole * SEQUENCE], dtype=np.int32).reshape(whole, SEQUENCE))
    print(json.dumps({"train_tokens": len(train), "held_out_tokens": whole * SEQUENCE}))


def train(args):
    torch.manual_seed(args.seed)
    config = transformers.LlamaConfig(**json.loads((args.folder / "shape.json").read_text()))
    plain = transformers.LlamaForCausalLM(config).train()
    model = torch.compile(plain, dynamic=False) if args.compile else plain
    parameters = list(plain.parameters())
    groups = [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1}, {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95), fused=True)
    warmup = math.ceil(WARMUP * args.steps)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, warmup, args.steps)
    batches = torch.from_numpy(np.load(args.folder / "batches.npy")[: args.steps]).long()
    lines, begin = [], time.perf_counter()
    for step, ids in enumerate(batches):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "autocast"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - start
        lines.append({"step": step + 1, "loss": loss.item(), "tokens_per_second": ids.numel() / seconds})
        if args.seconds and step >= 3 and time.perf_counter() - begin > args.seconds:
            break
    whole = time.perf_counter() - begin
    if args.out:
        plain.save_pretrained(args.out / "model")
        (args.out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (args.out / "run.json").write_text(json.dumps({"version": 1, "base_model": "PyTorch", "config": {"compute": args.dtype, "compiled": args.compile}, "result": {"steps": len(lines)}}))
    speeds = sorted(line["tokens_per_second"] for line in lines[min(2, len(lines) - 1) :])
    print(json.dumps({"seconds": whole, "tok_s": speeds[len(speeds) // 2], "steps": len(lines), "loss": lines[-1]["loss"]}))


def evaluate(args):
    rows = torch.from_numpy(np.load(args.folder / "held_out.npy")).long()
    losses = []
    for path in args.models:
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        with torch.inference_mode():
            losses.append(sum(model(input_ids=some, labels=some).loss.item() * len(some) for some in rows.split(BATCH)) / len(rows))
    print(json.dumps({"losses": losses}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tokens", "train", "evaluate"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--texts", nargs="+")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0, help="stop after so many (at least four steps): to know the speed")
    parser.add_argument("--dtype", choices=["autocast", "fp32"], default="autocast")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    {"tokens": tokens, "train": train, "evaluate": evaluate}[args.what](args)


if __name__ == "__main__":
    main()
