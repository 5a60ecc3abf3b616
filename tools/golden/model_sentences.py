#!/usr/bin/env python3
"""Sentence vectors by transformers, as sentence-transformers defines them: for tests/parity/encoders_test.cc.

    model_sentences.py FOLDER tests/golden/models/minilm

FOLDER holds all-MiniLM-L6-v2. Needs numpy, torch, transformers. Writes OUT.json with the texts and how many tokens each has, and OUT.npy, float32
(texts, 384): the mean of the last hidden states over the tokens that are no padding, scaled to length 1. Texts are cut at 256 tokens,
sentence_bert_config.json's max_seq_length. All texts are one padded batch here.
"""

import argparse
import json

import numpy as np
import torch
import transformers

TEXTS = [
    "Water",
    "Water the jade plant once the soil is dry.",
    "How often should succulents be watered in winter?",
    "The stock market fell sharply on Tuesday, its worst day since March.",
    "多肉植物冬天要少浇水。",
    "Café déjà-vu: naïve UTF-8 handling, 3.14 % of 1,024 e-mails & more…",
    "def area(radius): return 3.14159 * radius ** 2  # a circle's",
    "Bright light keeps the leaves red, and a cold windowsill keeps them small. " * 30,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.folder)
    model = transformers.AutoModel.from_pretrained(args.folder, dtype=torch.float32, attn_implementation="eager").eval()
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9), dim=1)
    np.save(args.out + ".npy", vectors.numpy())
    tokens = batch["attention_mask"].sum(1).tolist()
    with open(args.out + ".json", "w", encoding="utf-8") as f:
        f.write(json.dumps({"texts": TEXTS, "tokens": tokens}, ensure_ascii=False, indent=1) + "\n")
    print(tokens, (vectors @ vectors.T).numpy().round(3).tolist())


if __name__ == "__main__":
    main()
