#!/usr/bin/env python3
"""Golden values of NF4 with double quantisation: what bitsandbytes (0.50, CPU) makes of a matrix, and its table of dynamic numbers.

    tools/golden/dtype_nf4.py tests/golden/dtype              # nf4.* (the input follows from a formula that the test repeats)
    tools/golden/dtype_nf4.py --table src/compute/dtype       # dynamic_values.inc
"""
import sys
from pathlib import Path

import numpy as np
import torch
from bitsandbytes.functional import create_dynamic_map, dequantize_4bit, quantize_4bit

torch.set_num_threads(1)
if sys.argv[1] == "--table":
    table = create_dynamic_map().numpy()
    assert table[127] == 0 and (table[:127] == -table[128:255][::-1]).all()
    lines = ["// 128 positive dynamic numbers, ascending; made by tools/golden/dtype_nf4.py of bitsandbytes' create_dynamic_map()."]
    numbers = [value.hex().replace("0000000p", "p") + "f" for value in table[128:].tolist()]
    lines += [" ".join(f"{n}," for n in numbers[i:i + 6]) for i in range(0, 128, 6)]
    (Path(sys.argv[2]) / "dynamic_values.inc").write_text("\n".join(lines) + "\n")
    sys.exit()

out = Path(sys.argv[1])
ROWS, COLS = 210, 448  # 1470 scales: five whole blocks of 256 and a rest; sums of 8 lanes with a rest

# A linear congruential generator; sums of four draws are bell-shaped, a factor for each row spreads the scales.
draws = np.empty(4 * ROWS * COLS, np.uint32)
state = 12345
for i in range(draws.size):
    state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    draws[i] = state >> 8
values = (draws.reshape(-1, 4).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)).sum(1, dtype=np.float64)
rows = np.exp2(np.arange(ROWS) % 5 - 6.0)
weights = (values.reshape(ROWS, COLS) * rows[:, None]).astype(np.float32)
weights[7, :64] = 0  # a block of zeros
weights[9, 3] = 40  # an outlier

packed, state = quantize_4bit(torch.from_numpy(weights), blocksize=64, compress_statistics=True, quant_type="nf4")
decoded = dequantize_4bit(packed, state)
(out / "nf4.packed").write_bytes(packed.numpy().tobytes())
(out / "nf4.scales").write_bytes(state.absmax.numpy().tobytes())
(out / "nf4.nested").write_bytes(state.state2.absmax.numpy().tobytes() + np.float32(state.offset.item()).tobytes())
(out / "nf4.decoded").write_bytes(decoded.numpy()[:12].tobytes())  # the first rows
