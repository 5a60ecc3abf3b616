"""Training steps of PyTorch and transformers, LoRA by PEFT, on random weights: child of bench/training.py. Prints one JSON line.

    python torch_training.py --mode full --dtype autocast --batch 4 --seq 256 --steps 3 --threads 2

A step is forward, backward, clipping, AdamW (fused), as a Trainer's; random ids, all of them labels, eager mode, and the attention that
transformers chooses. full: fp32; autocast (f32 weights, bf16 products); bf16-pure (everything in bf16). lora, r = 16 on every linear
layer but the head: fp32; autocast; bf16 (base in bf16, adapters in f32: PEFT's default); bf16-pure (adapters in bf16 too); nf4 (the linear
layers in bitsandbytes' NF4 with double quantisation, products in bf16: QLoRA). --compile: the model by torch.compile, with two steps to warm
up, whose compilation is not timed.
"""

import argparse
import json
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {
    "smollm2-135m": LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        vocab_size=49152, max_position_embeddings=4096, tie_word_embeddings=True,
    ),
    "story-15m": LlamaConfig(
        hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6,
        vocab_size=32000, max_position_embeddings=4096, tie_word_embeddings=True,
    ),
    "tinyllama-1.1b": LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4,
        vocab_size=32000, max_position_embeddings=4096, tie_word_embeddings=False,
    ),
    "llama2-7b-4l": LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=4, num_attention_heads=32, num_key_value_heads=32,
        vocab_size=32000, max_position_embeddings=4096, tie_word_embeddings=False,
    ),
}  # fmt: skip
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def to_nf4(model):
    """Each linear layer's weights but the head's, replaced by bitsandbytes' layer."""
    import bitsandbytes.nn as bnb

    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, torch.nn.Linear) and name in LINEARS:
                narrow = bnb.Linear4bit(layer.in_features, layer.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
                narrow.weight = bnb.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
                setattr(parent, name, narrow.to("cpu"))  # which quantises
                if not narrow.weight.bnb_quantized:
                    raise SystemExit("this bitsandbytes does not quantise on the CPU")
    return model


def build(config, mode, dtype):
    torch.set_default_dtype(torch.bfloat16 if dtype.startswith("bf16") or dtype == "nf4" else torch.float32)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    if dtype == "nf4":
        model = to_nf4(model)
    if mode == "lora":
        import peft

        adapter = peft.LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=LINEARS)
        model = peft.get_peft_model(model, adapter, autocast_adapter_dtype=dtype != "bf16-pure")
    return model.train()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="smollm2-135m")
    parser.add_argument("--mode", choices=["full", "lora"], default="full")
    parser.add_argument("--dtype", choices=["fp32", "autocast", "bf16", "bf16-pure", "nf4"], default="fp32")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3, help="after those to warm up")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = SHAPES[args.shape]
    # Weights that cost a product, the head's among them. The adapter's own are left out, as in Sedum's figure.
    with torch.device("meta"):
        bare = LlamaForCausalLM(config)
    multiplied = sum(p.numel() for p in bare.parameters()) - (0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size)
    model = build(config, args.mode, args.dtype)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    ids = torch.randint(0, config.vocab_size, (args.batch, args.seq))
    if args.compile:
        model = torch.compile(model, dynamic=False)
    times, warm = [], 2 if args.compile else 1
    for _ in range(args.steps + warm):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "autocast"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    step_s, tokens = statistics.median(times[warm:]), args.batch * args.seq
    gflops = (6 if args.mode == "full" else 4) * multiplied * tokens / step_s / 1e9
    print(json.dumps({"step_s": step_s, "tok_s": tokens / step_s, "gflops": gflops, "loss": float(loss.detach())}))


if __name__ == "__main__":
    main()
