"""Prefill and decoding of llama.cpp, through llama-cpp-python's low-level functions: child of bench/inference.py. Prints one JSON line.

    python llama_inference.py --model M.gguf --measure decode --tokens 64 --depth 512 --streams 1 --flash-attn on --threads 2

What is timed is llama_decode on a batch made beforehand, and llama_synchronize: nothing of Python but two calls. Random ids; logits
are asked for the last token of a prompt, and for each token that is decoded. Prefill: the median of three prompts after one to
warm up, into an empty cache. Decoding: the median of the steps after one to warm up. Start: from the call that loads the model to the
logits of the prompt's last token; Python's own start is not counted. Batches of 512.
"""

import argparse
import json
import random
import statistics
import sys
import time

import llama_cpp

BATCH = 512
CELLS = 256  # llama.cpp pads the cache of a sequence to this many tokens


class Model:
    def __init__(self, args):
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(args.model.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp cannot load {args.model}")
        params = llama_cpp.llama_context_default_params()
        cells = -(-(args.depth + args.tokens + 1) // CELLS) * CELLS
        params.n_ctx, params.n_seq_max = cells * args.streams, args.streams
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = args.threads
        params.flash_attn_type = {
            "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        }[args.flash_attn]
        params.kv_unified = False  # upstream's advice for sequences that share no prefix
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit("llama.cpp cannot make a context")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self.random = random.Random(0)

    def fill(self, tokens):
        """tokens: (sequence, position, whether logits are wanted)"""
        self.batch.n_tokens = len(tokens)
        for i, (sequence, position, logits) in enumerate(tokens):
            self.batch.token[i] = self.random.randrange(self.vocabulary)
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = logits

    def evaluate(self, tokens):
        """Seconds."""
        self.fill(tokens)
        start = time.perf_counter()
        failed = llama_cpp.llama_decode(self.context, self.batch)
        llama_cpp.llama_synchronize(self.context)
        seconds = time.perf_counter() - start
        if failed:
            sys.exit(f"llama_decode returned {failed}")
        return seconds

    def prompt(self, sequence, length):
        """Seconds for `length` tokens, in batches."""
        tokens = [(sequence, i, i == length - 1) for i in range(length)]
        return sum(self.evaluate(tokens[i : i + BATCH]) for i in range(0, length, BATCH))

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--measure", choices=["prefill", "decode", "start"], required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--flash-attn", choices=["on", "off"], default="on")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, None)
    begin = time.perf_counter()
    model, times = Model(args), []
    if args.measure == "start":
        model.prompt(0, args.tokens)
        return print(json.dumps({"start_s": time.perf_counter() - begin}))
    if args.measure == "prefill":
        for _ in range(4):
            model.clear()
            times.append(model.prompt(0, args.tokens))
        tokens = args.tokens
    else:
        if args.depth:
            for stream in range(args.streams):
                model.prompt(stream, args.depth)
        for i in range(args.tokens + 1):
            times.append(model.evaluate([(stream, args.depth + i, True) for stream in range(args.streams)]))
        tokens = args.streams
    print(json.dumps({"tok_s": tokens / statistics.median(times[1:]), "system": llama_cpp.llama_print_system_info().decode().strip()}))


if __name__ == "__main__":
    main()
