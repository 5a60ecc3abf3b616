#!/usr/bin/env python3
"""bitsandbytes' dynamic 8-bit maps and a block with the nearest code of each value: for src/compute/kernels/dynamic8_test.cc.

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
    # What bitsandbytes' default backend computes. Its CPU kernel searches differently: 0 gets the code of 4e-6.
    absmax = values.abs().max()
    codes = (values[:, None] / absmax - code).abs().argmin(dim=1)
    return {"map": code.tolist(), "values": values.tolist(), "absmax": absmax.item(), "codes": codes.tolist()}


text = json.dumps({"signed": entry(True), "unsigned": entry(False)})
pathlib.Path(sys.argv[1]).write_text(text.replace('"map"', '\n"map"').replace('"values"', '\n"values"').replace('"absmax"', '\n"absmax"').replace('"unsigned"', '\n"unsigned"') + "\n")
