#!/usr/bin/env python3
"""What transformers' logits processors, beam search and contrastive search give: for tests/parity/decoding_test.cc.

    infer_decoding.py tests/golden/models tests/golden/infer [smollm2.gguf]

Needs torch, transformers; gguf, tokenizers and model_gguf.py with a file. Writes processors.json, beams.json and, with a file,
smollm2_beams.json. transformers 5 moved diverse groups and contrastive search out of generate(): they are written out here in plain
torch, whole sequences without a cache: groups by the rules of its present beam search, one search for each group, with the
Hamming penalty that it had; contrastive search by Su et al. 2022 as transformers 4 had it (probabilities before top-k).
"""

import argparse
import json
import math
import pathlib

import torch
import transformers
from transformers import generation as g

ENDS = [0, 2]  # <|endoftext|> and <|im_end|> of the tiny tokenizer
PROMPTS = [[1, 87, 85, 14], [5, 200, 31, 7, 300, 301, 44, 9, 120, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80,
                             81, 82, 83, 84, 85, 86, 87, 88]]  # the second: more than a page of 32


def processors(path):
    generator = torch.Generator().manual_seed(5)
    logits = 2.5 * torch.randn(3, 48, generator=generator)
    history = torch.randint(0, 48, (3, 20), generator=generator)
    cases = [
        {"temperature": 0.7},
        {"temperature": 1.3, "top_k": 7},
        {"top_p": 0.8},
        {"top_k": 20, "top_p": 0.6, "temperature": 1.7},
        {"min_p": 0.12},
        {"typical_p": 0.35},
        {"typical_p": 0.9, "temperature": 2.0},
        {"repetition_penalty": 1.4},
        {"repetition_penalty": 0.8, "top_p": 0.7, "min_p": 0.02, "typical_p": 0.7, "temperature": 0.9},
        {"logit_bias": [[3, 4.5], [11, -2.0], [40, 1.25]], "repetition_penalty": 1.2},
    ]
    out = []
    for case in cases:
        steps = g.LogitsProcessorList()
        if "logit_bias" in case:
            steps.append(g.SequenceBiasLogitsProcessor([[[i], b] for i, b in case["logit_bias"]]))
        if "repetition_penalty" in case:
            steps.append(g.RepetitionPenaltyLogitsProcessor(case["repetition_penalty"]))
        if "temperature" in case:
            steps.append(g.TemperatureLogitsWarper(case["temperature"]))
        if "top_k" in case:
            steps.append(g.TopKLogitsWarper(case["top_k"]))
        if "top_p" in case:
            steps.append(g.TopPLogitsWarper(case["top_p"]))
        if "min_p" in case:
            steps.append(g.MinPLogitsWarper(case["min_p"]))
        if "typical_p" in case:
            steps.append(g.TypicalLogitsWarper(case["typical_p"]))
        probabilities = torch.softmax(steps(history, logits.clone()), dim=-1)
        out.append({"parameters": case, "probabilities": probabilities.tolist()})
    document = {"logits": logits.tolist(), "history": history.tolist(), "cases": out}
    path.write_text(json.dumps(document) + "\n")


@torch.inference_mode()
def last_logits(model, sequences):
    return model(torch.tensor(sequences)).logits[:, -1].float()


def grouped(model, prompt, beams, groups, penalty, length_penalty, early, most, bias, returned):
    size = beams // groups
    state = [{"run": [(list(prompt), 0.0)], "end": [], "done": False} for _ in range(groups)]
    for made in range(most):
        taken = []
        for group in state:
            if group["done"]:
                continue
            scores = torch.log_softmax(last_logits(model, [s for s, _ in group["run"]]), -1)
            for i, b in bias:
                scores[:, i] += b
            for i in taken:
                scores[:, i] -= penalty
            scores = scores + torch.tensor([v for _, v in group["run"]])[:, None]
            values, indices = scores.flatten().topk(3 * size)
            run = []
            for rank, (v, i) in enumerate(zip(values.tolist(), indices.tolist())):
                s = group["run"][i // scores.shape[1]][0] + [i % scores.shape[1]]
                if s[-1] in ENDS or made + 1 == most:
                    if rank < size:
                        group["end"].append((s, v / (made + 1) ** length_penalty))
                elif len(run) < size:
                    run.append((s, v))
            group["end"] = sorted(group["end"], key=lambda e: -e[1])[:size]
            group["run"] = run
            longest = early == "never" and length_penalty > 0
            full = len(group["end"]) == size
            if not run or (full and early is True):
                group["done"] = True
            elif full:
                best = run[0][1] / (most if longest else made + 1) ** length_penalty
                group["done"] = best <= group["end"][-1][1]
            if not group["done"]:
                taken += [s[-1] for s, _ in run]
        if all(group["done"] for group in state):
            break
    ends = sorted((e for group in state for e in group["end"]), key=lambda e: -e[1])[:returned]
    return [s[len(prompt):] for s, _ in ends], [v for _, v in ends]


@torch.inference_mode()
def contrastive(model, prompt, k, alpha, most):
    out = model.model(torch.tensor([prompt])).last_hidden_state[0]
    past, logits, sequence = out, model.lm_head(out[-1:]), list(prompt)
    for _ in range(most):
        p, ids = torch.softmax(logits[0].float(), -1).topk(k)
        hidden = model.model(torch.tensor([sequence + [int(i)] for i in ids])).last_hidden_state[:, -1]
        unit = torch.nn.functional.normalize
        likeness = (unit(hidden, dim=-1) @ unit(past, dim=-1).T).max(-1).values
        chosen = int(((1 - alpha) * p - alpha * likeness).argmax())
        sequence.append(int(ids[chosen]))
        past, logits = torch.cat([past, hidden[chosen : chosen + 1]]), model.lm_head(hidden[chosen : chosen + 1])
        if sequence[-1] in ENDS:
            break
    return sequence[len(prompt):]


@torch.inference_mode()
def beams(model, prompt, case, most, ends, bias):
    out = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=most,
        eos_token_id=ends,
        pad_token_id=ends[0],
        num_return_sequences=case["n"],
        sequence_bias=[[[i], b] for i, b in bias] if bias else None,
        output_scores=True,
        return_dict_in_generate=True,
        num_beams=case["num_beams"],
        length_penalty=case["length_penalty"],
        early_stopping=case["early_stopping"],
    )
    answers = []
    for s in out.sequences[:, len(prompt):].tolist():
        stop = next((i + 1 for i, t in enumerate(s) if t in ends), len(s))
        answers.append(s[:stop])
    return answers, out.sequences_scores.tolist()


def beam_cases(model, most, ends, bias, prompts):
    out = []
    for prompt in prompts:
        for size in (2, 4, 8):
            for length_penalty in (1.0, -0.5, 2.0):
                for early in (False, True, "never"):
                    case = {"num_beams": size, "n": min(size, 3), "length_penalty": length_penalty, "early_stopping": early}
                    answers, scores = beams(model, prompt, case, most, ends, bias)
                    out.append({**case, "prompt": prompt, "max_tokens": most, "logit_bias": bias, "ids": answers, "scores": scores})
    return out


def write(path, cases):
    path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("gguf", nargs="?")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(exist_ok=True)
    processors(args.out / "processors.json")
    cases = []
    for name in ("llama", "qwen2"):
        model = transformers.AutoModelForCausalLM.from_pretrained(args.models / name, dtype=torch.float32).eval()
        bias = [[0, 2.0], [2, 2.5]]  # ends come often
        for case in beam_cases(model, 14, ENDS, bias, PROMPTS):
            cases.append({"model": name, **case})
        for prompt in PROMPTS:
            for size, groups, penalty, early in ((4, 2, 0.7, False), (6, 3, 1.5, True), (8, 8, 0.4, "never")):
                ids, scores = grouped(model, prompt, size, groups, penalty, 1.0, early, 12, bias, 3)
                case = {"num_beams": size, "n": 3, "num_beam_groups": groups, "diversity_penalty": penalty}
                case |= {"length_penalty": 1.0, "early_stopping": early, "prompt": prompt, "max_tokens": 12, "logit_bias": bias}
                cases.append({"model": name, **case, "ids": ids, "scores": scores})
            for k, alpha in ((2, 0.6), (4, 0.6), (7, 0.3)):
                case = {"penalty_alpha": alpha, "top_k": k, "prompt": prompt, "max_tokens": 24}
                cases.append({"model": name, **case, "ids": [contrastive(model, prompt, k, alpha, 24)]})
    # The groups' oracle with one group is transformers' search.
    model = transformers.AutoModelForCausalLM.from_pretrained(args.models / "llama", dtype=torch.float32).eval()
    for case in cases[:9]:
        ids, scores = grouped(model, case["prompt"], case["num_beams"], 1, 0, case["length_penalty"], case["early_stopping"],
                              case["max_tokens"], case["logit_bias"], case["n"])
        assert ids == case["ids"] and all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(scores, case["scores"])), case
    write(args.out / "beams.json", cases)
    if args.gguf:
        import model_gguf

        file = model_gguf.File(args.gguf)
        model, tokenizer = file.model(), file.tokenizer()
        ends = [tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>")]
        cases = []
        for text in ("The best time to repot a succulent is", "In 1969, the first humans to walk on the Moon were"):
            prompt = tokenizer.encode(text, add_special_tokens=False).ids
            for size in (2, 4, 8):
                case = {"num_beams": size, "n": 2, "length_penalty": 1.0, "early_stopping": False}
                ids, scores = beams(model, prompt, case, 24, ends, [])
                cases.append({"model": "smollm2", **case, "prompt": prompt, "max_tokens": 24, "logit_bias": [], "ids": ids,
                              "scores": scores})
        write(args.out / "smollm2_beams.json", cases)


if __name__ == "__main__":
    main()
