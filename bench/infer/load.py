#!/usr/bin/env python3
"""A server under load: many clients, mixed lengths, some that leave in the middle of an answer. Standard library alone.

    bench/infer/load.py --model MODEL [--clients 64] [--seconds 600] [--cancel 0.2] [--threads 0] [--serve "--context 2048 …"]
    bench/infer/load.py --address http://127.0.0.1:8080 --pid PID …        # a server that runs already

A client asks without pause: a prompt of 8 to 400 words, an answer of 1 to 96 tokens, streamed; `--cancel` of them leave after some
tokens. Prints a line of JSON: requests, errors, tokens/s, time to the first token and between tokens (p50, p99), the server's memory at the
start, at a third of the time and at the end, and the share of the key-value pages' room that held nothing, as a mean over the time. Exit 1 when a request failed, or hung, or when memory grew by more than 3 % and 8 MiB after the first third.
"""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

WORDS = "leaf root water light stone soil summer winter pot sand shade dry green rosette offset grow slowly often never sun".split()


class Totals:
    def __init__(self):
        self.lock = threading.Lock()
        self.requests = self.cancelled = self.tokens = self.refused = 0
        self.errors, self.first, self.between = [], [], []


def one_request(address, model, rng, cancel, totals):
    body = {"model": model, "prompt": " ".join(rng.choices(WORDS, k=rng.choice((8, 20, 60, 150, 400)))), "max_tokens": rng.choice((1, 8, 24, 48, 96)), "stream": True, "ignore_eos": True,
            "temperature": rng.choice((0, 0.8)), "seed": rng.randrange(1 << 30)}
    if rng.random() < 0.3:  # a beginning that many share, as a system prompt is
        body["prompt"] = " ".join(WORDS * 6) + " " + body["prompt"]
    leave_after = rng.randrange(1, 12) if rng.random() < cancel else None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=300)
    first, between, tokens, finished = None, [], 0, False
    try:
        start = last = time.perf_counter()
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {answer.read()[:200]}")
        for line in answer:
            if line.startswith(b"data: [DONE]"):
                finished = True
            elif line.startswith(b'data: {"error"'):
                raise ValueError(line.decode()[:200])
            elif line.startswith(b"data: ") and b'"finish_reason":null' in line:
                now = time.perf_counter()
                if first is None:
                    first = now - start
                else:
                    between.append(now - last)
                last, tokens = now, tokens + 1
                if tokens == leave_after:
                    break
        if leave_after is None and not finished:
            raise ValueError("the stream was cut off")
    finally:
        connection.close()
    with totals.lock:
        totals.requests += 1
        totals.cancelled += not finished
        totals.tokens += tokens
        totals.between += between
        if first is not None:
            totals.first.append(first)


def client(number, address, model, arguments, end, totals):
    rng = random.Random(number)
    while time.monotonic() < end:
        try:
            one_request(address, model, rng, arguments.cancel, totals)
        except Exception as problem:  # whatever it is, it is a failure of the server under test
            with totals.lock:
                totals.errors.append(repr(problem))
            time.sleep(0.2)


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else None


def start_server(arguments, folder):
    command = [arguments.sedum, "serve", "--model", arguments.model, "--port", "0", "--threads", str(arguments.threads), "--log", "none", "--no-history", *arguments.serve.split()]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SEDUM_HOME": folder})
    for line in server.stdout:
        if found := re.search(r"http://[\d.]+:\d+", line):
            return server, found[0]
    sys.exit("the server did not start")


def run(arguments, url, pid):
    address, totals = urllib.parse.urlsplit(url), Totals()

    def get(path):
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    model = json.loads(get("/v1/models"))["data"][0]["id"]
    begin = time.monotonic()
    threads = [threading.Thread(target=client, args=(i, address, model, arguments, begin + arguments.seconds, totals)) for i in range(arguments.clients)]
    for thread in threads:
        thread.start()
    memory, wasted = [(0.0, resident_mib(pid))], []
    while any(thread.is_alive() for thread in threads) and time.monotonic() < begin + arguments.seconds + 240:
        memory.append((time.monotonic() - begin, resident_mib(pid)))
        if found := re.search(r"^sedum_kv_wasted_share\{[^}]*\} (\S+)", get("/metrics"), re.MULTILINE):
            wasted.append(float(found[1]))
        time.sleep(0.5)
    hung = sum(thread.is_alive() for thread in threads)
    seconds = time.monotonic() - begin
    third = next((mib for at, mib in memory if at >= arguments.seconds / 3), memory[0][1])
    end = max(mib for at, mib in memory if at >= arguments.seconds * 2 / 3)
    metrics = dict(line.rsplit(" ", 1) for line in get("/metrics").splitlines() if not line.startswith("#"))
    figure = lambda name: float(metrics.get(f'sedum_{name}{{model="{model}"}}', 0))
    result = {
        "clients": arguments.clients, "seconds": round(seconds, 1), "requests": totals.requests, "left_early": totals.cancelled, "errors": len(totals.errors), "hung": hung,
        "tokens_per_second": round(totals.tokens / seconds, 1),
        **{f"{name}_{p}_ms": round(1000 * (percentile(values, share) or 0), 1) for name, values in (("first_token", totals.first), ("between_tokens", totals.between)) for p, share in (("p50", 0.5), ("p99", 0.99))},
        "memory_start_mib": round(memory[0][1], 1), "memory_third_mib": round(third, 1), "memory_end_mib": round(end, 1), "preemptions": figure("preemptions_total"), "cached_prompt_tokens": figure("prefix_cache_hit_tokens_total"),
        "kv_wasted_mean": round(sum(wasted) / max(1, len(wasted)), 4), "load_average": os.getloadavg()[0], "in_flight_after": json.loads(get("/health"))["requests"], "first_errors": totals.errors[:3],
    }
    print(json.dumps(result))
    flat = end <= third * 1.03 or end - third <= 8
    return 0 if not totals.errors and not hung and flat and result["in_flight_after"] == 0 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--sedum", default=os.environ.get("SEDUM") or shutil.which("sedum"))
    parser.add_argument("--address")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--cancel", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--serve", default="", help="further options of sedum serve")
    arguments = parser.parse_args()
    if arguments.address:
        return run(arguments, arguments.address, arguments.pid)
    with tempfile.TemporaryDirectory(prefix="sedum-load-") as folder:
        server, url = start_server(arguments, folder)
        try:
            return run(arguments, url, server.pid)
        finally:
            server.terminate()
            server.wait(60)


if __name__ == "__main__":
    sys.exit(main())
