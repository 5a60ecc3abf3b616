#!/usr/bin/env python3
"""safetensors files by the safetensors package, for src/formats/safetensors_test.cc.

Needs safetensors and torch. Writes tests/golden/formats/*.safetensors, an index, and safetensors.json (what they hold).
"""

import json
import os
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/formats"
torch.manual_seed(7)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {
        "f64": torch.randn(3, dtype=torch.float64),
        "i64": torch.randint(-(2**62), 2**62, (2, 2)),
        "f32": torch.randn(3, 5),
        "i32": torch.randint(-(2**31), 2**31, (4,), dtype=torch.int32),
        "f16": torch.randn(2, 3, dtype=torch.float16),
        "bf16": torch.randn(2, 3, dtype=torch.bfloat16),
        "i8": torch.randint(-128, 128, (7,), dtype=torch.int8),
        "u8": torch.randint(0, 256, (3,), dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "f8": torch.randn(4).to(torch.float8_e4m3fn),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "多肉 \"quoted\"": torch.ones(1),
    }
    save_file(tensors, OUT / "all_types.safetensors", metadata={"format": "pt"})
    described = {
        name: {
            "shape": list(t.shape),
            "data": t.contiguous().view(torch.uint8).numpy().tobytes().hex() if t.dim() and t.numel() else
                    t.reshape(-1).view(torch.uint8).numpy().tobytes().hex(),
        }
        for name, t in tensors.items()
    }
    (OUT / "safetensors.json").write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n")

    # One width, names in order: our writer gives the same bytes.
    save_file({"a.bias": torch.arange(3.0), "a.weight": torch.arange(6.0).reshape(2, 3)},
              OUT / "rewrite.safetensors", metadata={"format": "pt"})

    sharded = OUT / "sharded"
    sharded.mkdir(exist_ok=True)
    shards = {"model-00001-of-00002.safetensors": {"a": torch.full((2, 2), 1.0), "c": torch.full((3,), 3.0)},
              "model-00002-of-00002.safetensors": {"b": torch.full((4,), 2.0)}}
    for name, content in shards.items():
        save_file(content, sharded / name)
    index = {"metadata": {"total_size": 44},
             "weight_map": {tensor: name for name, content in shards.items() for tensor in content}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def set_modes():
    for path in OUT.rglob("*.safetensors"):  # the package writes 0600
        os.chmod(path, 0o644)


if __name__ == "__main__":
    main()
    set_modes()
