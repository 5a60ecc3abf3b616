#!/usr/bin/env python3
"""Greedy continuations in int8 against exact mode (f32), token by token: where they part, and how close the two likeliest were there.

    bench/infer/greedy.py --model qwen2.5-coder-0.5b [--tokens 64] [--prompts 20]

For each prompt both go on for --tokens. Up to the first difference both see the same text; the *gap* is by how much exact mode prefers its own token there
(in nats). The *noise* is measured on what they share: the largest change of the exact choice's log-probability. A gap above twice the noise (each of
the two logits may move by it) is a fault and exit code 1. Prints a line of JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

PROMPTS = [
    "Name three succulents.", "How often do I water an Echeveria?", "Why is the sky blue?", "Write a haiku about rain.", "What is 17 + 25?",
    "Explain recursion to a child.", "def fibonacci(n):", "The capital of France is", "List the planets of the solar system.", "Translate 'good morning' to German.",
    "What causes the seasons?", "Give me a recipe for pancakes.", "Who wrote Hamlet?", "How does a bicycle stay upright?", "SELECT name FROM plants WHERE",
    "Once upon a time", "What is the boiling point of water?", "Name a prime number above 100.", "How do I sort a list in Python?", "Describe the colour red.",
]  # fmt: skip


def run(arguments, prompt, compute):
    command = [arguments.sedum, "generate", "--json", "--model", arguments.model, "--compute", compute, "--prompt", prompt, "--temperature", "0",
               "--max-tokens", str(arguments.tokens), "--logprobs", "5", "--threads", str(arguments.threads)]  # fmt: skip
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sedum", default=os.environ.get("SEDUM") or shutil.which("sedum"))
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    equal, parted, noise = 0, [], 0.0
    for prompt in PROMPTS[: arguments.prompts]:
        exact, fast = run(arguments, prompt, "f32"), run(arguments, prompt, "int8")
        shared = next((i for i, (a, b) in enumerate(zip(exact["ids"], fast["ids"])) if a != b), min(len(exact["ids"]), len(fast["ids"])))
        for a, b in zip(exact["logprobs"][:shared], fast["logprobs"][:shared]):
            noise = max(noise, abs(a["logprob"] - b["logprob"]))
        if exact["ids"] == fast["ids"]:
            equal += 1
            continue
        there = exact["logprobs"][shared]
        theirs = {entry["id"]: entry["logprob"] for entry in there["top"]}
        other = fast["ids"][shared] if shared < len(fast["ids"]) else None
        parted.append({"prompt": prompt, "at": shared, "gap": round(there["logprob"] - theirs[other], 4) if other in theirs else None})
    beyond = [p for p in parted if p["gap"] is None or p["gap"] > 2 * noise]
    print(json.dumps({"prompts": arguments.prompts, "tokens": arguments.tokens, "equal": equal, "noise": round(noise, 4), "parted": parted, "beyond_noise": len(beyond)}))
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
