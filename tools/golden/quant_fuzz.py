#!/usr/bin/env python3
"""Seeds for the fuzz target of quantised matrices (fuzz/fuzz_quantised.cc): a valid one of each form, from which it mutates.

    quant_fuzz.py tests/golden/quant

Needs bitsandbytes, numpy, torch. Each file is a byte that says how config.json would describe the matrix (method, bits, group, whether
zero points are less one), then a safetensors file of the parts of one matrix "a". Integers are drawn, scales are 1.
"""
import json
import pathlib
import sys

import numpy as np
from bitsandbytes.functional import create_dynamic_map, get_4bit_type

METHODS = ["none", "bitsandbytes", "gptq", "awq"]
BITS = [2, 4, 8]
GROUPS = [-1, 1, 32, 128, 2**31]


def described(method, bits=2, group=-1, zeros_less_one=False):
    # The bits' and groups' places are what the target takes modulo three and five.
    for byte in range(256):
        if (METHODS[byte & 3], BITS[(byte >> 2) % 3], GROUPS[(byte >> 4) % 5], bool(byte & 128)) == (method, bits, group, zeros_less_one):
            return bytes([byte])
    raise ValueError(method)


def safetensors(parts):
    """parts: (name, dtype, shape, bytes), wide types first."""
    header, offset = {}, 0
    for name, dtype, shape, data in parts:
        header[f"a.{name}"] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data for *_, data in parts)


def main():
    out = pathlib.Path(sys.argv[1])
    draw = np.random.default_rng(3).bytes
    ones = lambda count, dtype: np.ones(count, dtype).tobytes()
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "shape": [4, 64], "dtype": "float16", "nested_blocksize": 256,
                        "nested_dtype": "float32", "nested_offset": 0.5}).encode()
    packed, scales = draw(128), draw(4)
    (out / "nf4.fuzz").write_bytes(described("bitsandbytes") + safetensors([
        ("weight.nested_absmax", "F32", [1], ones(1, "f4")),
        ("weight.nested_quant_map", "F32", [256], create_dynamic_map().numpy().tobytes()),
        ("weight.quant_map", "F32", [16], get_4bit_type("nf4", device="cpu").numpy().tobytes()),
        ("weight", "U8", [128, 1], packed),
        ("weight.absmax", "U8", [4], scales),
        ("weight.quant_state.bitsandbytes__nf4", "U8", [len(state)], state)]))
    (out / "gptq.fuzz").write_bytes(described("gptq", 4, 32, True) + safetensors([
        ("qweight", "I32", [4, 8], draw(128)),
        ("qzeros", "I32", [1, 1], draw(4)),
        ("g_idx", "I32", [32], bytes(128)),
        ("scales", "F16", [1, 8], ones(8, "f2"))]))
    (out / "awq.fuzz").write_bytes(described("awq", 4, 32) + safetensors([
        ("qweight", "I32", [32, 1], draw(128)),
        ("qzeros", "I32", [1, 1], draw(4)),
        ("scales", "F16", [1, 8], ones(8, "f2"))]))
    (out / "int8.fuzz").write_bytes(described("bitsandbytes") + safetensors([
        ("SCB", "F32", [2], ones(2, "f4")),
        ("weight", "I8", [2, 8], draw(16))]))


if __name__ == "__main__":
    main()
