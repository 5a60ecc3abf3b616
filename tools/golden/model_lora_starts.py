#!/usr/bin/env python3
"""Where adapters begin by PEFT's init_lora_weights: for src/model/adapters/lora_start_test.cc.

    model_lora_starts.py tests/golden/models

Needs torch, peft, bitsandbytes, scipy. PEFT computes LoftQ on a GPU; here its own function runs with "cpu" in that place. Writes lora_starts.safetensors: a matrix w (40, 64) with singular values that fall by a
fifth each, and for each start the base that PEFT leaves under the adapter and the product B·A, whose factors' signs are
free. r = 6, lora_alpha = 9.
"""

import inspect
import pathlib
import sys

import peft
import peft.tuners.lora.layer
import peft.utils.loftq_utils
import torch
from safetensors.torch import save_file

R, ALPHA = 6, 9


def matrix():
    g = torch.Generator().manual_seed(11)
    u, _ = torch.linalg.qr(torch.randn(40, 40, generator=g, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(64, 40, generator=g, dtype=torch.float64))
    return (u @ torch.diag(0.8 ** torch.arange(40, dtype=torch.float64)) @ v.T).float()


def loftq_on_the_cpu():
    module = peft.utils.loftq_utils
    exec(inspect.getsource(module.loftq_init).replace('"cuda"', '"cpu"'), module.__dict__)
    peft.tuners.lora.layer.loftq_init = module.loftq_init


class Holder(torch.nn.Module):
    def __init__(self, w):
        super().__init__()
        self.q_proj = torch.nn.Linear(64, 40, bias=False)
        self.q_proj.weight.data.copy_(w)

    def forward(self, x):
        return self.q_proj(x)


def start(w, init, **more):
    config = peft.LoraConfig(r=R, lora_alpha=ALPHA, target_modules=["q_proj"], init_lora_weights=init, **more)
    layer = peft.get_peft_model(Holder(w), config).base_model.model.q_proj
    a, b = layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data
    return layer.get_base_layer().weight.data.clone().contiguous(), (b @ a).contiguous()


def main():
    out = pathlib.Path(sys.argv[1])
    loftq_on_the_cpu()
    w = matrix()
    tensors = {"w": w}
    loftq = lambda n: dict(loftq_config=peft.LoftQConfig(loftq_bits=4, loftq_iter=n))
    for name, init, more in (
        ("pissa", "pissa", {}),
        ("olora", "olora", {}),
        ("loftq_1", "loftq", loftq(1)),
        ("loftq_3", "loftq", loftq(3)),
    ):
        tensors[name + ".base"], tensors[name + ".product"] = start(w, init, **more)
    save_file(tensors, out / "lora_starts.safetensors")


if __name__ == "__main__":
    main()
