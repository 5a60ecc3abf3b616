#!/usr/bin/env python3
"""Loads GGUF files of every family into llama.cpp and compares greedy tokens. Run by hand; wants llama-cpp-python, numpy, torch, safetensors.

    tools/gguf_families_check.py SEDUM FOLDER [FAMILY…]

The models are the tiny random ones of tests/golden (families/ and some of models/), each with the byte-level tokenizer of the first beside it,
because llama.cpp loads no model without one. Each becomes F32, F16, Q8_0 and Q4_K_M (rows of 32 to 64 columns fall back, as llama.cpp does
it) in FOLDER; both programs continue four prompts greedily. A LoRA adapter, of random A and B, goes beside each as a GGUF adapter. Then the
F32 file becomes a folder again, whose tensors must be the first folder's to the bit.

llama.cpp's cache is f32 here: its own default, f16, moves the logits of these models by a thousandth of their deviation, and the best two
may lie closer. Beside f16 and quantised weights it rounds activations too, where Sedum's `--compute f32` does not, and tokens may part: f32
files and adapters must agree in every token, the others in their logits, up to LIMITS. The largest difference is printed.
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
# The most that logits may differ, as a share of their deviation: llama.cpp rounds activations to the weights' type, to a bit of 2^-12 or of
# the largest's 2^-8, and these models, of large random weights, enlarge that some ten times.
LIMITS = {"f32": 1e-4, "f16": 2e-2, "q8_0": 0.6, "q4_K_M": 0.6}
GELU_LIMIT = 5e-3  # llama.cpp looks GELU up in a table of f16
MODELS = ["llama", "llama_linear", "qwen2"]
REFUSED = {"qwen3_moe_dense": "llama.cpp knows no layers without experts there"}
SILENT = llama_cpp.llama_log_callback(lambda *_: None)  # kept here: the library calls it for as long as it lives
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
    if config["model_type"] in ("gemma2", "gemma3_text"):
        config["query_pre_attn_scalar"] = config["head_dim"]
    # llama.cpp ignores these windows (Sedum's convert warns): nothing here is longer.
    if config["model_type"] in ("mistral", "phi3") and config["sliding_window"]:
        config["sliding_window"] = 32
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
        self.model = llama_cpp.Llama(str(path), n_ctx=64, n_threads=1, verbose=False, logits_all=True, lora_path=str(adapter) if adapter else None,
                                     type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)

    def greedy(self, prompt, length):
        self.model.reset()
        self.model.eval(prompt)
        tokens, logits = [], []
        for _ in range(length):
            logits.append(self.model._scores[-1].copy())
            tokens.append(int(np.argmax(logits[-1])))
            self.model.eval([tokens[-1]])
        return tokens, logits


def logits_of(sedum, folder, model, ids, *more):
    (folder / "ids.json").write_text(json.dumps([ids]))
    run(sedum, "forward", "--model", model, "--ids-file", folder / "ids.json", "--out", folder / "logits.npy", *more)
    return np.load(folder / "logits.npy")[0]


def limit_of(kind, config):
    if "num_experts_per_tok" in config and kind not in ("f32", "f16"):
        return float("inf")  # what is rounded may go to other experts
    return max(LIMITS[kind], GELU_LIMIT if "gelu" in json.dumps(config) else 0)


def compare(sedum, folder, model, kind, limit, adapter=None, gguf_adapter=None):
    """Logits are compared as long as the tokens before them are the same."""
    llama, same, total, worst = Llama(model, gguf_adapter), 0, 0, 0.0
    more = ["--adapter", adapter] if adapter else []
    for prompt in PROMPTS:
        mine = ours(sedum, model, prompt, *more)
        theirs, logits = llama.greedy(prompt, len(mine))
        # The whole at once: LongRoPE's factors are those of its length.
        expected = logits_of(sedum, folder, model, prompt + mine, *more)[len(prompt) - 1:]
        alike = next((i for i, (x, y) in enumerate(zip(mine, theirs)) if x != y), len(mine))
        same, total = same + alike, total + len(mine)
        for x, y in list(zip(expected, logits))[:alike + 1]:
            worst = max(worst, float(np.abs(x - y).max() / x.std()))
    llama.model.close()
    return f"{same}/{total} (logits {worst:.1e})", worst <= limit and (same == total or kind != "f32")


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
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p())
    sources = sorted(p.parent for p in GOLDEN.glob("families/*/config.json")) + [GOLDEN / "models" / name for name in MODELS]
    failed = []
    for source in sources:
        if sys.argv[3:] and source.name not in sys.argv[3:]:
            continue
        line, model = [], folder / source.name
        try:
            prepare(source, model)
            config = json.loads((model / "config.json").read_text())
            for name in TYPES:
                out = folder / f"{source.name}-{name}.gguf"
                run(sedum, "convert" if name == "f32" else "quantize", "--model", model if name == "f32" else folder / f"{source.name}-f32.gguf", "--out", out, "--type", name)
                text, same = compare(sedum, folder, out, name, limit_of(name, config))
                line.append(f"{name} {text}")
                failed += [] if same else [f"{source.name} {name}"]
            make_adapter(source, folder / "adapter")
            f32, lora = folder / f"{source.name}-f32.gguf", folder / "adapter.gguf"
            run(sedum, "convert", "--model", f32, "--adapter", folder / "adapter", "--out", lora)
            text, same = compare(sedum, folder, f32, "f32", limit_of("f32", config), folder / "adapter", lora)
            line.append(f"adapter {text}")
            failed += [] if same else [f"{source.name} adapter"]
            back = folder / (source.name + "-back")
            shutil.rmtree(back, ignore_errors=True)
            run(sedum, "convert", "--model", f32, "--out", back, "--type", "f32")
            line.append("back " + bits_equal(model, back))
            failed += [] if line[-1] == "back equal" else [f"{source.name} back"]
        except (RuntimeError, ValueError) as error:
            refused = REFUSED.get(source.name, "\n") in str(error)
            line.append(f"{'refused, as it must be' if refused else 'failed'}: {error}")
            failed += [] if refused else [source.name]
        print(f"{source.name}: " + "; ".join(line), flush=True)
    if failed:
        sys.exit("not equal: " + ", ".join(failed))


if __name__ == "__main__":
    main()
