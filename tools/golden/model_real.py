#!/usr/bin/env python3
"""What transformers generates, greedily and in f32, from a GGUF file: for tests/parity/real_models_test.cc.

    model_real.py smollm2.gguf tests/golden/models/smollm2.greedy.json

Needs gguf, torch, transformers, tokenizers. For each prompt: its ids, the 64 tokens that follow (end tokens do not stop
it), and at each step the two largest logits. Where an implementation picks another token, the gap between the two says
whether rounding explains it.
"""

import argparse
import json
import pathlib
import sys
import time

import torch

import model_gguf

RAW = [
    "The best time to repot a succulent is",
    "def fibonacci(n):\n    ",
    "多肉植物在冬天应该",
    "In 1969, the first humans to walk on the Moon were",
    "春天来了，阳台上的",
]
CHAT = [
    "How often should I water an aloe vera that stands on a north-facing windowsill?",
    "为什么我的多肉叶子变软了？",
    "List three plants that are easy to grow indoors.",
    "请用一句话解释什么是光合作用。",
    "Write a Python function that reverses a string.",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    file = model_gguf.File(args.gguf)
    model, tokenizer = file.model(), file.tokenizer()
    texts = [("raw", t, t) for t in RAW]
    texts += [("chat", t, file.chat_prompt([{"role": "user", "content": t}])) for t in CHAT]
    prompts = []
    for kind, text, prompt in texts:
        start = time.time()
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        with torch.inference_mode():
            out = model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=args.tokens,
                output_logits=True,
                return_dict_in_generate=True,
            )
        generated = out.sequences[0, len(ids) :].tolist()
        top = [torch.topk(step[0], 2) for step in out.logits]
        assert len(generated) == args.tokens and all(int(t.indices[0]) == g for t, g in zip(top, generated))
        prompts.append(
            {
                "kind": kind,
                "text": text,
                "prompt_ids": ids,
                "ids": generated,
                "second_ids": [int(t.indices[1]) for t in top],
                "top_logits": [[float(v) for v in t.values] for t in top],
            }
        )
        gaps = [float(t.values[0] - t.values[1]) for t in top]
        print(f"{time.time() - start:.0f} s, least gap {min(gaps):.4f}: {tokenizer.decode(generated)!r}", file=sys.stderr)
    # A line for each field, so that a change shows as one.
    lines = ",\n".join(
        " {\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in p.items()) + "\n }" for p in prompts
    )
    args.out.write_text(f'{{"prompts": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
