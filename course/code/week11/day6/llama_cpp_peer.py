"""The other side of 11.6: llama.cpp on the same file, prompts and lengths, through llama-cpp-python. Started by the lesson when SEDUM_PEERS names a Python that has it.

    python llama_cpp_peer.py request.json        # prints one JSON object: the conditions as they were here, waits in ms, the answers

All clients come at once: their prompts go together into the fewest batches, then each step decodes a token of every one (continuous batching at its best).
"""

import hashlib
import json
import sys
import time

import llama_cpp
import numpy

request = json.load(open(sys.argv[1]))
prompts, tokens = request["prompts"], request["tokens"]
llama_cpp.llama_backend_init()
silent = llama_cpp.llama_log_callback(lambda *_: None)
llama_cpp.llama_log_set(silent, None)
model = llama_cpp.llama_model_load_from_file(request["model"].encode(), llama_cpp.llama_model_default_params())
if not model:
    sys.exit("llama.cpp cannot load " + request["model"])
vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))


def fnv(rows):
    h = 14695981039346656037
    for row in rows:
        for token in row:
            h = (h ^ token) * 1099511628211 % (1 << 64)
    return f"{h:016x}"


def run(clients):
    """(waits in ms, answers): greedy, nothing of the model's loading."""
    params = llama_cpp.llama_context_default_params()
    cells = -(-(len(prompts[0]) + tokens) // 256) * 256
    params.n_ctx, params.n_seq_max, params.n_batch, params.n_ubatch = cells * clients, clients, 1024, 512
    params.n_threads = params.n_threads_batch = request["threads"]
    params.kv_unified = False
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(1024, 0, 1)

    def step(rows):  # (client, position, token, logits wanted): the greedy token of each that is wanted
        batch.n_tokens = len(rows)
        for i, (client, position, token, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, wanted
            batch.seq_id[i][0] = client
        if llama_cpp.llama_decode(context, batch):
            sys.exit("llama_decode failed")
        found = []
        for i, (_, _, _, wanted) in enumerate(rows):
            if wanted:
                found.append(int(numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (vocabulary,)).argmax()))
        return found

    start = time.perf_counter()
    length = len(prompts[0])
    last = step([(c, i, token, i == length - 1) for c in range(clients) for i, token in enumerate(prompts[c])])
    answers = [[token] for token in last]
    for made in range(1, tokens):
        last = step([(c, length + made - 1, last[c], True) for c in range(clients)])
        for answer, token in zip(answers, last):
            answer.append(token)
    waits = [1000 * (time.perf_counter() - start)] * clients
    used = llama_cpp.llama_n_threads(context)
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    return waits, answers, used


content = open(request["model"], "rb").read()
result = {"file": f"{len(content)} 字节，sha256 {hashlib.sha256(content).hexdigest()[:16]}", "prompts": fnv(prompts), "version": llama_cpp.__version__, "rounds": []}
for clients in request["clients"]:
    run(clients)  # warm
    waits = []
    for _ in range(request["rounds"]):
        more, answers, result["threads"] = run(clients)
        waits += more
    result["tokens"] = max(len(answer) for answer in answers)
    result["rounds"].append({"clients": clients, "waits": waits, "answers": answers})
print(json.dumps(result))
