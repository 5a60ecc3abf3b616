"""transformers' generate() on a GGUF file, dequantised to bf16 or f32: child of bench/infer/table.py. Prints one JSON line.

    python transformers_generate.py --model M.gguf --tokens 64 --dtype f32 --threads 2

Greedy, from a prompt of 16 random ids, with its cache of keys and values; the second of two calls counts, without the prompt's own time.
"""

import argparse
import json
import pathlib
import random
import time

import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.float32 if args.dtype == "f32" else torch.bfloat16
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model.parent, gguf_file=args.model.name, dtype=dtype).eval()
    ids = torch.tensor([[random.Random(0).randrange(1000, 20000) for _ in range(16)]])

    def seconds(tokens):
        start = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens)
        return time.perf_counter() - start

    seconds(2)
    first = seconds(1)
    print(json.dumps({"tok_s": (args.tokens - 1) / (seconds(args.tokens) - first), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
