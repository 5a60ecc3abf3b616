#!/usr/bin/env python3
"""Quantised folders in the layouts of others, with logits: for tests/parity/quantised_folders_test.cc.

    model_quantised.py tests/golden/quantised

Needs bitsandbytes, numpy, safetensors, torch, transformers. One tiny random Llama, as folders NAME: nf4 (scales quantised twice), nf4_plain
and int8 are what transformers and bitsandbytes write; gptq, gptq_v2, gptq_desc_act (columns in an order of their own) and awq are packed
here as AutoGPTQ and AutoAWQ (version gemm) publish them. NAME.logits.npy: transformers in f32 with the dequantised matrices, of GPTQ and
AWQ scale × (integer − zero point) before packing, of NF4 its blocks by the file's table, of int8 what bitsandbytes' function gives. ids.json: the sequences.
"""

import argparse
import json
import math
import pathlib
import tempfile

import bitsandbytes as bnb
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

GROUP = 32
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def plain_model():
    config = transformers.LlamaConfig(
        vocab_size=72, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True, attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config).float().eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.3 * noise if p.dim() == 1 else 0.5 * noise if "embed" in name else noise * 1.3 / math.sqrt(p.shape[1]))
            p.copy_(p.bfloat16().float())
    return model


def linear_layers(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"}


def logits(model, matrices, sequences):
    with torch.inference_mode():
        for name, values in matrices.items():
            model.get_submodule(name).weight.copy_(torch.as_tensor(values))
        return np.concatenate([model(torch.tensor([s])).logits[0].numpy() for s in sequences])


def quantise(w, g_idx):
    """Integers (rows, columns), zero points and f16 scales (groups, rows), by the range of each group."""
    groups = g_idx.max() + 1
    q = np.empty(w.shape, np.uint32)
    zeros, scales = np.empty((groups, len(w)), np.uint32), np.empty((groups, len(w)), np.float16)
    for g in range(groups):
        part = w[:, g_idx == g]
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        scales[g] = (high - low) / 15
        scale = scales[g].astype(np.float32)
        zeros[g] = np.clip(np.round(-low / scale), 1, 15)
        q[:, g_idx == g] = np.clip(np.round(part / scale[:, None]) + zeros[g][:, None], 0, 15)
    return q, zeros, scales


def words(values, order=range(8)):
    """Eight values of 4 bits of the last axis in a word, the lowest bits first."""
    eights = values.reshape(*values.shape[:-1], -1, 8)
    packed = np.zeros(eights.shape[:-1], np.uint32)
    for bits, i in enumerate(order):
        packed |= eights[..., i] << np.uint32(4 * bits)
    return packed.view(np.int32)


def packed_folder(folder, model, kind):
    """Writes it; returns the matrices that it means."""
    rng = np.random.default_rng(17)
    layers = linear_layers(model)
    tensors = {n: p.detach().numpy() for n, p in model.named_parameters() if n.removesuffix(".weight") not in layers}
    matrices = {}
    for name, layer in layers.items():
        w = layer.weight.detach().numpy()
        g_idx = np.arange(w.shape[1], dtype=np.int32) // GROUP
        if kind == "gptq_desc_act":
            g_idx = rng.permutation(g_idx)
        q, zeros, scales = quantise(w, g_idx)
        matrices[name] = scales.astype(np.float32)[g_idx].T * (q.astype(np.float32) - zeros.astype(np.float32)[g_idx].T)
        if kind == "awq":
            parts = {"qweight": words(np.ascontiguousarray(q.T), AWQ_ORDER), "qzeros": words(zeros, AWQ_ORDER)}
        else:
            parts = {"qweight": np.ascontiguousarray(words(q).T), "qzeros": words(zeros if kind == "gptq_v2" else zeros - 1), "g_idx": g_idx}
        tensors |= {f"{name}.{part}": v for part, v in {**parts, "scales": scales}.items()}
    config = model.config.to_dict() | {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
    if kind == "awq":
        config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
    else:
        form = "gptq_v2" if kind == "gptq_v2" else "gptq"
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": kind == "gptq_desc_act",
                                         "sym": False, "checkpoint_format": form}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return matrices


def nf4_values(weight):
    """Blocks of 64 follow one another through the rows. bitsandbytes' own function gives the same bits, except on a CPU where a row is no
    whole number of blocks (0.50.2: it is off by whole steps there, the file is right): so the blocks are written out here."""
    state = weight.quant_state
    scales = state.absmax
    if state.nested:
        scales = bnb.functional.dequantize_blockwise(scales, state.state2) + state.offset
    packed = weight.data.flatten()
    codes = torch.stack([packed >> 4, packed & 15], 1).flatten().long()
    values = (state.code[codes].reshape(-1, state.blocksize) * scales.float()[:, None]).reshape(state.shape)
    if state.shape[1] % state.blocksize == 0:
        assert torch.equal(values, bnb.functional.dequantize_4bit(weight.data, state))
    return values


def bitsandbytes_folder(folder, plain, **how):
    how = transformers.BitsAndBytesConfig(**how)
    model = transformers.AutoModelForCausalLM.from_pretrained(plain, quantization_config=how, device_map="cpu", dtype=torch.float32)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    matrices = {}
    for name, m in linear_layers(model).items():
        if isinstance(m, bnb.nn.Linear4bit):
            matrices[name] = nf4_values(m.weight)
        else:
            matrices[name] = bnb.functional.int8_vectorwise_dequant(m.weight.CB, m.weight.SCB)
    return matrices


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rng = np.random.default_rng(9)
    sequences = [rng.integers(0, 72, n).tolist() for n in (1, 7, 30)]
    (out / "ids.json").write_text(json.dumps(sequences) + "\n")
    made = {kind: packed_folder(out / kind, plain_model(), kind) for kind in ("gptq", "gptq_v2", "gptq_desc_act", "awq")}
    with tempfile.TemporaryDirectory() as plain:
        plain_model().save_pretrained(plain)
        nf4 = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
        made["nf4"] = bitsandbytes_folder(out / "nf4", plain, bnb_4bit_use_double_quant=True, **nf4)
        made["nf4_plain"] = bitsandbytes_folder(out / "nf4_plain", plain, **nf4)
        made["int8"] = bitsandbytes_folder(out / "int8", plain, load_in_8bit=True)
    for name, matrices in made.items():
        before = logits(plain_model(), {}, sequences)
        values = logits(plain_model(), matrices, sequences)
        np.save(out / f"{name}.logits.npy", values)
        print(f"{name}: {len(matrices)} matrices, off the plain model by {np.abs(values - before).max() / before.std():.3f} of the deviation")


if __name__ == "__main__":
    main()
