#!/usr/bin/env python3
"""Tiny random models by transformers, as Hugging Face folders and as GGUF files, with their logits: for tests/parity.

    model_tiny.py tests/golden/models

Needs gguf, numpy, safetensors, tokenizers, torch, transformers. Sizes are odd on purpose, norms are not 1 and biases not 0,
so that a forgotten one shows. Writes for each model NAME a folder (config.json as transformers 5 saves it), NAME.logits.npy
(rows of all sequences of ids.json, one after the other; vocabulary) and, for some, NAME.TYPE.gguf by llama.cpp's rules of
conversion; with Q8_0 the logits are those of the dequantised weights (NAME.q8_0.logits.npy).
"""

import argparse
import json
import math
import pathlib

import gguf
import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import model_gguf

TEXT = [
    "Aloe vera stores water in its leaves. Water it when the soil is dry, and let the water run off.",
    "多肉植物喜欢阳光和排水良好的土壤，冬天要少浇水。",
    "The soil should be loose; the leaves should be firm. Soft leaves ask for water, or for less of it.",
]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LENGTHS = [1, 9, 90, 33]  # 90: beyond original_max_position_embeddings and two pages of 32


def sizes(hidden, intermediate, heads, kv_heads, head_dim, vocab=320, layers=3, **more):
    return dict(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=2,
        **more,
    )


def rope(theta, **scaling):
    return {"rope_type": "default", "rope_theta": theta, **scaling}


LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
)
CONFIGS = {
    "llama": transformers.LlamaConfig(
        **sizes(32, 64, 4, 2, 16), rms_norm_eps=1e-5, rope_parameters=rope(10000.0), tie_word_embeddings=True
    ),
    # The Q8_0 of this one has matrices that stay F32: rows of 48 and 56 are no multiple of 32.
    "llama_scaled": transformers.LlamaConfig(
        **sizes(48, 56, 4, 2, 16, vocab=257),
        rms_norm_eps=1e-3,
        rope_parameters=rope(50000.0, **LLAMA3),
        tie_word_embeddings=False,
    ),
    "llama_linear": transformers.LlamaConfig(
        **sizes(32, 64, 4, 1, 8),
        rms_norm_eps=1e-6,
        rope_parameters=rope(10000.0, rope_type="linear", factor=2.5),
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
    ),
    "qwen2": transformers.Qwen2Config(
        **sizes(32, 96, 4, 2, 8), rms_norm_eps=1e-6, rope_parameters=rope(1000000.0), tie_word_embeddings=False
    ),
    "qwen2_tied": transformers.Qwen2Config(
        **sizes(32, 64, 6, 3, 16), rms_norm_eps=1e-5, rope_parameters=rope(10000.0), tie_word_embeddings=True
    ),
}


def random_model(config, seed):
    generator = torch.Generator().manual_seed(seed)
    kind = transformers.LlamaForCausalLM if config.model_type == "llama" else transformers.Qwen2ForCausalLM
    model = kind(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif p.dim() == 1:
                p.copy_(1 + 0.3 * noise)
            elif "embed_tokens" in name:
                p.copy_(0.5 * noise)
            else:
                p.copy_(noise * 1.3 / math.sqrt(p.shape[1]))
    return model


def logits(model, sequences):
    with torch.inference_mode():
        return np.concatenate([model(torch.tensor([s])).logits[0].float().numpy() for s in sequences])


def train_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    assert tokenizer.get_vocab_size() == 320
    return tokenizer


def save_tokenizer(folder, tokenizer):
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "chat_template": TEMPLATE,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def llama3_divisors(config):
    p = config.rope_parameters
    low = p["original_max_position_embeddings"] / p["low_freq_factor"]
    high = p["original_max_position_embeddings"] / p["high_freq_factor"]
    out = []
    for i in range(0, config.head_dim, 2):
        wavelength = 2 * math.pi * p["rope_theta"] ** (i / config.head_dim)
        smooth = (p["original_max_position_embeddings"] / wavelength - p["low_freq_factor"]) / (
            p["high_freq_factor"] - p["low_freq_factor"]
        )
        blended = 1 / ((1 - smooth) / p["factor"] + smooth)
        out.append(1.0 if wavelength < high else p["factor"] if wavelength > low else blended)
    return np.array(out, dtype=np.float32)


def write_gguf(path, model, kind, tokenizer):
    """As convert_hf_to_gguf of llama.cpp does it: names by the package's map, q and k of Llama interleaved."""
    config = model.config
    architecture = config.model_type
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.upper()), config.num_hidden_layers)
    w = gguf.GGUFWriter(path, architecture)
    w.add_name(path.stem)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_rope_freq_base(config.rope_parameters["rope_theta"])
    w.add_vocab_size(config.vocab_size)
    w.add_rope_dimension_count(config.head_dim)
    if config.head_dim * config.num_attention_heads != config.hidden_size:
        w.add_key_length(config.head_dim)
        w.add_value_length(config.head_dim)
    if config.rope_parameters["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(config.rope_parameters["factor"])
    if config.rope_parameters["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(config))
    if config.vocab_size == tokenizer.get_vocab_size():
        described = json.loads(tokenizer.to_str())
        ids = {i: t for t, i in tokenizer.get_vocab().items()}
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre("gpt-2")
        w.add_token_list([ids[i] for i in range(len(ids))])
        w.add_token_types([gguf.TokenType.CONTROL if i < 3 else gguf.TokenType.NORMAL for i in range(len(ids))])
        w.add_token_merges([" ".join(m) for m in described["model"]["merges"]])
        w.add_bos_token_id(0)
        w.add_eos_token_id(2)
        w.add_chat_template(TEMPLATE)
    for name, p in model.named_parameters():
        values = p.detach().numpy()
        if architecture == "llama" and ".q_proj." in name:
            values = model_gguf.interleave(values, config.num_attention_heads)
        if architecture == "llama" and ".k_proj." in name:
            values = model_gguf.interleave(values, config.num_key_value_heads)
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if kind == "q8_0" and values.ndim == 2 and values.shape[1] % 32 == 0:
            q8 = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(stored, gguf.quants.quantize(np.ascontiguousarray(values), q8), raw_dtype=q8)
        else:
            w.add_tensor(stored, np.ascontiguousarray(values))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def through_q8_0(model):
    """The model with every matrix that Q8_0 can hold rounded to it."""
    q8 = gguf.GGMLQuantizationType.Q8_0
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 2 and p.shape[1] % 32 == 0:
                p.copy_(torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(p.numpy(), q8), q8)))
    return model


def spell_as_transformers_4(folder):
    """The config again with the keys of transformers 4: rope_theta and rope_scaling in place of rope_parameters."""
    config = json.loads((folder / "config.json").read_text())
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    if parameters["rope_type"] == "linear":  # the oldest key, of before 4.43
        config["rope_scaling"] = {"type": "linear", "factor": parameters["factor"]}
    else:
        config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.44.2"
    (folder / "config.transformers4.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rng = np.random.default_rng(11)
    sequences = [rng.integers(0, 257, n).tolist() for n in LENGTHS]
    (out / "ids.json").write_text(json.dumps(sequences) + "\n")
    tokenizer = train_tokenizer()
    for seed, (name, config) in enumerate(CONFIGS.items()):
        model = random_model(config, seed)
        model.save_pretrained(out / name)
        (out / name / "generation_config.json").unlink(missing_ok=True)
        if config.vocab_size == tokenizer.get_vocab_size():
            save_tokenizer(out / name, tokenizer)
        values = logits(model, sequences)
        np.save(out / f"{name}.logits.npy", values)
        print(f"{name}: logits from {values.min():.2f} to {values.max():.2f}, deviation {values.std():.2f}")
        if name in ("llama", "llama_scaled", "llama_linear"):
            write_gguf(out / f"{name}.f32.gguf", model, "f32", tokenizer)
        if name in ("llama_linear", "llama_scaled"):
            spell_as_transformers_4(out / name)
        if name in ("llama", "qwen2"):
            write_gguf(out / f"{name}.q8_0.gguf", model, "q8_0", tokenizer)
            np.save(out / f"{name}.q8_0.logits.npy", logits(through_q8_0(model), sequences))

    model = random_model(CONFIGS["llama"], 0)
    model.save_pretrained(out / "llama_sharded", max_shard_size="60KB")
    assert len(list((out / "llama_sharded").glob("*.safetensors"))) > 1
    model.to(torch.bfloat16).save_pretrained(out / "llama_bf16")
    # Loaded again: .to() has rounded the rotary frequencies as well, which no file holds.
    model = transformers.LlamaForCausalLM.from_pretrained(out / "llama_bf16", dtype=torch.float32).eval()
    np.save(out / "llama_bf16.logits.npy", logits(model, sequences))
    for name in ("llama_sharded", "llama_bf16"):
        (out / name / "generation_config.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
