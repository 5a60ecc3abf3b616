#!/usr/bin/env python3
"""A small real job: one epoch of LoRA (r = 16, every linear layer) over Alpaca rows, by Sedum and by transformers with PEFT, in turn.

    bench/job.py --peers FOLDER --out bench/results/job.md smollm2.gguf alpaca.json

The first rows are trained on, the ones after them held out. Same base (as stored by Sedum, dequantised for PEFT), same token ids,
loss on the answers alone, same batch, schedule and clipping; order of rows and first values of the adapters are each side's own. Sedum
takes rows at their length, transformers pads a batch to its longest. Afterwards both adapters are evaluated once more by the
same program, PEFT in f32. Sedum runs twice: in the peer's precision, and with the frozen base multiplied in int8. "grouped" is PEFT over batches of rows of like length, as transformers' group_by_length makes them.
"""

import argparse
import json
import pathlib
import tempfile

import measure
from measure import Run, Table

PROMPT_BYTES = 300  # rows with longer questions are left out, so that every answer begins within the cut-off: a token has a byte at least
SETTINGS = {
    "r": 16, "lora_alpha": 32, "learning_rate": 3e-4, "lr_scheduler_type": "cosine", "warmup_ratio": 0.05, "max_grad_norm": 1.0,
    "weight_decay": 0.0, "num_train_epochs": 1, "gradient_accumulation_steps": 1,
}  # fmt: skip
PEERS = {  # by precision: the folder of a peer's adapter, its name, its options
    "bf16": {
        "bf16": ("PEFT, base in bf16, adapters f32", ["--dtype", "bf16"]),
        "autocast": ("PEFT, bf16 autocast", ["--dtype", "autocast"]),
        "grouped": ("PEFT, bf16 autocast, grouped", ["--dtype", "autocast", "--group"]),
    },
    "f32": {"f32": ("PEFT, f32", ["--dtype", "f32"]), "grouped": ("PEFT, f32, grouped", ["--dtype", "f32", "--group"])},
}  # fmt: skip


def ours(args):
    """Sedum's runs: the folder, and what its products are computed in."""
    return {"sedum": args.precision, "sedum-int8": "int8"}


def read_rows(path, count):
    """The first rows as chats, (instruction, input) above the answer."""
    chats = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        question = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
        if len(question.encode()) <= PROMPT_BYTES and row["output"].strip():
            chats.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]})
        if len(chats) == count:
            return chats
    raise SystemExit(f"{path} has only {len(chats)} rows with an answer and a question of at most {PROMPT_BYTES} bytes; {count} are wanted")


def write_rows(path, chats):
    path.write_text("".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats), encoding="utf-8")


def prepare(args, folder):
    """The runs, after writing rows, recipe and the peer's job."""
    count, held_out = (2, 1) if args.quick else (args.rows, args.held_out)
    chats = read_rows(args.data, count + held_out)
    if args.quick:
        for chat in chats:
            chat["messages"][1]["content"] = chat["messages"][1]["content"][:60]
    write_rows(folder / "train.jsonl", chats[:count])
    write_rows(folder / "eval.jsonl", chats[count:])
    common = SETTINGS | {"cutoff_len": args.cutoff, "per_device_train_batch_size": args.batch}
    recipe = common | {
        "stage": "sft", "finetuning_type": "lora", "model_name_or_path": str(args.model.resolve()),
        "data": {"train": [str(folder / "train.jsonl")], "eval": [str(folder / "eval.jsonl")]}, "target_modules": "all-linear",
        "gradient_checkpointing": False, "overwrite_output_dir": True, "threads": args.threads,
        "success_gate": not args.quick,  # one update, of learning rate 0, changes nothing
    }  # fmt: skip
    job = common | {"model": str(args.model.resolve()), "train": str(folder / "train.jsonl"), "eval": str(folder / "eval.jsonl")}
    (folder / "job.json").write_text(json.dumps(job, indent=2))
    runs = []
    for name, compute in ours(args).items():
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(recipe | {"compute": compute, "output_dir": str(folder / name)}, indent=2))  # JSON is YAML
        runs.append(Run(f"Sedum {compute}", [args.sedum, "train", str(path), "--json"]))
    for name, (called, options) in PEERS[args.precision].items():
        command = [args.python, str(measure.SCRIPTS / "peft_job.py"), "train", str(folder / "job.json"), *options]
        runs.append(Run(called, command + ["--out", str(folder / name), "--threads", str(args.threads)]))
    return runs


def summary(child):
    """The same keys for either side. Sedum reports events."""
    if "loop_s" in child.lines[-1]:
        return child.lines[-1]
    of = lambda kind: [line for line in child.lines if line["event"] == kind]
    steps, losses = of("step"), [line["eval_loss"] for line in of("eval")]
    tokens = sum(line["tokens"] for line in steps)
    return {
        "steps": len(steps), "tokens": tokens, "padded_tokens": tokens, "loop_s": sum(s["tokens"] / s["tokens_per_second"] for s in steps),
        "eval_loss_before": losses[0], "eval_loss_after": losses[-1],
    }  # fmt: skip


def evaluate_alike(session, args, folder):
    """Held-out loss of base and adapters in f32 by PEFT, by name; empty when there was no time."""
    adapters = {name: folder / name / "adapter" for name in ours(args)} | {name: folder / name for name in PEERS[args.precision]}
    there = [f"{name}={path}" for name, path in adapters.items() if (path / "adapter_config.json").exists()]
    command = [args.python, str(measure.SCRIPTS / "peft_job.py"), "evaluate", str(folder / "job.json"), *there]
    command += ["--threads", str(args.threads)]
    session.commands.append(command)
    try:
        return session.child(command).lines[-1]
    except (TimeoutError, measure.Failed) as failure:
        session.note(f"the adapters were not evaluated alike: {str(failure) or 'time was over'}")
        return {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL.gguf")
    parser.add_argument("data", type=pathlib.Path, metavar="ALPACA.json")
    parser.add_argument("--rows", type=int, default=256, help="trained on; default: 256")
    parser.add_argument("--held-out", type=int, default=64, help="the rows after them; default: 64")
    parser.add_argument("--batch", type=int, default=4, help="rows of an update; default: 4")
    measure.add_precision(parser)
    parser.add_argument("--cutoff", type=int, default=512, help="tokens of a row at most; default: 512")
    args = measure.parse(parser, minutes=40, rounds=1)
    if args.cutoff < PROMPT_BYTES + 100:
        parser.error(f"--cutoff is at least {PROMPT_BYTES + 100}")
    for path in (args.model, args.data):
        if not path.is_file():
            parser.error(f"{path} is no file")
    session = measure.Session("A small job: LoRA on rows", args)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        runs = prepare(args, folder)
        done = session.interleave(runs)
        alike = evaluate_alike(session, args, folder)

    sides, rows = [*ours(args), *PEERS[args.precision]], []
    loop = lambda child: summary(child)["loop_s"]
    for run, name in zip(runs, sides):
        children = done[run.name]
        of = lambda key: measure.median(children, lambda child: summary(child)[key])
        compared = []  # how far either run of Sedum is ahead, in the loop and in the whole
        for mine in runs[: len(ours(args))] if name in PEERS[args.precision] else []:
            both = [measure.ratio(children, done[mine.name], seconds) for seconds in (loop, lambda child: child.seconds)]
            compared.append(" · ".join(measure.times(x) or "–" for x in both))
        losses = [None if x is None else f"{x:.4f}" for x in (of("eval_loss_before"), of("eval_loss_after"), alike.get(name))]
        whole, memory = measure.median(children, lambda child: child.seconds), measure.median(children, lambda child: child.peak_mib)
        rows.append([run.name, of("loop_s"), whole, *(compared or [None] * len(ours(args))), *losses, memory, of("padded_tokens")])
    counts = {(summary(c)["steps"], summary(c)["tokens"]) for children in done.values() for c in children if c}
    if len(counts) > 1:
        session.note(f"the sides did not do the same work: steps and tokens {sorted(counts)}")
    for steps, tokens in counts:
        session.note(f"updates: {steps}, of up to {args.batch} rows; tokens: {tokens:,}")
    if alike:
        session.note(f"the last loss: held-out rows, by PEFT in f32; the base alone has {alike['base']:.4f}")
    session.note("whole command: with loading, encoding and both evaluations; Sedum is ahead by the factors, in training and in the whole command")
    ahead = [f"Sedum {compute} ahead" for compute in ours(args).values()]
    header = ["", "training s", "whole command s", *ahead, "held-out before", "after", "by PEFT in f32", "peak MiB", "tokens with padding"]
    session.finish([Table("", header, rows)])


if __name__ == "__main__":
    main()
