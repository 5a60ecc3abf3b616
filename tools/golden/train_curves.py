#!/usr/bin/env python3
"""Training curves by PyTorch and PEFT on a two-layer Llama in f32: for tests/parity/training_test.cc.

    train_curves.py tests/golden/train

Needs numpy, peft, torch, transformers. Writes model/ (where both runs start), batches.npy (steps, batch, sequence),
full.json and lora.json (loss, gradient norm before clipping and learning rate of each step), lora_start/ and lora_end/
(PEFT folders before and after), and on the first batch full.logits.npy and lora.logits.npy of the trained models. Says how far
the same run in f64 is from it: what rounding alone does, to compare the test's tolerance with.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import peft
import torch
import transformers

STEPS, BATCH, SEQUENCE, WARMUP = 50, 4, 24, 5
CONFIG = transformers.LlamaConfig(
    vocab_size=200,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    tie_word_embeddings=False,
)
RUNS = {
    "full": dict(learning_rate=5e-3, weight_decay=0.1, max_grad_norm=1.0),
    "lora": dict(learning_rate=1e-2, weight_decay=0.1, max_grad_norm=1.0),
}


def make_batches():
    """Noisy arithmetic progressions: something to learn, and never quite."""
    rng = np.random.default_rng(3)
    start = rng.integers(0, CONFIG.vocab_size, (STEPS, BATCH, 1))
    step = rng.integers(1, 4, (STEPS, BATCH, 1))
    ids = (start + step * np.arange(SEQUENCE)) % CONFIG.vocab_size
    noise = rng.integers(0, CONFIG.vocab_size, ids.shape)
    return np.where(rng.random(ids.shape) < 0.1, noise, ids).astype(np.int32)


def make_model():
    generator = torch.Generator().manual_seed(5)
    model = transformers.LlamaForCausalLM(CONFIG)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.2 * noise if p.dim() == 1 else noise * 0.7 / math.sqrt(p.shape[1]))
    return model


def train(model, batches, learning_rate, weight_decay, max_grad_norm):
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8)
    scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    curve = {"loss": [], "grad_norm": [], "learning_rate": []}
    for ids in torch.from_numpy(batches).long():
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        curve["loss"].append(loss.item())
        curve["grad_norm"].append(norm.item())
        curve["learning_rate"].append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return curve


def add_adapter(model):
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:  # B is not zero, so that the first step already shows both gradients
                scale = 0.3 if "lora_A" in name else 0.02
                p.copy_(scale * torch.randn(p.shape, generator=generator))
    return model


def save_adapter(model, folder):
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = ""  # no place of the machine that made it
    config["target_modules"].sort()  # a set: in another order each time
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def deviation(curve, exact):
    return {k: max(abs(a - b) / abs(b) for a, b in zip(curve[k], exact[k]) if b) for k in ("loss", "grad_norm")}


def write_curve(path, name, curve):
    options = {"peak_learning_rate": RUNS[name]["learning_rate"], **{k: v for k, v in RUNS[name].items() if k != "learning_rate"}}
    lines = [f' "{k}": {json.dumps(v)}' for k, v in {**options, "warmup_steps": WARMUP, **curve}.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batches = make_batches()
    np.save(out / "batches.npy", batches)
    make_model().save_pretrained(out / "model")
    (out / "model" / "generation_config.json").unlink(missing_ok=True)
    for name, options in RUNS.items():
        build = make_model if name == "full" else lambda: add_adapter(make_model())
        model = build()
        if name == "lora":
            save_adapter(model, out / "lora_start")
        curve = train(model, batches, **options)
        exact = train(build().double(), batches, **options)
        print(f"{name}: loss {curve['loss'][0]:.3f} to {curve['loss'][-1]:.3f}, grad_norm {min(curve['grad_norm']):.2f} to "
              f"{max(curve['grad_norm']):.2f}, f32 against f64: {deviation(curve, exact)}")
        write_curve(out / f"{name}.json", name, curve)
        if name == "lora":
            save_adapter(model, out / "lora_end")
        model.eval()
        with torch.inference_mode():
            np.save(out / f"{name}.logits.npy", model(torch.from_numpy(batches[0]).long()).logits.numpy())


if __name__ == "__main__":
    main()
