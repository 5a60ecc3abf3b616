#!/usr/bin/env python3
"""The whole table of inference in one run: Sedum against llama.cpp (and transformers), in turn, and what only Sedum measures.

    bench/infer/table.py --peers FOLDER --models FOLDER --out bench/results/inference-table.md smollm2.gguf qwen.gguf

The two files are SmolLM2-135M (mostly Q4_1) and Qwen2.5-0.5B (Q4_K_M). Made beside them, once, in --models: SmolLM2 as Q4_0, random models of 1.1B (Q4_0, Q4_K) and
7B (Q4_0, where the disk has 8 GB and the memory 12). --only decode,prefill,… takes parts; --no-large leaves the 7B out.

| part | what |
|---|---|
| decode | one stream at depth 0 on all models, at 2,048 on the small ones |
| prefill | 512 and 2,048 tokens on the small models |
| streams | 8 and 32 on SmolLM2 Q4_0 and the 0.5B |
| start | start to first token, weights packed before (`sedum compile`), files in the page cache |
| prefix | the first token after a beginning of 1,000 tokens that is cached, against one that is not |
| transformers | generate() on SmolLM2 in f32, Sedum in int8 and in f32 |
| waste | the share of the pages' room that holds nothing, mean over a load of 64 clients (bench/infer/load.py) |
| greedy | int8 against exact mode on 20 prompts (bench/infer/greedy.py) |

One round takes some 12 minutes on two cores; --rounds 3 with --minutes 40 for medians.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import inference  # noqa: E402
import measure  # noqa: E402
from measure import Run, Table  # noqa: E402

PARTS = ["decode", "prefill", "streams", "start", "prefix", "transformers", "waste", "greedy"]


def make_models(args):
    """name -> file; what is not there yet is made."""
    args.models.mkdir(parents=True, exist_ok=True)
    smollm, qwen = args.files
    files = {"SmolLM2 Q4_0": args.models / "smollm2.q4_0.gguf", "SmolLM2 Q4_1": smollm, "0.5B Q4_K_M": qwen}
    if not files["SmolLM2 Q4_0"].exists():
        subprocess.run([args.sedum, "quantize", "--model", smollm, "--type", "q4_0", "--out", files["SmolLM2 Q4_0"]], check=True, stdout=sys.stderr)
    shapes = [("tiny", "q4_0")] if args.quick else [("1.1b", "q4_0"), ("1.1b", "q4_k"), ("7b", "q4_0")]
    for shape, kind in shapes if "decode" in args.only else []:
        file = args.models / f"random-{shape}.{kind}.gguf"
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if shape == "7b" and (args.no_large or memory < 12 << 30 or (not file.exists() and shutil.disk_usage(args.models).free < 8 << 30)):
            continue
        if not file.exists():
            subprocess.run([args.python, HERE / "random_model.py", "--shape", shape, "--type", kind, "--out", file], check=True)
        files[f"{shape.upper()} {kind.upper()}"] = file
    return files


def cases(args):
    """(part, what, name, model, tokens, depth, streams)"""
    small = ["SmolLM2 Q4_0", "SmolLM2 Q4_1", "0.5B Q4_K_M"]
    steps, deep, prompts, crowds = (2, 16, [16], [2]) if args.quick else (48, 2048, [512, 2048], [8, 32])
    all_cases = [("decode", "decode", f"decoding, {m}", m, steps, 0, 1) for m in args.model_files]
    all_cases += [("decode", "decode", f"decoding at {deep}, {m}", m, steps, deep, 1) for m in small]
    all_cases += [("prefill", "prefill", f"prefill of {n}, {m}", m, n, 0, 1) for m in small for n in prompts]
    all_cases += [("streams", "decode", f"{n} streams, {m}", m, max(2, steps // 2), 0, n) for m in (small[0], small[2]) for n in crowds]
    return [case for case in all_cases if case[0] in args.only]


def against_llama(session, args):
    runs, names = [], {}
    flash = ["on"] if args.flash_only else inference.FLASH
    for part, what, name, model, *sizes in cases(args):
        file = args.model_files[model]
        ours = Run(f"sedum, {name}", inference.sedum_command(args, file, what, *sizes))
        theirs = [Run(f"llama.cpp, {name}, flash {f}", inference.llama_command(args, file, what, *sizes, f)) for f in flash]
        runs += [ours, *theirs]
        names[name] = part, ours.name, [run.name for run in theirs]
    done = session.interleave(runs)
    header = ["", "Sedum tokens/s", "llama.cpp, flash", *(["llama.cpp, plain"] if len(flash) > 1 else []), "ratio", "Sedum of the limit", "llama.cpp", "Sedum GB/s",
              "read GB/s", "Sedum peak MiB", "llama.cpp"]  # fmt: skip
    tables = []
    for part in ("decode", "prefill", "streams"):
        rows = [inference.row(name, done[ours], [done[t] for t in theirs]) for name, (p, ours, theirs) in names.items() if p == part]
        if rows:
            tables.append(Table(part, header, rows))
    return tables


def pack(session, args):
    """All weights packed, and on the disk: a run that packs and writes them halves the speed of the seconds that follow."""
    for file in args.model_files.values():
        session.child([args.sedum, "compile", "--json", "--no-tune", "--model", str(file), "--threads", str(args.threads)])
    os.sync()


def start(session, args):
    rows = []
    for model in ("SmolLM2 Q4_0", "0.5B Q4_K_M"):
        file = args.model_files[model]
        ids = " ".join(str(5 + 7 * i) for i in range(32))
        ours = Run(f"sedum start, {model}", [args.sedum, "generate", "--json", "--model", str(file), "--ids", ids, "--max-tokens", "1", "--threads", str(args.threads)])
        anew = Run(f"sedum start, packed anew, {model}", [*ours.command, "--no-pack-cache"])
        llama = Run(f"llama.cpp start, {model}", inference.llama_command(args, file, "start", 32, 0, 1, "on"))
        for run in (ours, llama):  # files into the page cache: some machines drop what was not read for minutes
            session.child(run.command)
        done = session.interleave([ours, anew, llama])
        whole = lambda child: child.seconds  # of the process, from its creation to its end
        theirs = measure.median(done[llama.name], lambda child: child["start_s"])
        mine = measure.median(done[ours.name], whole)
        rows.append([model, mine, measure.median(done[anew.name], whole), theirs, None if not (mine and theirs) else f"{theirs / mine:.2f} ×"])
    return Table("start to first token, s", ["", "Sedum, packed before", "packed anew", "llama.cpp, without Python's start", "ratio"], rows)


def prefix(session, args):
    rows = []
    for model in ("SmolLM2 Q4_0", "0.5B Q4_K_M"):
        child = session.child([args.sedum, "bench", "prefix", "--json", "--model", str(args.model_files[model]), "--tokens", "64" if args.quick else "1000", "--threads", str(args.threads)])
        rows.append([model, child["uncached_s"], child["cached_s"], measure.percent(child["share"])])
    return Table("first token after 1,000 tokens and a question of 16", ["", "uncached s", "cached s", "share"], rows)


def transformers(session, args):
    file = args.model_files["SmolLM2 Q4_1"]
    tokens = "4" if args.quick else "64"
    ours = [Run(f"sedum {c}", [args.sedum, "bench", "decode", "--json", "--model", str(file), "--compute", c, "--tokens", tokens, "--depth", "16", "--threads", str(args.threads)]) for c in ("int8", "f32")]
    peer = Run("transformers f32", [args.python, str(measure.SCRIPTS / "transformers_generate.py"), "--model", str(file), "--tokens", tokens, "--threads", str(args.threads)])
    done = session.interleave([*ours, peer])
    speed = lambda child: child["tok_s"]
    theirs = measure.median(done[peer.name], speed)
    rows = [[run.name, measure.median(done[run.name], speed), theirs, measure.times(measure.ratio(done[run.name], done[peer.name], speed))] for run in ours]
    return Table("SmolLM2 against transformers' generate()", ["", "tokens/s", "transformers f32", "ratio"], rows)


def script(session, args, name, *options):
    """A script of this folder that prints a line of JSON; its exit code may say that a bound was missed."""
    command = [sys.executable, str(HERE / name), "--sedum", args.sedum, "--threads", str(args.threads), *options]
    session.commands.append(command)
    done = subprocess.run(command, capture_output=True, text=True, env=session.environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise measure.Failed(f"{name}: {done.stderr.strip().splitlines()[-1:] or 'no message'}")
    return json.loads(lines[-1]), done.returncode


def waste(session, args):
    result, code = script(session, args, "load.py", "--model", str(args.model_files["SmolLM2 Q4_0"]), "--seconds", "5" if args.quick else "45")
    rows = [[result["clients"], result["requests"], result["errors"], f"{100 * result['kv_wasted_mean']:.1f} %", result["between_tokens_p99_ms"], "all well" if code == 0 else "a bound was missed"]]
    return Table("load", ["clients", "requests", "errors", "KV waste, mean", "between tokens p99 ms", ""], rows)


def greedy(session, args):
    result, code = script(session, args, "greedy.py", "--model", str(args.model_files["SmolLM2 Q4_1"]), *(["--tokens", "4", "--prompts", "2"] if args.quick else []))
    for each in result["parted"]:
        session.note(f"greedy: \"{each['prompt']}\" parts at token {each['at']}, where exact mode prefers its own by {each['gap']} nats")
    rows = [[result["prompts"], result["equal"], len(result["parted"]), result["noise"], result["beyond_noise"]]]
    return Table("greedy int8 against exact mode, 64 tokens", ["prompts", "equal", "part", "noise, nats", "gaps beyond twice the noise"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=pathlib.Path, nargs=2, metavar="MODEL.gguf")
    parser.add_argument("--models", type=pathlib.Path, required=True, help="a folder for the models that are made")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--no-large", action="store_true", help="without the 7B")
    parser.add_argument("--flash-only", action="store_true", help="llama.cpp with flash attention alone: a third less time")
    args = measure.parse(parser, minutes=20, rounds=1)
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"--only {', '.join(unknown)}: the parts are {', '.join(PARTS)}")
    for model in args.files:
        if not model.is_file():
            parser.error(f"{model} is no file")
    args.model_files = make_models(args)
    session = measure.Session("Inference, the whole table", args)
    # What is packed for these runs stays with the models that were made.
    session.environment["SEDUM_PACK_CACHE"] = str(args.models / "packed")
    try:
        pack(session, args)
    except (measure.Failed, TimeoutError) as failure:
        session.note(f"weights were not packed before: {str(failure) or 'time was over'}")
    tables = against_llama(session, args)
    for part in (start, prefix, transformers, waste, greedy):
        if part.__name__ not in args.only:
            continue
        try:
            tables.append(part(session, args))
        except (measure.Failed, TimeoutError) as failure:
            session.note(f"{part.__name__} is missing: {str(failure) or 'time was over'}")
    session.note("the limit: of prefill the int8 peak, without embedding and head; of decoding the read bandwidth, measured beside each")
    session.finish(tables)


if __name__ == "__main__":
    main()
