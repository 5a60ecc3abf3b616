#!/usr/bin/env python3
"""Loads GGUF files of every family into llama.cpp and compares greedy tokens. Run by hand; wants llama-cpp-python, numpy, torch, safetensors.

    tools/gguf_families_check.py SEDUM FOLDER [FAMILY…]

The models are the tiny random ones of tests/golden (families/ and models/llama, models/qwen2), each with the byte-level tokenizer of the first beside it,
because llama.cpp loads no model without one. Each becomes F32, F16, Q8_0 and Q4_K_M (rows of 32 to 64 columns fall back, as llama.cpp does
it) in FOLDER; both programs continue four prompts greedily. A LoRA adapter, of random A and B, goes beside each as a GGUF adapter. Then the
F32 file becomes a folder again, whose tensors must be the first folder's to the bit.

llama.cpp rounds activations where Sedum's `--compute f32` does not: where the best two logits lie closer than that, tokens may part. The
difference of logits after the prompt is printed too, in shares of their standard deviation.
"""
import ctypes
import json
import pathlib
import shutil
import subprocess
import sys

import llama_cpp
import numpy as np
import torch
from safetensors.torch import load_file, save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests/golden"
TYPES = ["f32", "f16", "q8_0", "q4_K_M"]
PROMPTS = [[1, 5, 9, 33, 64, 100], [7, 7, 7, 21], [90, 80, 70, 60, 50, 40, 30], [11]]
LENGTH = 16


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message")
    return done.stdout


def prepare(source, folder):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    # What GGUF has no key for is as llama.cpp takes it for granted.
    if config["model_type"] == "gemma3_text":
        config["query_pre_attn_scalar"] = config["head_dim"]
    if config["model_type"] == "qwen3":
        config.update(use_sliding_window=False, sliding_window=None, layer_types=["full_attention"] * config["num_hidden_layers"])
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(GOLDEN / "models/llama/tokenizer.json", folder)  # all have as many tokens as it


def ours(sedum, model, prompt, *more):
    answer = json.loads(run(sedum, "generate", "--model", model, "--raw", "--ids", " ".join(map(str, prompt)), "--max-tokens", LENGTH, "--temperature", "0",
                            "--repetition-penalty", "1", "--compute", "f32", "--threads", "1", "--json", *more))
    return answer["ids"]


class Llama:
    def __init__(self, path, adapter=None):
        self.model = llama_cpp.Llama(str(path), n_ctx=64, n_threads=1, verbose=False, logits_all=True, lora_path=str(adapter) if adapter else None)

    def greedy(self, prompt, length):
        self.model.reset()
        self.model.eval(prompt)
        first, tokens = self.model._scores[-1].copy(), []
        for _ in range(length):
            tokens.append(int(np.argmax(self.model._scores[-1])))
            self.model.eval([tokens[-1]])
        return tokens, first


def logits_of(sedum, folder, model, prompt):
    (folder / "ids.json").write_text(json.dumps([prompt]))
    run(sedum, "forward", "--model", model, "--ids-file", folder / "ids.json", "--out", folder / "logits.npy")
    return np.load(folder / "logits.npy")[0, -1]


def compare(sedum, folder, model, adapter=None, gguf_adapter=None):
    llama, same, total, worst = Llama(model, gguf_adapter), 0, 0, 0.0
    for prompt in PROMPTS:
        mine = ours(sedum, model, prompt, *(["--adapter", adapter] if adapter else []))
        theirs, logits = llama.greedy(prompt, len(mine))
        same += next((i for i, (x, y) in enumerate(zip(mine, theirs)) if x != y), len(mine))
        total += len(mine)
        if not adapter:
            expected = logits_of(sedum, folder, model, prompt)
            worst = max(worst, float(np.abs(logits - expected).max() / expected.std()))
    return f"{same}/{total}" + ("" if adapter else f" (logits {worst:.1e})"), same == total


def make_adapter(source, folder):
    """Random A and B for two kinds of linear layers, in PEFT's form."""
    weights = load_file(source / "model.safetensors")
    torch.manual_seed(1)
    names = [n for n in weights if n.endswith((".q_proj.weight", ".down_proj.weight", ".qkv_proj.weight", ".c_proj.weight"))]
    turned = any(".c_proj." in n for n in names)
    tensors = {}
    for n in names:
        out, inner = weights[n].shape[::-1] if turned else weights[n].shape
        stem = "base_model.model." + n.removesuffix(".weight")
        tensors[stem + ".lora_A.weight"] = torch.randn(4, inner) / inner**0.5
        tensors[stem + ".lora_B.weight"] = 0.5 * torch.randn(out, 4)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({n.split(".")[-2] for n in names})
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "bias": "none",
                                                            "target_modules": targets, "fan_in_fan_out": turned}))


def bits_equal(a, b):
    x, y = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    wrong = [n for n in x if n != "lm_head.weight" and (n not in y or not torch.equal(x[n].float(), y[n].float()))]
    return "equal" if not wrong else f"{len(wrong)} tensors differ: {wrong[:3]}"


def main():
    sedum, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(exist_ok=True)
    silent = llama_cpp.llama_log_callback(lambda *_: None)  # kept: the library calls it for as long as it lives
    llama_cpp.llama_log_set(silent, ctypes.c_void_p())
    sources = sorted(p.parent for p in GOLDEN.glob("families/*/config.json")) + [GOLDEN / "models/llama", GOLDEN / "models/qwen2"]
    failed = []
    for source in sources:
        if sys.argv[3:] and source.name not in sys.argv[3:]:
            continue
        line, model = [], folder / source.name
        try:
            prepare(source, model)
            for name in TYPES:
                out = folder / f"{source.name}-{name}.gguf"
                run(sedum, "convert" if name == "f32" else "quantize", "--model", model if name == "f32" else folder / f"{source.name}-f32.gguf", "--out", out, "--type", name)
                text, same = compare(sedum, folder, out)
                line.append(f"{name} {text}")
                failed += [] if same else [f"{source.name} {name}"]
            make_adapter(source, folder / "adapter")
            f32, lora = folder / f"{source.name}-f32.gguf", folder / "adapter.gguf"
            run(sedum, "convert", "--model", f32, "--adapter", folder / "adapter", "--out", lora)
            text, same = compare(sedum, folder, f32, folder / "adapter", lora)
            line.append(f"adapter {text}")
            failed += [] if same else [f"{source.name} adapter"]
            back = folder / (source.name + "-back")
            shutil.rmtree(back, ignore_errors=True)
            run(sedum, "convert", "--model", f32, "--out", back, "--type", "f32")
            line.append("back " + bits_equal(model, back))
            failed += [] if line[-1] == "back equal" else [f"{source.name} back"]
        except (RuntimeError, ValueError) as error:
            line.append(f"failed: {error}")
            failed.append(source.name)
        print(f"{source.name}: " + "; ".join(line), flush=True)
    if failed:
        sys.exit("not equal: " + ", ".join(failed))


if __name__ == "__main__":
    main()
