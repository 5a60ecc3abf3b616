#!/usr/bin/env python3
"""Loads an adapter that Sedum trained into PEFT and compares logits: LoRA of any kind (DoRA, biases, whole layers, patterns). Run by hand;
wants torch, transformers, peft.

    sedum forward --model MODEL --adapter ADAPTER --ids-file ids.json --out logits.npy
    tools/peft_check.py ADAPTER MODEL logits.npy ids.json

MODEL is the base: a Hugging Face folder or a GGUF file (dequantised to f32). ids: JSON [[…]] or .npy (batch, seq), sequences of
one length. Prints the largest error in shares of the logits' standard deviation; fails above 1e-4.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import peft
import torch
import transformers


def base_model(path):
    if path.suffix != ".gguf":
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "golden"))
    import model_gguf

    return model_gguf.File(path).model()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("logits", type=pathlib.Path)
    parser.add_argument("ids", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    ids = np.load(args.ids) if args.ids.suffix == ".npy" else np.array(json.loads(args.ids.read_text()))
    ours = np.load(args.logits)
    base = base_model(args.model)
    with torch.inference_mode():
        without = base(torch.from_numpy(ids).long()).logits.numpy()
        model = peft.PeftModel.from_pretrained(base, args.adapter).eval()
        theirs = model(torch.from_numpy(ids).long()).logits.numpy()
    if ours.shape != theirs.shape:
        sys.exit(f"shapes differ: {ours.shape} here, {theirs.shape} from PEFT")
    spread = theirs.std()
    error, effect = (float(np.abs(theirs - other).max() / spread) for other in (ours, without))
    adapters = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n or "modules_to_save" in n)
    print(f"{adapters:,} adapter parameters; largest error {error:.2e} of the spread {spread:.3f}; the adapter itself moves logits by {effect:.2e}")
    if not error <= args.tolerance:
        sys.exit(f"the error is above {args.tolerance:g}")
    if effect <= 10 * args.tolerance:
        sys.exit("the adapter hardly changes the model: this shows nothing")


if __name__ == "__main__":
    main()
