#!/usr/bin/env python3
"""GGUF files by the gguf package, for src/formats/gguf_test.cc: every value type, every kind of tensor, a split.

Needs gguf and numpy. Writes tests/golden/formats/*.gguf and gguf.json (what the files hold, tensors as hexadecimal bytes).
"""

import json
import pathlib
import struct

import gguf
import numpy as np

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/formats"
rng = np.random.default_rng(7)


def write_all_types():
    path = OUT / "all_types.gguf"
    writer = gguf.GGUFWriter(path, "golden")
    # Keys in order: a file rewritten from the reader's sorted keys has the same bytes.
    writer.add_array("t.array_f32", [1.5, -0.25, 3e38])
    writer.add_array("t.array_i32", [1, -2, 2147483647])
    writer.add_array("t.array_string", ["", "a", "多肉"])
    writer.add_bool("t.bool_false", False)
    writer.add_bool("t.bool_true", True)
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 0.1)
    writer.add_int16("t.i16", -30000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_int64("t.i64", -(2**62))
    writer.add_int8("t.i8", -100)
    writer.add_string("t.string", "Crassula ovata, 玉树")
    writer.add_uint16("t.u16", 65000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_uint8("t.u8", 200)

    plain = {
        "f32": rng.standard_normal((3, 5)).astype(np.float32),
        "f16": rng.standard_normal((2, 3, 4)).astype(np.float16),
        "f64": rng.standard_normal(3),
        "i8": rng.integers(-128, 128, (2, 7)).astype(np.int8),
        "i32": rng.integers(-(2**31), 2**31, 5).astype(np.int32),
        "i64": rng.integers(-(2**62), 2**62, (1, 1, 1, 3)),
    }
    for name, array in plain.items():
        writer.add_tensor(name, array)
    T = gguf.GGMLQuantizationType
    for kind in (T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1):
        values = rng.standard_normal((2, 64)).astype(np.float32)
        writer.add_tensor(kind.name.lower(), gguf.quants.quantize(values, kind), raw_dtype=kind)
    for kind in (T.Q4_K, T.Q5_K, T.Q6_K, T.IQ2_XS):  # no encoder in the package: blocks of random bytes
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (2, block_bytes)).astype(np.uint8)
        writer.add_tensor(kind.name.lower(), blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_split():
    writer = gguf.GGUFWriter(OUT / "split.gguf", "golden", split_max_tensors=2)
    for i in range(5):
        writer.add_tensor(f"layer.{i}", np.full((2, 4), i + 0.5, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(path):
    reader = gguf.GGUFReader(path)
    return [
        {
            "name": t.name,
            "type": t.tensor_type.name,
            "shape": [int(n) for n in reversed(t.shape)],
            "data": t.data.tobytes().hex(),
        }
        for t in reader.tensors
    ]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    path = write_all_types()
    (OUT / "gguf.json").write_text(json.dumps(describe(path), indent=1) + "\n")
    version_2 = bytearray(path.read_bytes())
    version_2[4:8] = struct.pack("<I", 2)  # versions 2 and 3 differ in this number alone
    (OUT / "version_2.gguf").write_bytes(version_2)
    write_split()


if __name__ == "__main__":
    main()
