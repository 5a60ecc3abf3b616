#!/usr/bin/env python3
"""Compares GGUF files that Sedum wrote with llama.cpp: types, blocks and greedy tokens. Run by hand; wants llama-cpp-python, gguf.

    sedum convert --model MODEL --type f32 --out f32.gguf
    tools/gguf_check.py SEDUM f32.gguf FOLDER [TYPE…]

For each TYPE (default: all that `sedum quantize` writes as GGUF) both programs quantise f32.gguf into FOLDER. Tensor types must agree;
blocks must agree to the bit for the types that have one right answer (F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 without importance), for
K-quants the squared error of both is printed. Then llama.cpp loads Sedum's file and 32 greedy tokens after each of four prompts are
compared with Sedum's own.
"""
import ctypes
import json
import pathlib
import subprocess
import sys

import gguf
import llama_cpp
import numpy as np

TYPES = {"f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9, "q4_K_S": 14, "q4_K_M": 15,
         "q5_K_S": 16, "q5_K_M": 17, "q6_K": 18}
EXACT = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"}
PROMPTS = ["The capital of France is", "def fibonacci(n):", "Water boils at", "Once upon a time"]


def quantise_by_llama(source, out, number):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = number, 1
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)):
        sys.exit(f"llama.cpp could not quantise {source}")


def tensors(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def compare(ours, theirs, source):
    a, b, plain = tensors(ours), tensors(theirs), tensors(source)
    if set(a) != set(b):
        sys.exit(f"{ours}: tensors differ: {sorted(set(a) ^ set(b))}")
    differing_types = [f"{n}: {a[n].tensor_type.name}, llama.cpp {b[n].tensor_type.name}" for n in a
                       if a[n].tensor_type != b[n].tensor_type]
    bits, errors = 0, np.zeros(2)
    for name, t in a.items():
        if b[name].tensor_type != t.tensor_type:
            continue
        if t.tensor_type.name in EXACT:
            bits += not np.array_equal(np.asarray(t.data).view(np.uint8), np.asarray(b[name].data).view(np.uint8))
        else:
            want = np.asarray(plain[name].data, np.float32).reshape(-1)
            for i, one in enumerate((t, b[name])):
                got = gguf.dequantize(np.asarray(one.data), one.tensor_type).reshape(-1)
                errors[i] += float(((got - want) ** 2).sum())
    return differing_types, bits, errors


def greedy(sedum, path):
    model = llama_cpp.Llama(str(path), n_ctx=256, n_threads=1, verbose=False, logits_all=False)
    same = total = 0
    for prompt in PROMPTS:
        answer = json.loads(subprocess.run(
            [sedum, "generate", "--model", path, "--prompt", prompt, "--raw", "--max-tokens", "32", "--temperature", "0",
             "--repetition-penalty", "1", "--compute", "f32", "--threads", "1", "--json"], check=True, capture_output=True, text=True).stdout)
        ids = list(answer["prompt_ids"])
        model.reset()
        model.eval(ids)
        theirs = []
        for _ in answer["ids"]:
            token = int(np.argmax(model._scores[-1]))
            theirs.append(token)
            model.eval([token])
        match = next((i for i, (x, y) in enumerate(zip(answer["ids"], theirs)) if x != y), len(theirs))
        same, total = same + match, total + len(theirs)
    return same, total


def main():
    sedum, source, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    failed = False
    for name in sys.argv[4:] or TYPES:
        ours, theirs = folder / f"sedum-{name}.gguf", folder / f"llama-{name}.gguf"
        subprocess.run([sedum, "quantize", "--model", source, "--type", name, "--out", ours, "--json"], check=True, capture_output=True)
        quantise_by_llama(source, theirs, TYPES[name])
        types, bits, errors = compare(ours, theirs, source)
        same, total = greedy(sedum, ours)
        ratio = f", squared error {errors[0] / errors[1]:.4f} of llama.cpp's" if errors[1] else ""
        print(f"{name}: {len(types)} tensors of another type, {bits} with other bits{ratio}; {same} of {total} greedy tokens before the first difference")
        for line in types[:4]:
            print("   ", line)
        failed |= bool(types) or bits > 0
        theirs.unlink()
    sys.exit(failed)


if __name__ == "__main__":
    main()
