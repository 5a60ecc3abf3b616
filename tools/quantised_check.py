#!/usr/bin/env python3
"""Loads folders that `sedum quantize` wrote into transformers and compares logits. Run by hand; wants torch, transformers,
bitsandbytes, safetensors, numpy.

    sedum quantize --model MODEL --type nf4 --out nf4
    sedum forward --model nf4 --ids-file ids.json --out logits.npy
    tools/quantised_check.py nf4 logits.npy ids.json

NF4 and int8 are loaded with bitsandbytes. GPTQ: transformers needs a package with compiled kernels for it (gptqmodel); where there is
none, qweight, qzeros, scales and g_idx are taken apart here, as those kernels do, and put into the plain model. ids: JSON [[…]] of one
length. Prints the largest difference of logits in shares of their standard deviation.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors import safe_open


def unpack(words, bits, axis):
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    parts = (words.astype(np.uint32)[..., None] >> shifts) & (2**bits - 1)
    if axis == 1:
        return parts.reshape(words.shape[0], -1)
    return parts.transpose(0, 2, 1).reshape(-1, words.shape[1])


def gptq_model(folder, config):
    bits = config["quantization_config"]["bits"]
    plain = {k: v for k, v in config.items() if k != "quantization_config"}
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**plain), dtype=torch.float32)
    state = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "np") as file:
            for name in file.keys():
                if name.endswith(".qweight"):
                    stem = name[:-len("qweight")]
                    q = unpack(file.get_tensor(name), bits, 0).astype(np.float32)
                    zeros = (unpack(file.get_tensor(stem + "qzeros"), bits, 1) + 1).astype(np.float32)
                    scales = file.get_tensor(stem + "scales").astype(np.float32)
                    groups = file.get_tensor(stem + "g_idx")
                    state[stem + "weight"] = torch.from_numpy((scales[groups] * (q - zeros[groups])).T.copy())
                elif not name.endswith((".qzeros", ".scales", ".g_idx")):
                    state[name] = torch.from_numpy(file.get_tensor(name).astype(np.float32))
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if name != "lm_head.weight"]
    if missing or unexpected:
        sys.exit(f"missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    return model.eval()


def plain_layers(model):
    import bitsandbytes

    for parent in list(model.modules()):
        for name, child in parent.named_children():
            kind = type(child).__name__
            if kind == "Linear4bit":
                state = child.weight.quant_state
                state.dtype = torch.float32
                weight = bitsandbytes.functional.dequantize_4bit(child.weight.data, state)
            elif kind == "Linear8bitLt":
                weight = child.weight.data.float() * (child.weight.SCB.float() / 127)[:, None]
            else:
                continue
            plain = torch.nn.Linear(child.in_features, child.out_features, bias=child.bias is not None)
            plain.weight.data = weight
            if child.bias is not None:
                plain.bias.data = child.bias.data
            setattr(parent, name, plain)
    torch.nn.Module.float(model)  # transformers forbids it for what it takes for quantised


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("logits", type=pathlib.Path)
    parser.add_argument("ids", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = json.loads((args.folder / "config.json").read_text())
    method = config["quantization_config"]["quant_method"]
    ids = torch.tensor(json.loads(args.ids.read_text()))
    if method == "gptq":
        model, kinds = gptq_model(args.folder, config), ["taken apart here"]
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32, device_map="cpu")
        kinds = sorted({type(m).__name__ for m in model.modules() if "Linear" in type(m).__name__})
        # Their products on a CPU are bf16, or int8 with quantised activations: what the weights stand for is multiplied in f32 instead.
        plain_layers(model)
    with torch.inference_mode():
        theirs = model(ids).logits.float().numpy()
    ours = np.load(args.logits)
    if ours.shape != theirs.shape:
        sys.exit(f"shapes differ: {ours.shape} here, {theirs.shape} from transformers")
    error = float(np.abs(ours - theirs).max() / theirs.std())
    same = float((ours.argmax(-1) == theirs.argmax(-1)).mean())
    print(f"{method}: layers {kinds}; largest error {error:.2e} of the spread, {100 * same:.1f} % the same best token")
    if not error <= args.tolerance:
        sys.exit(f"the error is above {args.tolerance:g}")


if __name__ == "__main__":
    main()
