#!/usr/bin/env python3
"""bitsandbytes' dynamic 8-bit maps and a block quantised on each: for src/compute/kernels/dynamic8_test.cc.

    dtype_dynamic8.py tests/golden/dtype/dynamic8.json

Needs bitsandbytes, torch.
"""

import json
import pathlib
import sys

import bitsandbytes.functional as functional
import torch


def entry(signed):
    generator = torch.Generator().manual_seed(4)
    values = torch.randn(256, generator=generator) * 10 ** (-7 * torch.rand(256, generator=generator)) * 3e-3
    values[:3] = torch.tensor([0.0, 1e-12, 3.1e-3])
    if not signed:
        values = values.abs()
    code = functional.create_dynamic_map(signed=signed)
    codes, state = functional.quantize_blockwise(values, code=code, blocksize=256)
    return {"map": code.tolist(), "values": values.tolist(), "absmax": state.absmax[0].item(), "codes": codes.tolist()}


text = json.dumps({"signed": entry(True), "unsigned": entry(False)})
pathlib.Path(sys.argv[1]).write_text(text.replace('"map"', '\n"map"').replace('"values"', '\n"values"').replace('"absmax"', '\n"absmax"').replace('"unsigned"', '\n"unsigned"') + "\n")
