#!/usr/bin/env python3
"""A tiny random model of each family by transformers, with what it computes: for tests/parity/families_test.cc.

    model_families.py tests/golden/families [NAME...]
    model_families.py --search tests/golden/families    # NAME.beams.json of the folders as they are, and qwen2.gradients.json

Needs gguf, numpy, peft, torch, transformers. Writes for each family NAME a folder (config.json, model.safetensors: weights that bf16 holds, so
that files are small and exact), NAME.logits.npy (f32; rows of all sequences of ids.json, one after the other) and NAME.json: the greedy
continuation of the last sequence, the loss of that sequence (of mixtures of experts with the load-balancing loss) with the norm and some values of every tensor's gradient, and the names that
llama.cpp's converter gives the tensors (the gguf package's map) and PEFT gives LoRA's. Sizes are odd on purpose, norms are not 1 and biases not 0, windows
are shorter than sequences, so that a forgotten one shows.
"""

import argparse
import copy
import json
import math
import pathlib
import re

import gguf
import numpy as np
import torch
import transformers

LENGTHS = [1, 7, 40]
VALUES = 12  # of each gradient


def sizes(hidden, intermediate, heads, kv_heads, head_dim, layers=3, **more):
    return dict(
        vocab_size=320,  # of the tokenizer of tests/golden/models/llama
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
        **more,
    )


def rope(theta, **scaling):
    return {"rope_type": "default", "rope_theta": theta, **scaling}


CONFIGS = {
    "mistral": lambda: transformers.MistralConfig(
        **sizes(32, 48, 4, 2, 8), sliding_window=9, rope_parameters=rope(10000.0), tie_word_embeddings=False
    ),
    # A window in the last layer only.
    "qwen3": lambda: transformers.Qwen3Config(
        **sizes(32, 48, 4, 2, 16, layers=2),
        use_sliding_window=True,
        sliding_window=6,
        max_window_layers=1,
        rope_parameters=rope(1000000.0),
        tie_word_embeddings=True,
    ),
    "smollm3": lambda: transformers.SmolLM3Config(
        **sizes(24, 40, 6, 2, 4, layers=4), rope_parameters=rope(5000.0), tie_word_embeddings=True
    ),
    "phi3": lambda: transformers.Phi3Config(
        **{k: v for k, v in sizes(32, 40, 4, 2, 8).items() if k not in ("head_dim", "pad_token_id")},
        pad_token_id=None,
        original_max_position_embeddings=128,
        sliding_window=11,
        rope_parameters=rope(10000.0, partial_rotary_factor=0.75),
        tie_word_embeddings=False,
    ),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **sizes(24, 32, 4, 2, 8, layers=6),
        query_pre_attn_scalar=12,
        sliding_window=9,
        rope_parameters={
            "full_attention": rope(100000.0, rope_type="linear", factor=4.0),
            "sliding_attention": rope(10000.0),
        },
    ),
    "gemma2": lambda: transformers.Gemma2Config(
        **sizes(24, 32, 4, 2, 8, layers=3),
        query_pre_attn_scalar=12,
        sliding_window=9,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=6.0,
        rope_parameters=rope(10000.0),
    ),
    "mixtral": lambda: transformers.MixtralConfig(
        **sizes(32, 32, 4, 2, 8, layers=2),
        num_local_experts=4,
        num_experts_per_tok=2,
        output_router_logits=True,
        router_aux_loss_coef=0.3,
        rope_parameters=rope(10000.0),
        tie_word_embeddings=False,
    ),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(
        **sizes(32, 48, 4, 2, 8, layers=2),
        moe_intermediate_size=24,
        num_experts=6,
        num_experts_per_tok=3,
        norm_topk_prob=True,
        rope_parameters=rope(10000.0),
        tie_word_embeddings=True,
    ),
    # A layer without experts, and weights that do not sum to 1.
    "qwen3_moe_dense": lambda: transformers.Qwen3MoeConfig(
        **sizes(24, 40, 4, 2, 8, layers=3),
        moe_intermediate_size=16,
        num_experts=5,
        num_experts_per_tok=2,
        norm_topk_prob=False,
        mlp_only_layers=[1],
        output_router_logits=True,
        router_aux_loss_coef=0.2,
        rope_parameters=rope(10000.0),
        tie_word_embeddings=True,
    ),
    "llama_yarn": lambda: transformers.LlamaConfig(
        **sizes(32, 40, 4, 2, 16, layers=2),
        rope_parameters=rope(
            10000.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=0.5
        ),
        tie_word_embeddings=True,
    ),
    # The last sequence is longer than what the model was trained for.
    "phi3_long": lambda: transformers.Phi3Config(
        **{k: v for k, v in sizes(32, 40, 4, 2, 8, layers=2).items() if k not in ("head_dim", "pad_token_id")},
        pad_token_id=None,
        original_max_position_embeddings=8,
        rope_parameters=rope(
            10000.0,
            rope_type="longrope",
            partial_rotary_factor=0.75,
            short_factor=[1.0, 1.25, 1.5],
            long_factor=[1.5, 4.0, 7.5],
        ),
        tie_word_embeddings=False,
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=320, n_embd=32, n_layer=3, n_head=4, n_positions=64, n_inner=80, bos_token_id=0, eos_token_id=1
    ),
}
ARCHITECTURES = {
    "mistral": "LLAMA",
    "mixtral": "LLAMA",
    "qwen3_moe": "QWEN3MOE",
    "qwen3_moe_dense": "QWEN3MOE",
    "llama_yarn": "LLAMA",
    "phi3_long": "PHI3",
}  # of GGUF, where it has another name


def random_model(config, seed):
    """Weights in bf16's precision: deviation 1.3 / √columns, norms about their neutral value."""
    generator = torch.Generator().manual_seed(seed)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif p.dim() == 1:
                p.copy_(p + 0.3 * noise)
            elif "embed" in name:
                p.copy_(0.5 * noise)
            else:
                p.copy_(noise * 1.3 / math.sqrt(p.shape[-1]))
            p.copy_(p.bfloat16().float())
    return model


def save(model, folder):
    narrow = copy.deepcopy(model).bfloat16()
    narrow.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def greedy(model, ids, count):
    """The continuation, by whole forwards; the least distance of a first choice to its second is printed."""
    ids, gap = list(ids), math.inf
    with torch.inference_mode():
        for _ in range(count):
            best = model(torch.tensor([ids])).logits[0, -1].topk(2)
            gap = min(gap, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
    print(f"    greedy: first choices lead by {gap:.1e} at least")
    return ids[-count:]


def published(name, tensor, model_type):
    """The names of published files: transformers 5 holds all experts of a layer in one tensor, Mixtral's under another name."""
    mixtral = model_type == "mixtral"
    block = name.replace(".mlp.", ".block_sparse_moe.") if mixtral else name
    if not re.search(r"\.experts\.(gate_up|down)_proj$", name):
        return [(block if ".mlp.gate." in name else name, tensor)]
    at = block.rsplit(".", 1)[0]
    parts = []
    for e, matrix in enumerate(tensor):
        if name.endswith("down_proj"):
            parts.append((f"{at}.{e}.{'w2' if mixtral else 'down_proj'}.weight", matrix))
        else:
            gate, up = matrix.chunk(2)
            parts.append((f"{at}.{e}.{'w1' if mixtral else 'gate_proj'}.weight", gate))
            parts.append((f"{at}.{e}.{'w3' if mixtral else 'up_proj'}.weight", up))
    return parts


def gradients(model, ids):
    model.zero_grad()
    tensor = torch.tensor([ids])
    loss = model(tensor, labels=tensor).loss
    loss.backward()
    all = {}
    for name, p in model.named_parameters():
        for part, g in published(name, torch.zeros_like(p) if p.grad is None else p.grad, model.config.model_type):
            g = g.flatten()
            at = np.linspace(0, g.numel() - 1, min(VALUES, g.numel())).astype(int)
            values = [float(f"{float(g[i]):.9g}") for i in at]
            all[part] = {"norm": float(g.double().norm()), "at": at.tolist(), "values": values}
    return loss.item(), all


def gguf_names(model, architecture):
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture), model.config.num_hidden_layers)
    result = {}
    for name, p in model.named_parameters():
        for part, _ in published(name, p, model.config.model_type):
            # llama.cpp's converter stacks the experts and looks for the name without their number.
            together = re.sub(r"\.experts\.\d+\.", ".experts.", part)
            if model.config.model_type == "mixtral" and ".experts." in part:
                together = together.replace("model.", "").replace("block_sparse_moe", "feed_forward")
            result[part] = names.get_name(together, try_suffixes=(".weight", ".bias"))
    return result


def peft_names(model):
    """Of LoRA on all linear layers; of mixtures of experts on attention, the rest of which PEFT's versions name in different ways."""
    import peft

    mixture = hasattr(model.config, "num_local_experts")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"] if mixture else "all-linear"
    wrapped = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=2, target_modules=targets))
    return sorted(peft.get_peft_model_state_dict(wrapped))


@torch.inference_mode()
def beam_searches(model, prompt, ends):
    """The best beams of sizes 2, 4 and 8, with scores; the ends' bias makes some of them end early."""
    bias = [[i, 2.0] for i in ends]
    cases = []
    for size in (2, 4, 8):
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            use_cache=False,
            max_new_tokens=14,
            eos_token_id=ends,
            pad_token_id=ends[0],
            num_beams=size,
            num_return_sequences=size,
            sequence_bias=[[[i], b] for i, b in bias],
            output_scores=True,
            return_dict_in_generate=True,
        )
        made = out.sequences[:, len(prompt) :].tolist()
        ids = [s[: next((i + 1 for i, t in enumerate(s) if t in ends), len(s))] for s in made]
        scores = [float(f"{v:.7g}") for v in out.sequences_scores.tolist()]
        gaps = [a - b for a, b in zip(scores, scores[1:])]
        print(f"    {size} beams: neighbours {min(gaps):.1e} apart at least, {sum(s[-1] in ends for s in ids)} end early")
        cases.append({"num_beams": size, "n": size, "prompt": prompt, "max_tokens": 14, "logit_bias": bias, "ids": ids, "scores": scores})
    return cases


def committed(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    config._attn_implementation = "eager"
    return transformers.AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()


def write_searches(out):
    """Of the committed models, which stay as they are: Llama's and Qwen2's, of models/, too."""
    ids = json.loads((out / "ids.json").read_text())
    folders = [out / name for name in CONFIGS]
    folders += [out.parent / "models" / name for name in ("llama", "llama_linear", "llama_bf16", "qwen2", "qwen2_tied")]  # of one vocabulary
    for folder in folders:
        print(folder.name)
        model = committed(folder)
        cases = beam_searches(model, ids[-1][:12], [0, 2])  # the ends of tests/golden/models/llama's tokenizer
        (out / f"{folder.name}.beams.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    for name in ("qwen2", "qwen2_tied"):
        loss, each = gradients(committed(out.parent / "models" / name), ids[-1])
        (out / f"{name}.gradients.json").write_text(json.dumps({"loss": loss, "gradients": each}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.search:
        return write_searches(args.out)
    rng = np.random.default_rng(5)
    sequences = [rng.integers(0, 320, n).tolist() for n in LENGTHS]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "ids.json").write_text(json.dumps(sequences) + "\n")
    for seed, (name, config) in enumerate(CONFIGS.items()):
        if args.names and name not in args.names:
            continue
        model = random_model(config(), seed)
        save(model, args.out / name)
        with torch.inference_mode():
            logits = np.concatenate([model(torch.tensor([s])).logits[0].numpy() for s in sequences])
        np.save(args.out / f"{name}.logits.npy", logits)
        print(f"{name}: logits from {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")
        loss, each = gradients(model, sequences[-1])
        result = {
            "greedy": greedy(model, sequences[-1][:12], 24),
            "loss": loss,
            "gradients": each,
            "peft": peft_names(model),
            "gguf": gguf_names(model, ARCHITECTURES.get(name, name.upper())),
        }
        (args.out / f"{name}.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
