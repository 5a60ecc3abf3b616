"""A LoRA fine-tune by transformers and PEFT on a GGUF base, dequantised: child of bench/job.py. Prints JSON lines.

    python peft_job.py train JOB.json --dtype bf16 --out FOLDER       # one line: seconds, tokens, losses; the adapter into FOLDER
    python peft_job.py evaluate JOB.json NAME=ADAPTER …               # one line: held-out loss of base and adapters, in f32

The job names the model, files of chat rows, and the settings by TrainingArguments' names. Batches are padded to their longest row, as
transformers' collators do. bf16: base in bf16, adapters in f32, which is PEFT's default; autocast: all weights in f32, products in bf16;
f32: all in f32. --group: batches of like length, the longest row's first, as transformers' LengthGroupedSampler makes them.
The loop is written out, so that nothing of a Trainer's logging or saving is counted.
"""

import argparse
import json
import math
import pathlib
import sys
import time

START = time.perf_counter()

import peft
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "golden"))
import model_gguf  # noqa: E402  transformers' own reader loses SmolLM2's splitting of digits

IGNORED = -100
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def encode(file, tokenizer, path, cutoff):
    """(ids, labels) of each row; labels only on the answer and the token that ends it. Both real models speak ChatML."""
    end = file.get("tokenizer.ggml.tokens")[file.get("tokenizer.ggml.eos_token_id")]
    rows = []
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        question, answer = json.loads(line)["messages"]
        prompt = file.chat_prompt([question])
        spoken = len(prompt) + len(answer["content"]) + len(end)
        encoding = tokenizer.encode(prompt + answer["content"] + end + "\n", add_special_tokens=False)
        inside = [last > len(prompt) and first < spoken for first, last in encoding.offsets]
        labels = [i if wanted else IGNORED for i, wanted in zip(encoding.ids, inside)]
        rows.append((encoding.ids[:cutoff], labels[:cutoff]))
    return rows


def batches(rows, size):
    for i in range(0, len(rows), size):
        some = rows[i : i + size]
        longest = max(len(ids) for ids, _ in some)
        pad = lambda values, filler: values + [filler] * (longest - len(values))
        yield {
            "input_ids": torch.tensor([pad(ids, 0) for ids, _ in some]),
            "attention_mask": torch.tensor([pad([1] * len(ids), 0) for ids, _ in some]),
            "labels": torch.tensor([pad(labels, IGNORED) for _, labels in some]),
        }


def grouped(order, rows, size):
    """transformers' get_length_grouped_indices: sorted by length within parts of 50 batches, fewer where there are fewer than 4 parts."""
    part = max(1, min(len(order) // (size * 4), 50)) * size
    parts = [sorted(order[i : i + part], key=lambda r: -len(rows[r][0])) for i in range(0, len(order), part)]
    longest = max(range(len(parts)), key=lambda p: len(rows[parts[p][0]][0]))
    parts[0][0], parts[longest][0] = parts[longest][0], parts[0][0]
    return [row for some in parts for row in some]


def held_out_loss(model, rows, size, autocast):
    """Over all label tokens of all rows."""
    total = count = 0
    model.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for batch in batches(rows, size):
            labels = int((batch["labels"][:, 1:] != IGNORED).sum())
            total += float(model(**batch).loss) * labels
            count += labels
    return total / count


def train(args, job):
    file = model_gguf.File(job["model"])
    tokenizer, cutoff, size = file.tokenizer(), job["cutoff_len"], job["per_device_train_batch_size"]
    rows, held_out = (encode(file, tokenizer, job[name], cutoff) for name in ("train", "eval"))
    autocast = args.dtype == "autocast"
    base = file.model().to(torch.bfloat16 if args.dtype == "bf16" else torch.float32)
    adapter = peft.LoraConfig(r=job["r"], lora_alpha=job["lora_alpha"], lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=LINEARS)
    model = peft.get_peft_model(base, adapter)
    before = held_out_loss(model, held_out, size, autocast)

    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["learning_rate"], weight_decay=0.0, fused=True)
    steps = math.ceil(len(rows) / size)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, math.ceil(job["warmup_ratio"] * steps), steps)
    order = torch.randperm(len(rows)).tolist()
    order = grouped(order, rows, size) if args.group else order
    padded, begin = 0, time.perf_counter()
    for batch in batches([rows[i] for i in order], size):
        padded += batch["input_ids"].numel()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    loop = time.perf_counter() - begin
    after = held_out_loss(model, held_out, size, autocast)
    model.save_pretrained(args.out)
    print(json.dumps({
        "steps": steps, "tokens": sum(len(ids) for ids, _ in rows), "padded_tokens": padded, "loop_s": loop, "setup_s": begin - START,
        "eval_loss_before": before, "eval_loss_after": after,
    }))  # fmt: skip


def evaluate(args, job):
    file = model_gguf.File(job["model"])
    rows, size = encode(file, file.tokenizer(), job["eval"], job["cutoff_len"]), job["per_device_train_batch_size"]
    model = file.model()
    losses = {"base": held_out_loss(model, rows, size, False)}
    for adapter in args.adapters:
        name, path = adapter.split("=", 1)
        tuned = peft.PeftModel.from_pretrained(model, path)
        losses[name] = held_out_loss(tuned, rows, size, False)
        model = tuned.unload()
    print(json.dumps(losses))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training, evaluation = commands.add_parser("train"), commands.add_parser("evaluate")
    for command in (training, evaluation):
        command.add_argument("job", type=pathlib.Path)
        command.add_argument("--threads", type=int, required=True)
    training.add_argument("--dtype", choices=["bf16", "autocast", "f32"], default="bf16")
    training.add_argument("--group", action="store_true")
    training.add_argument("--out", required=True)
    evaluation.add_argument("adapters", nargs="*", metavar="NAME=ADAPTER")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    job = json.loads(args.job.read_text(encoding="utf-8"))
    train(args, job) if args.command == "train" else evaluate(args, job)


if __name__ == "__main__":
    main()
