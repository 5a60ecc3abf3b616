#!/usr/bin/env python3
"""GPTQ as the paper's authors wrote it, in NumPy: what `sedum quantize --type gptq` is compared with.

    sedum tokenize --model MODEL.gguf --file calibration.txt --no-special --json > calibration.json
    sedum tokenize --model MODEL.gguf --file heldout.txt --no-special --json > heldout.json
    bench/gptq_reference.py MODEL.gguf calibration.json heldout.json --windows 8 --bits 4 --group-size 128 [--desc-act] [--rtn]

Column by column with the Cholesky factor of the inverse Hessian (Frantar et al. 2022, algorithm 1), layer after layer, the inputs of
each coming through the quantised ones before it; groups' scales rounded to f16 as files hold them. Forward passes by transformers in
f32. Prints the perplexity over windows of 512 held-out tokens. Wants torch, transformers, gguf, numpy.
"""
import argparse
import json
import math
import pathlib
import sys

# In place of this folder, whose tokenizers.py would be taken for the package of that name.
sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent / "tools" / "golden")
import model_gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

WINDOW = 512


def scales_of(group, bits, symmetric):
    top = 2**bits - 1
    least, most = np.minimum(group.min(1), 0), np.maximum(group.max(1), 0)
    if symmetric:
        most = np.maximum(-least, most)
        least = -most
    scale = ((most - least) / top).astype(np.float16).astype(np.float32)
    scale[scale == 0] = 1
    zero = np.full_like(scale, (top + 1) / 2) if symmetric else np.clip(np.rint(-least / scale), 0, top)
    return scale, zero


def rounded(column, scale, zero, bits):
    return scale * (np.clip(np.rint(column / scale) + zero, 0, 2**bits - 1) - zero)


def quantise(weight, hessian, args):
    w = weight.copy()
    columns = w.shape[1]
    if args.rtn:
        for start in range(0, columns, args.group_size):
            scale, zero = scales_of(w[:, start:start + args.group_size], args.bits, not args.asymmetric)
            for i in range(start, min(columns, start + args.group_size)):
                w[:, i] = rounded(w[:, i], scale, zero, args.bits)
        return w
    h = hessian.astype(np.float64)
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    order = np.argsort(-np.diag(h), kind="stable") if args.desc_act else np.arange(columns)
    w, h = w[:, order], h[np.ix_(order, order)]
    h[np.arange(columns), np.arange(columns)] += 0.01 * np.diag(h).mean()
    upper = np.linalg.cholesky(np.linalg.inv(h)).T.astype(np.float32)
    result = np.empty_like(w)
    for begin in range(0, columns, 128):
        end = min(columns, begin + 128)
        errors = np.zeros((w.shape[0], end - begin), np.float32)
        for i in range(begin, end):
            if i % args.group_size == 0:
                scale, zero = scales_of(w[:, i:i + args.group_size], args.bits, not args.asymmetric)
            result[:, i] = rounded(w[:, i], scale, zero, args.bits)
            errors[:, i - begin] = (w[:, i] - result[:, i]) / upper[i, i]
            w[:, i:end] -= errors[:, i - begin:i - begin + 1] * upper[i, i:end]
        w[:, end:] -= errors @ upper[begin:end, end:]
    back = np.empty_like(result)
    back[:, order] = result
    return back


def read_windows(path, count):
    document = json.loads(pathlib.Path(path).read_text())
    ids = document["ids"] if isinstance(document, dict) else document
    whole = len(ids) // WINDOW
    return torch.tensor(ids[:whole * WINDOW]).view(whole, WINDOW)[:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("calibration")
    parser.add_argument("heldout")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--heldout-windows", type=int, default=16)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=128)
    parser.add_argument("--asymmetric", action="store_true")
    parser.add_argument("--desc-act", action="store_true")
    parser.add_argument("--rtn", action="store_true")
    parser.add_argument("--plain", action="store_true", help="no quantisation at all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = model_gguf.File(args.model).model().float().eval()
    windows = read_windows(args.calibration, args.windows)
    with torch.inference_mode():
        hidden = model.model.embed_tokens(windows)
        positions = torch.arange(WINDOW)[None]
        rotary = model.model.rotary_emb(hidden, positions)
        groups = (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("self_attn.o_proj",),
                  ("mlp.gate_proj", "mlp.up_proj"), ("mlp.down_proj",))
        mask = torch.full((WINDOW, WINDOW), float("-inf")).triu(1)[None, None]

        def forward(layer, x):
            out = [layer(x[i:i + 1], attention_mask=mask, position_embeddings=rotary, position_ids=positions) for i in range(len(x))]
            return torch.cat([o[0] if isinstance(o, tuple) else o for o in out])

        for number, layer in enumerate(() if args.plain else model.model.layers):
            for names in groups:
                hessian = None
                if not args.rtn:
                    def collect(_module, inputs):
                        nonlocal hessian
                        x = inputs[0].reshape(-1, inputs[0].shape[-1])
                        hessian = x.T @ x + (0 if hessian is None else hessian)
                    hook = layer.get_submodule(names[0]).register_forward_pre_hook(collect)
                    forward(layer, hidden)
                    hook.remove()
                for name in names:
                    linear = layer.get_submodule(name)
                    matrix = hessian.numpy() if hessian is not None else None
                    linear.weight.copy_(torch.from_numpy(quantise(linear.weight.numpy(), matrix, args)))
            hidden = forward(layer, hidden)
            print(f"layer {number + 1} of {len(model.model.layers)}", file=sys.stderr)
        loss = tokens = 0
        for window in read_windows(args.heldout, args.heldout_windows):
            logits = model(window[None]).logits[0, :-1].double()
            loss += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
            tokens += WINDOW - 1
    print(f"perplexity {math.exp(loss / tokens):.4f} over {tokens} tokens")


if __name__ == "__main__":
    main()
