"""Loss curves by PyTorch, PEFT and bitsandbytes: child of bench/curves.py. Prints one JSON line per run as it ends.

    python torch_curves.py prepare FOLDER                              # the models and batches that both sides start from
    python torch_curves.py train FOLDER --kind dora --seed 2 --dtype bf16 --threads 2

bf16 is autocast, which keeps f32 masters as Sedum's `compute: bf16` does. 8-bit AdamW is written out here over bitsandbytes' block-wise
codes, since its own optimizer needs a GPU. The NF4 base is quantised by bitsandbytes and multiplied dequantised, as it does itself.
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "tests" / "golden" / "models" / "llama"
sys.path.insert(0, str(ROOT / "tools" / "golden"))
SHAPE = dict(hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, vocab_size=320,
             max_position_embeddings=256, tie_word_embeddings=True)  # fmt: skip
BATCH, SEQUENCE, WARMUP = 8, 64, 10
KINDS = {  # peak learning rate, adapter
    "full": (2e-3, None),
    "adamw_8bit": (2e-3, None),
    "lora": (4e-3, {}),
    "dora": (4e-3, {"use_dora": True}),
    "nf4": (4e-3, {}),
    "dpo": (2e-4, None),
}


def batches_of(text, seed, steps):
    """Windows of bytes, which are the first 256 ids."""
    data = np.frombuffer(text, dtype=np.uint8)
    at = np.random.default_rng(seed).integers(0, len(data) - SEQUENCE, (steps, BATCH))
    return data[at[..., None] + np.arange(SEQUENCE)].astype(np.int32)


def pairs_of(text, seed, count):
    """Continuations: the text's own is chosen, another place's is rejected."""
    lines = [line for line in text.decode("utf-8", "ignore").split("\n") if 20 < len(line) < 50 and line.isascii()]
    rng = np.random.default_rng(seed)
    at = rng.integers(0, len(lines) - 1, count)
    other = rng.integers(0, len(lines), count)
    for k in range(count):  # a pair of two alike prefers nothing
        while lines[other[k]] == lines[at[k] + 1]:
            other[k] = rng.integers(0, len(lines))
    return [{"prompt": lines[i], "chosen": lines[i + 1], "rejected": lines[j]} for i, j in zip(at, other)]


def prepare(args):
    folder = args.folder
    base, other = (pathlib.Path(p).read_bytes() for p in args.texts)
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for ids in torch.from_numpy(batches_of(base, 99, args.steps)).long():
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    save(model, folder / "pretrained")
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        save(transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)), folder / f"random{seed}")
        np.save(folder / f"text{seed}.npy", batches_of(base, seed, args.steps))
        np.save(folder / f"other{seed}.npy", batches_of(other, seed, args.steps))
        rows = pairs_of(other, seed, BATCH * args.steps)
        (folder / f"pairs{seed}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for kind, (_, options) in KINDS.items():
            if options is not None:
                adapted(load(folder / "pretrained"), options, seed).save_pretrained(folder / f"{kind}{seed}")
    print(json.dumps({"prepared": args.seeds}))


def save(model, folder):
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((TOKENIZER / name).read_bytes())


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def adapted(base, options, seed):
    import peft

    torch.manual_seed(seed)
    return peft.get_peft_model(base, peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM", **options))


class AdamW8bit:
    """AdamW whose moments are kept in bitsandbytes' 8-bit codes, in blocks of 256; below 4,096 values in f32."""

    def __init__(self, parameters, betas=(0.9, 0.999), eps=1e-8):
        import bitsandbytes.functional as functional

        self.f, self.parameters, self.betas, self.eps, self.steps = functional, parameters, betas, eps, 0
        self.maps = [functional.create_dynamic_map(signed=True), functional.create_dynamic_map(signed=False)]
        self.states = [[self.packed(torch.zeros_like(p), i) for i in range(2)] for p in parameters]

    def packed(self, values, which):
        if values.numel() < 4096:
            return values
        return self.f.quantize_blockwise(values.reshape(-1), code=self.maps[which], blocksize=256)

    def unpacked(self, state, like):
        return state if torch.is_tensor(state) else self.f.dequantize_blockwise(*state).reshape(like.shape)

    @torch.no_grad()
    def step(self, rate):
        self.steps += 1
        for p, states in zip(self.parameters, self.states):
            m, v = (self.unpacked(state, p) for state in states)
            m = self.betas[0] * m + (1 - self.betas[0]) * p.grad
            v = self.betas[1] * v + (1 - self.betas[1]) * p.grad**2
            root = (v / (1 - self.betas[1] ** self.steps)).sqrt() + self.eps
            p -= rate * (m / (1 - self.betas[0] ** self.steps)) / root
            states[:] = [self.packed(m, 0), self.packed(v, 1)]
            p.grad = None


def through_nf4(model):
    import bitsandbytes.functional as functional

    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("proj.weight"):
                codes, state = functional.quantize_4bit(p, blocksize=64, compress_statistics=True, quant_type="nf4")
                p.copy_(functional.dequantize_4bit(codes, state))
    return model


def build(args):
    folder, kind = args.folder, args.kind
    if kind in ("full", "adamw_8bit"):
        return load(folder / f"random{args.seed}")
    base = load(folder / "pretrained")
    if KINDS[kind][1] is None:
        return base
    import peft

    return peft.PeftModel.from_pretrained(through_nf4(base) if kind == "nf4" else base, folder / f"{kind}{args.seed}", is_trainable=True)


def dpo_losses(args, policy):
    import train_kinds

    reference, rows = load(args.folder / "pretrained").eval(), train_kinds.Rows(TOKENIZER)
    pairs = [json.loads(line) for line in (args.folder / f"pairs{args.seed}.jsonl").read_text().splitlines()]
    figures = {"rewards/margins": [], "rewards/accuracies": []}
    for begin in range(0, len(pairs), BATCH):
        some = pairs[begin : begin + BATCH]
        total = 0.0
        for pair in some:
            encoded = [rows.row(pair["prompt"], pair[which]) for which in ("chosen", "rejected")]
            with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
                loss = train_kinds.pair_loss("dpo", policy, reference, encoded, 0.1, figures) / len(some)
            loss.backward()
            total += loss.item()
        yield total


def text_losses(args, model):
    name = "text" if args.kind in ("full", "adamw_8bit") else "other"
    for ids in torch.from_numpy(np.load(args.folder / f"{name}{args.seed}.npy")).long():
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        yield loss.item()


def train(args):
    model = build(args).train()
    peak, _ = KINDS[args.kind]
    parameters = [p for p in model.parameters() if p.requires_grad]
    eight = AdamW8bit(parameters) if args.kind == "adamw_8bit" else None
    optimizer = None if eight else torch.optim.AdamW(parameters, lr=peak, weight_decay=0.0)
    losses = []
    for step, loss in enumerate((dpo_losses if args.kind == "dpo" else text_losses)(args, model)):
        losses.append(loss)
        rate = peak * (min(1, step / WARMUP) if step < WARMUP else 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (args.steps - WARMUP))))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        if eight:
            eight.step(rate)
            continue
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    print(json.dumps({"loss": losses}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "train"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--texts", nargs=2, help="of prepare: two texts, to learn and to be fine-tuned on")
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    {"prepare": prepare, "train": train}[args.what](args)


if __name__ == "__main__":
    main()
