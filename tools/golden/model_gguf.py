"""A GGUF file as a transformers model in f32, and as a `tokenizers` tokenizer, without transformers' own GGUF reader.

That reader leaves out the splitting of digits that SmolLM2's pre-tokenizer asks for, and ties output.weight to
token_embd.weight where a config does not say otherwise. Here every tensor is placed by hand: what is missing or left over
is an error. The other model_*.py import this.
"""

import gguf
import numpy as np
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# The pre-tokenizers of upstream's tokenizer.json. Qwen2's pattern, as published with the model.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def hf_name(name):
    if name in ("token_embd.weight", "output_norm.weight", "output.weight"):
        return {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}[
            name.split(".")[0]
        ] + ".weight"
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def interleave(rows, heads):
    """Hugging Face's order of a head's rows (two halves) to that of GGUF's llama files (pairs)."""
    head_dim = rows.shape[0] // heads
    return rows.reshape(heads, 2, head_dim // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows, heads):
    head_dim = rows.shape[0] // heads
    return rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


class File:
    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.architecture = self.get("general.architecture")

    def get(self, key, default=None):
        field = self.reader.fields.get(key)
        return default if field is None else field.contents()

    def config(self):
        at = self.architecture + "."
        heads = self.get(at + "attention.head_count")
        names = {t.name for t in self.reader.tensors}
        kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[self.architecture]
        hidden = self.get(at + "embedding_length")
        head_dim = self.get(at + "attention.key_length", hidden // heads)
        return kind(
            vocab_size=len(self.get("tokenizer.ggml.tokens")),
            hidden_size=hidden,
            intermediate_size=self.get(at + "feed_forward_length"),
            num_hidden_layers=self.get(at + "block_count"),
            num_attention_heads=heads,
            num_key_value_heads=self.get(at + "attention.head_count_kv", heads),
            head_dim=head_dim,
            max_position_embeddings=self.get(at + "context_length"),
            rms_norm_eps=self.get(at + "attention.layer_norm_rms_epsilon"),
            rope_parameters={"rope_type": "default", "rope_theta": self.get(at + "rope.freq_base", 10000.0)},
            tie_word_embeddings="output.weight" not in names,
            bos_token_id=self.get("tokenizer.ggml.bos_token_id"),
            eos_token_id=None,
            pad_token_id=None,
        )

    def model(self):
        config = self.config()
        state = {}
        for tensor in self.reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            if self.architecture == "llama" and ".attn_q." in tensor.name:
                values = deinterleave(values, config.num_attention_heads)
            if self.architecture == "llama" and ".attn_k." in tensor.name:
                values = deinterleave(values, config.num_key_value_heads)
            state[hf_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(values))
        kind = {"llama": transformers.LlamaForCausalLM, "qwen2": transformers.Qwen2ForCausalLM}[self.architecture]
        with torch.device("meta"):
            model = kind(config)
        if config.tie_word_embeddings:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        model.load_state_dict(state, strict=True, assign=True)
        # Computed at construction, so on the meta device: again, with numbers.
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
        return model.eval()

    def tokenizer(self):
        tokens = self.get("tokenizer.ggml.tokens")
        merges = [tuple(m.split(" ", 1)) for m in self.get("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
        pre = self.get("tokenizer.ggml.pre")
        if pre == "smollm":
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Digits(individual_digits=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
                ]
            )
        elif pre == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        else:
            raise SystemExit(f"the pre-tokenizer {pre} is not known here")
        tokenizer.decoder = decoders.ByteLevel()
        kinds = self.get("tokenizer.ggml.token_type")
        tokenizer.add_special_tokens([t for t, kind in zip(tokens, kinds) if kind == gguf.TokenType.CONTROL])
        tokenizer.add_tokens([t for t, kind in zip(tokens, kinds) if kind == gguf.TokenType.USER_DEFINED])
        return tokenizer

    def chat_prompt(self, messages):
        """The prompt of a conversation, rendered by Jinja2 with the options that transformers sets."""
        import jinja2.sandbox

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(self.get("tokenizer.chat_template"))
        return template.render(messages=messages, add_generation_prompt=True)
