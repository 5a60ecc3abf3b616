#!/usr/bin/env python3
"""Golden values of the number formats: what the gguf package (0.17 and later) decodes and encodes.

    tools/golden/dtype_blocks.py tests/golden/dtype

TYPE.blocks   random bytes: every bit pattern of the scales, infinities and NaNs included
TYPE.decoded  f32: gguf's dequantize of them
input.f32     rows of 256: Gaussian, constant, zero, one-sided, tiny, huge, halfway cases
TYPE.encoded  gguf's quantize of them, where it has one
"""
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, dequantize, quantize

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(20261124)
np.seterr(all="ignore")

for name in "F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K".split():
    block, size = GGML_QUANT_SIZES[T[name]]
    data = random.integers(0, 256, (4096 // block, size), dtype=np.uint8)
    if name in ("F16", "BF16"):
        decoded = dequantize(data.reshape(1, -1), T[name])
    else:
        decoded = dequantize(data, T[name])
    (out / f"{name.lower()}.blocks").write_bytes(data.tobytes())
    (out / f"{name.lower()}.decoded").write_bytes(decoded.astype("<f4").tobytes())

gaussian = random.standard_normal((4, 256))
# Later ones draw from a generator of their own, so that the values above stay.
later = np.random.default_rng(20261125)
for name in "Q2_K Q3_K IQ4_NL IQ4_XS MXFP4".split():
    block, size = GGML_QUANT_SIZES[T[name]]
    data = later.integers(0, 256, (4096 // block, size), dtype=np.uint8)
    (out / f"{name.lower()}.blocks").write_bytes(data.tobytes())
    (out / f"{name.lower()}.decoded").write_bytes(dequantize(data, T[name]).astype("<f4").tobytes())

rows = np.concatenate([
    gaussian * np.array([[1], [0.02], [1e-4], [300]]),
    np.abs(gaussian[:1]) + 2,
    -np.abs(gaussian[1:2]),
    np.zeros((1, 256)),
    np.full((1, 256), -0.75),
    np.tile(np.concatenate([np.arange(-16, 16) / 2, np.arange(-8, 8), np.arange(0, 16) / 4]), 4)[None],
    gaussian[2:3] * 1e-9,
    gaussian[3:4] * 1e6,
]).astype("<f4")
(out / "input.f32").write_bytes(rows.tobytes())
for name in "F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1".split():
    (out / f"{name.lower()}.encoded").write_bytes(quantize(rows, T[name]).tobytes())
