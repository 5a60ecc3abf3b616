#!/usr/bin/env python3
"""Fifty steps of each optimizer by PyTorch and transformers, in f32: for tests/parity/optimizers_test.cc.

    train_optimizers.py tests/golden/train/optimizers.json

Needs numpy, torch (2.9 or later), transformers. The model and the batches are those of train_curves.py. Each entry: the recipe's keys, and loss
and gradient norm of each step. Says how far the same run in f64 is from it. PyTorch's Muon orthogonalises in bf16; here in the
gradients' own type, which is what `compute: f32` means: bf16 alone moves the curve by what is printed.
"""

import inspect
import json
import pathlib
import sys

import torch
import torch.optim._muon as muon
import transformers

import train_curves

STEPS, WARMUP = train_curves.STEPS, train_curves.WARMUP
RUNS = [  # recipe keys beside learning_rate, weight_decay, max_grad_norm
    dict(optim="sgd", learning_rate=0.6, weight_decay=0.01, max_grad_norm=1.0),
    dict(optim="sgd", momentum=0.9, learning_rate=0.1, weight_decay=0.01, max_grad_norm=1.0),
    dict(optim="sgd", momentum=0.8, nesterov=True, learning_rate=0.1, weight_decay=0.05, max_grad_norm=0.0),
    dict(optim="adam", learning_rate=4e-3, weight_decay=0.02, max_grad_norm=1.0),
    dict(optim="adamw", adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6, learning_rate=4e-3, weight_decay=0.3, max_grad_norm=1.0),
    dict(optim="adafactor", learning_rate=4e-3, weight_decay=0.1, max_grad_norm=1.0),
    dict(optim="muon", learning_rate=4e-3, weight_decay=0.1, max_grad_norm=1.0),
    dict(optim="muon", adjust_lr_fn="original", momentum=0.9, nesterov=False, ns_steps=4, learning_rate=4e-3, weight_decay=0.05, max_grad_norm=1.0),
]


class Several:
    """Several optimizers as one."""

    def __init__(self, optimizers):
        self.optimizers = optimizers
        self.param_groups = [g for o in optimizers for g in o.param_groups]

    def step(self):
        for o in self.optimizers:
            o.step()


def groups(parameters, weight_decay):
    return [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]


def make_optimizer(model, run):
    named = list(model.named_parameters())
    all_groups = groups([p for _, p in named], run["weight_decay"])
    rate = run["learning_rate"]
    kind = run["optim"]
    adam = dict(lr=rate, betas=(run.get("adam_beta1", 0.9), run.get("adam_beta2", 0.999)), eps=run.get("adam_epsilon", 1e-8))
    if kind == "sgd":
        return torch.optim.SGD(all_groups, lr=rate, momentum=run.get("momentum", 0.0), nesterov=run.get("nesterov", False))
    if kind == "adam":
        return torch.optim.Adam(all_groups, **adam)
    if kind == "adamw":
        return torch.optim.AdamW(all_groups, **adam)
    if kind == "adafactor":  # as transformers' Trainer makes it
        return transformers.optimization.Adafactor(all_groups, lr=rate, scale_parameter=False, relative_step=False)
    hidden = [p for n, p in named if p.dim() == 2 and "embed" not in n and "lm_head" not in n]
    rest = [p for _, p in named if not any(p is h for h in hidden)]
    return Several([
        torch.optim.Muon(hidden, lr=rate, weight_decay=run["weight_decay"], momentum=run.get("momentum", 0.95), nesterov=run.get("nesterov", True),
                         ns_steps=run.get("ns_steps", 5), adjust_lr_fn=run.get("adjust_lr_fn", "match_rms_adamw")),
        torch.optim.AdamW(groups(rest, run["weight_decay"]), **adam)])


def train(model, batches, run):
    model.train()
    parameters = list(model.parameters())
    optimizer = make_optimizer(model, run)
    factor = transformers.get_cosine_schedule_with_warmup(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), WARMUP, STEPS)
    curve = {"loss": [], "grad_norm": []}
    for step, ids in enumerate(torch.from_numpy(batches).long()):
        for group in optimizer.param_groups:
            group["lr"] = run["learning_rate"] * factor.lr_lambdas[0](step)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, run["max_grad_norm"] or float("inf"))
        curve["loss"].append(loss.item())
        curve["grad_norm"].append(norm.item())
        optimizer.step()
        model.zero_grad()
    return curve


def exact_newton_schulz():
    """PyTorch's own function without its cast to bf16."""
    source = inspect.getsource(muon._zeropower_via_newtonschulz)
    assert source.count("grad.to(dtype=torch.bfloat16, copy=True)") == 1
    space = dict(vars(muon))
    exec(source.replace("grad.to(dtype=torch.bfloat16, copy=True)", "grad.clone()"), space)
    return space["_zeropower_via_newtonschulz"]


def main():
    torch.set_num_threads(1)
    batches = train_curves.make_batches()
    original, exactly = muon._zeropower_via_newtonschulz, exact_newton_schulz()
    lines = []
    for run in RUNS:
        muon._zeropower_via_newtonschulz = exactly
        curve = train(train_curves.make_model(), batches, run)
        exact = train(train_curves.make_model().double(), batches, run)
        print(f"{run}: loss {curve['loss'][0]:.3f} to {curve['loss'][-1]:.3f}, f32 against f64: {train_curves.deviation(curve, exact)}")
        if run["optim"] == "muon":
            muon._zeropower_via_newtonschulz = original
            print(f"  with bf16 products: {train_curves.deviation(train(train_curves.make_model(), batches, run), exact)}")
        lines.append(json.dumps({"recipe": {**run, "lr_scheduler_type": "cosine", "warmup_steps": WARMUP}, **curve}))
    pathlib.Path(sys.argv[1]).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
