#!/usr/bin/env python3
"""Schemathesis against a running server's own description: every endpoint, valid and invalid requests, streams included.

    pip install schemathesis
    tools/api_check.py build/release/bin/sedum MODEL [--seconds 300] [--seed 1]

The description is that of the models that are served: their names, the tokens that they have. What no description can say is refused with
400 and allowed here (REFUSED). Exit code 1 when anything else is found; the whole report is then printed.
"""

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

# A prompt is longer than the context; a choice names a tool, and the tools are other ones.
REFUSED = ("context_length_exceeded", "which is none of the tools")


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


def found(report):
    """The failures, each from its "1. Test Case ID" to the next."""
    parts = re.split(r"(?m)^(?:_{3,} .* _{3,}$|\d+\. Test Case ID)", report.split("= SUMMARY =")[0])[1:]
    return [part for part in parts if "- ST" in part and not any(reason in part for reason in REFUSED)]


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
                       "--request-timeout", "60", "--continue-on-failure", "--no-shrink", "--seed", str(args.seed)]  # fmt: skip
            report = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            failures = found(report.stdout)
            summary = re.search(r"(\d+) generated", report.stdout)
            if not summary:
                sys.exit(report.stdout + report.stderr)
            alive = server.poll() is None
        finally:
            server.terminate()
            server.wait(60)
    print(f"{summary[1]} requests, {len(failures)} failures; the server {'stands' if alive else 'is gone'}")
    if failures or not alive:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
