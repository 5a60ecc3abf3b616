#!/usr/bin/env python3
"""Kinds of fine-tuning by PEFT and kinds of runs by PyTorch, in f32: for tests/parity/kinds_test.cc.

    train_kinds.py tests/golden

Needs bitsandbytes, numpy, peft, safetensors, torch, transformers. Reads the tiny models of tests/golden/models and writes to tests/golden/kinds:
for each adapter of ADAPTERS its folder before training (NAME/), NAME.json (loss and gradient norm of 20 steps over batches.npy) and
NAME.logits.npy (on the first batch, after them); untied/, an adapter that PEFT made with embeddings of its own on a tied model, and
its logits; nf4_base/, a model, and nf4, LoRA on its weights in NF4; pairs.jsonl and judged.jsonl, and STAGE.json for each of STAGES: the losses written out below, on rows one at a time.
"""

import argparse
import json
import pathlib
import shutil

import numpy as np
import peft
import torch
import torch.nn.functional as F
import transformers

STEPS, BATCH, SEQUENCE = 20, 3, 24
RATE = 5e-3
ADAPTERS = {
    "dora": dict(r=4, lora_alpha=8, target_modules="all-linear", use_dora=True),
    "rslora_bias": dict(r=4, lora_alpha=8, target_modules=r".*\.(q|v|down)_proj", use_rslora=True, bias="all"),
    "saved": dict(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj"], bias="lora_only", modules_to_save=["embed_tokens", "lm_head"]),
    "patterns": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "mlp.up_proj"], rank_pattern={"v_proj": 2, "layers.1.mlp.up_proj": 6},
                     alpha_pattern={"q_proj": 3}, exclude_modules=["layers.2.self_attn.q_proj"]),
    "dora_norms": dict(r=4, lora_alpha=8, target_modules=["k_proj", "gate_proj"], use_dora=True, use_rslora=True, modules_to_save=["layernorm"]),
}
ANSWERS = [
    ("How often shall I water it?", "When the soil is dry.", "Every day."),
    ("多肉怎么浇水？", "土干透了再浇。", "每天浇水。"),
    ("Soft leaves?", "They ask for water, or for less of it.", "No."),
    ("Which soil?", "Loose soil.", "Any soil will do, the more water it holds the better."),
    ("Sun?", "Yes, let it have light.", "Keep it dark"),
    ("What are leaves for?", "They store water.", "For show."),
]
STAGES = ["dpo", "dpo_smoothed", "ipo", "hinge", "simpo", "orpo", "kto", "distill", "smoothed"]


def load(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def optimizer_of(model, rate=RATE):
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0), parameters


def update(optimizer, parameters, curve, loss):
    norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    curve["loss"].append(loss)
    curve["grad_norm"].append(norm.item())
    optimizer.step()
    optimizer.zero_grad()


def write(path, curve):
    path.write_text("{\n" + ",\n".join(f' "{k}": {json.dumps(v)}' for k, v in curve.items()) + "\n}\n")


def save_adapter(model, folder):
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = ""  # no place of the machine that made it
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def adapted(base, options, seed):
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not p.requires_grad:
                continue
            noise = torch.randn(p.shape, generator=generator)
            if "lora_A" in name:
                p.copy_(0.3 * noise)
            elif "lora_B" in name:
                p.copy_(0.05 * noise)
            else:  # magnitudes, biases, whole layers: away from where the base has them
                p.add_(0.05 * noise)
    return model


def logits_of(model, ids):
    model.eval()
    with torch.inference_mode():
        return model(torch.from_numpy(ids).long()).logits.numpy()


def nf4(root, out):
    """LoRA on weights that bitsandbytes took to NF4 with double quantisation and back: QLoRA's arithmetic in f32. Rows of multiples of 64."""
    import bitsandbytes

    config = transformers.LlamaConfig(vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True)
    torch.manual_seed(3)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape)
            p.copy_(1 + 0.2 * noise if p.dim() == 1 else noise * 0.7 / p.shape[1] ** 0.5)
    model.to(torch.bfloat16).save_pretrained(out / "nf4_base")
    (out / "nf4_base" / "generation_config.json").unlink(missing_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(root / "models/llama" / name, out / "nf4_base")
    model = load(out / "nf4_base")
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("proj.weight"):
                codes, state = bitsandbytes.functional.quantize_4bit(p, blocksize=64, compress_statistics=True, quant_type="nf4")
                p.copy_(bitsandbytes.functional.dequantize_4bit(codes, state))
    train_adapter(model, out, "nf4", dict(r=4, lora_alpha=8, target_modules="all-linear"), np.load(out / "batches.npy"), 7)


def train_adapter(base, out, name, options, batches, seed):
    model = adapted(base, options, seed)
    save_adapter(model, out / name)
    optimizer, parameters = optimizer_of(model)
    curve = {"loss": [], "grad_norm": []}
    model.train()
    for ids in torch.from_numpy(batches).long():
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        update(optimizer, parameters, curve, loss.item())
    write(out / f"{name}.json", curve)
    np.save(out / f"{name}.logits.npy", logits_of(model, batches[0]))
    print(f"{name}: loss {curve['loss'][0]:.3f} to {curve['loss'][-1]:.3f}")


def adapters(root, out):
    rng = np.random.default_rng(5)
    start, step = rng.integers(0, 320, (STEPS, BATCH, 1)), rng.integers(1, 4, (STEPS, BATCH, 1))
    batches = ((start + step * np.arange(SEQUENCE)) % 320).astype(np.int32)
    np.save(out / "batches.npy", batches)
    for number, (name, options) in enumerate(ADAPTERS.items()):
        train_adapter(load(root / "models/qwen2"), out, name, options, batches, number)
    model = adapted(load(root / "models/qwen2_tied"), dict(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens"]), 9)
    save_adapter(model, out / "untied")
    np.save(out / "untied.logits.npy", logits_of(model, batches[0]))


class Rows:
    """Ids and labels as a chat template and its assistant's part give them."""

    def __init__(self, folder):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def row(self, question, answer):
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        prompt = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(text + answer + "<|im_end|>\n", add_special_tokens=False)["input_ids"]
        assert ids[: len(prompt)] == prompt
        last = len(ids) - 1 - ids[::-1].index(self.end)
        labels = [-100] * len(prompt) + ids[len(prompt) : last + 1] + [-100] * (len(ids) - last - 1)
        return torch.tensor([ids]), torch.tensor([labels])


def log_probs(model, row):
    """Σ log p over the answer's tokens, and their number."""
    ids, labels = row
    logits = model(ids).logits[:, :-1].log_softmax(-1)
    target = labels[:, 1:]
    mask = target != -100
    return (logits.gather(-1, target.clamp(min=0)[..., None])[..., 0] * mask).sum(), int(mask.sum())


def pair_loss(kind, policy, reference, rows, beta, figures):
    (w, nw), (l, nl) = (log_probs(policy, r) for r in rows)
    with torch.no_grad():
        (rw, _), (rl, _) = (log_probs(reference, r) for r in rows)
    ratio = (w - rw) - (l - rl)
    figures["rewards/margins"].append(float(beta * ratio))
    figures["rewards/accuracies"].append(float(ratio > 0))
    if kind == "dpo":
        return -F.logsigmoid(beta * ratio)
    if kind == "dpo_smoothed":
        return -0.8 * F.logsigmoid(beta * ratio) - 0.2 * F.logsigmoid(-beta * ratio)
    if kind == "hinge":
        return torch.relu(1 - beta * ratio)
    if kind == "ipo":
        return ((w - rw) / nw - (l - rl) / nl - 1 / (2 * beta)) ** 2
    if kind == "simpo":
        return -F.logsigmoid(beta * (w / nw - l / nl) - 0.5)
    w, l = w / nw, l / nl  # orpo
    odds = (w - l) - (torch.log1p(-torch.exp(w)) - torch.log1p(-torch.exp(l)))
    return -w - beta * F.logsigmoid(odds)


def mean_figures(figures):
    return {k: sum(v) / len(v) for k, v in figures.items()}


def preferences(kind, root, rows):
    """Twelve updates of four pairs, in order, two micro-batches each in Sedum."""
    policy, reference = load(root / "models/llama"), load(root / "models/llama").eval()
    # A square of a difference: at the usual rate the loss leaps to nine times its start and magnifies what rounding does.
    optimizer, parameters = optimizer_of(policy, RATE / 5 if kind == "ipo" else RATE)
    curve = {"loss": [], "grad_norm": []}
    pairs = [(rows.row(q, a), rows.row(q, b)) for q, a, b in ANSWERS]
    beta = {"ipo": 0.5, "simpo": 2.0}.get(kind, 0.3)
    for step in range(12):
        chosen = pairs[:4] if step % 2 == 0 else pairs[4:]  # six pairs in order: four, then the last two
        total, figures = 0.0, {"rewards/margins": [], "rewards/accuracies": []}
        for pair in chosen:
            loss = pair_loss(kind, policy, reference, pair, beta, figures) / len(chosen)
            loss.backward()
            total += loss.item()
        update(optimizer, parameters, curve, total)
        if kind == "dpo":
            for key, value in mean_figures(figures).items():
                curve.setdefault(key, []).append(value)
    return curve


def judged_rows():
    return [(q, a, True) if i % 3 != 1 else (q, b, False) for i, (q, a, b) in enumerate(ANSWERS)]


def kto(root, rows):
    policy, reference = load(root / "models/llama"), load(root / "models/llama").eval()
    optimizer, parameters = optimizer_of(policy)
    curve = {"loss": [], "grad_norm": [], "kl": []}
    judged = judged_rows()
    own = [rows.row(q, a) for q, a, _ in judged]
    other = [rows.row(q, judged[i - 1][1]) for i, (q, _, _) in enumerate(judged)]
    beta = 0.3
    for step in range(12):
        chosen = range(4) if step % 2 == 0 else range(4, 6)
        with torch.no_grad():
            kl = max(0.0, sum(float(log_probs(policy, other[i])[0] - log_probs(reference, other[i])[0]) for i in chosen) / len(chosen))
        total = 0.0
        for i in chosen:
            with torch.no_grad():
                base = log_probs(reference, own[i])[0]
            ratio = log_probs(policy, own[i])[0] - base
            wanted = judged[i][2]
            loss = (1 - torch.sigmoid(beta * (ratio - kl))) if wanted else 1.2 * (1 - torch.sigmoid(beta * (kl - ratio)))
            (loss / len(chosen)).backward()
            total += loss.item() / len(chosen)
        curve["kl"].append(kl)
        update(optimizer, parameters, curve, total)
    return curve


def supervised(kind, root, rows):
    """distill: from another tiny model of the same tokens. smoothed: label smoothing. Answers alone carry a loss, weighted by tokens."""
    model = load(root / "models/llama")
    teacher = load(root / "models/llama_linear").eval()
    optimizer, parameters = optimizer_of(model)
    curve = {"loss": [], "grad_norm": []}
    data = [rows.row(q, a) for q, a, _ in ANSWERS]
    temperature, alpha, epsilon = 3.0, 0.7, 0.1
    for step in range(12):
        chosen = data[:4] if step % 2 == 0 else data[4:]
        count = sum(int((labels[:, 1:] != -100).sum()) for _, labels in chosen)
        total = 0.0
        for ids, labels in chosen:
            mask = labels[0, 1:] != -100
            logits, target = model(ids).logits[0, :-1][mask], labels[0, 1:][mask]
            if kind == "smoothed":
                loss = F.cross_entropy(logits, target, label_smoothing=epsilon, reduction="sum")
            else:
                with torch.no_grad():
                    theirs = teacher(ids).logits[0, :-1][mask]
                soft = F.kl_div((logits / temperature).log_softmax(-1), (theirs / temperature).log_softmax(-1), reduction="sum", log_target=True)
                loss = alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(logits, target, reduction="sum")
            (loss / count).backward()
            total += loss.item() / count
        update(optimizer, parameters, curve, total)
    return curve


def stages(root, out):
    rows = Rows(root / "models/llama")
    lines = [{"prompt": q, "chosen": a, "rejected": b} for q, a, b in ANSWERS]
    (out / "pairs.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    lines = [{"prompt": q, "completion": a, "label": wanted} for q, a, wanted in judged_rows()]
    (out / "judged.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    lines = [{"instruction": q, "output": a} for q, a, _ in ANSWERS]
    (out / "rows.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    for kind in STAGES:
        if kind == "kto":
            curve = kto(root, rows)
        elif kind in ("distill", "smoothed"):
            curve = supervised(kind, root, rows)
        else:
            curve = preferences(kind, root, rows)
        write(out / f"{kind}.json", curve)
        print(f"{kind}: loss {curve['loss'][0]:.4f} to {curve['loss'][-1]:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--only", choices=["adapters", "nf4", "stages"])
    args = parser.parse_args()
    root = args.root
    torch.set_num_threads(1)
    torch.manual_seed(0)
    out = root / "kinds"
    out.mkdir(exist_ok=True)
    for name, part in {"adapters": lambda: adapters(root, out), "nf4": lambda: nf4(root, out), "stages": lambda: stages(root, out)}.items():
        if args.only in (None, name):
            part()


if __name__ == "__main__":
    main()
