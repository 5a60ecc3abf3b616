#!/usr/bin/env python3
"""Schemathesis against a running server's own description: every endpoint, valid and invalid requests, streams included.

    pip install schemathesis
    tools/api_check.py build/release/bin/sedum MODEL [--seconds 300] [--seed 1]

The description is that of the models that are served: their names, the tokens that they have. What no description can say is refused with
400 and allowed here (REFUSED). Exit code 1 when anything else is found; the whole report is then printed.
"""

import argparse
import base64
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

# How a refusal reads that no description can foretell:
REFUSED = (
    "the context of this model holds",  # tokens, of which a description counts none
    "more than the engine has room for",  # tokens times beams or candidates
    "a request may have at most",  # prompts times answers
    "which is none of the tools",  # a choice names a tool, and the tools are other ones
    "the schema at ",  # a schema or a pattern that no grammar can be made of
    "the regular expression ",
    "the grammar ",
)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url, server, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            return urllib.request.urlopen(url, timeout=1).read()
        except OSError:
            time.sleep(0.1)
    sys.exit("the server does not come up")


def found(events):
    """How many requests there were, and each that failed a check. Of all, since what Schemathesis prints is one of each kind."""
    requests, failures = 0, []
    for line in events:
        event = json.loads(line)
        if "NonFatalError" in event or "FatalError" in event:  # no answer at all, or nothing that could be asked
            failures.append(line[:2000])
        recorder = event.get("ScenarioFinished", {}).get("recorder", {})
        requests += len(recorder.get("interactions", {}))
        for case, checks in recorder.get("checks", {}).items():
            sent = recorder["interactions"].get(case, {})
            answer = text((sent.get("response") or {}).get("content"))
            for check in checks:
                allowed = check["name"] == "positive_data_acceptance" and any(reason in answer for reason in REFUSED)
                if check["status"] != "success" and not allowed:
                    request = text(sent.get("request", {}).get("body"))
                    failures.append(f"{recorder['label']}: {check['name']}\n  {request[:2000]}\n  {answer[:2000]}\n  {json.dumps(check)[:2000]}")
    return requests, failures


def text(content):
    return base64.b64decode((content or {}).get("$base64", "")).decode(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sedum")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=50, help="of each endpoint in each phase")
    args = parser.parse_args()
    url = f"http://127.0.0.1:{(port := free_port())}"
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
        history = ["--history", f"{folder}/history.db"]
        server = subprocess.Popen([args.sedum, "serve", "--model", args.model, "--port", str(port), *history], stdout=log, stderr=log)
        try:
            wait_for(f"{url}/ready", server)
            command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--max-time", str(args.seconds), "-n", str(args.examples),
                       "--request-timeout", "240", "--continue-on-failure", "--no-shrink", "--seed", str(args.seed),
                       "--report", "ndjson", "--report-ndjson-path", f"{folder}/events"]  # fmt: skip
            report = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            with open(f"{folder}/events") as events:
                requests, failures = found(events)
            if not requests:
                sys.exit(report.stdout + report.stderr)
            alive = server.poll() is None
        finally:
            server.terminate()
            server.wait(60)
    print(f"{requests} requests, {len(failures)} failures; the server {'stands' if alive else 'is gone'}")
    if failures or not alive:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
