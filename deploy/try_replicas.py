#!/usr/bin/env python3
"""Tries the nginx configuration out: three replicas on this machine, clients that keep asking, and one replica that is killed.

    deploy/try_replicas.py --model MODEL [--sedum PROGRAM] [--clients 8] [--seconds 12] [--threads 1]

Every request is tried twice at most: the second time only when a stream was cut off in the middle, which no proxy can mend. Prints a
line of JSON; exit 1 when a request failed for good, when sessions did not keep to a replica, or when the killed one was never missed.
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def configuration(folder, front, replicas):
    """deploy/nginx.conf with these ports, in a file that nginx runs by itself, without root."""
    site = (HERE / "nginx.conf").read_text()
    site = site.replace("listen 8080;", f"listen 127.0.0.1:{front};")
    for port, replica in zip((8081, 8082, 8083), replicas):
        site = site.replace(f"127.0.0.1:{port} ", f"127.0.0.1:{replica} ")
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = (f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log info;\nevents {{}}\nhttp {{\n{paths}"
            f"log_format upstream '$http_x_session_id $status $upstream_addr';\naccess_log {folder}/access.log upstream;\n{site}\n}}\n")
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


def wait_until_ready(port, process, patience=120):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"a replica ended with code {process.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("a replica did not become ready")


class Clients:
    def __init__(self, port, model, count):
        self.port, self.model = port, model
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.counts = {"requests": 0, "retried": 0, "failed": 0}
        self.problems = []
        self.answers = [0] * count
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def once(self, number, turn):
        """None when the answer is whole; otherwise what went wrong."""
        streamed = turn % 2 == 0
        body = {"model": self.model, "prompt": f"Client {number} ", "max_tokens": 24, "ignore_eos": True, "stream": streamed}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json", "X-Session-Id": f"session-{number}"})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                return f"status {answer.status}: {text[:200]}"
            whole = text.rstrip().endswith("data: [DONE]") if streamed else json.loads(text)["usage"]["completion_tokens"] == 24
            return None if whole else "cut off"
        except (OSError, http.client.HTTPException, ValueError) as problem:
            return repr(problem)
        finally:
            connection.close()

    def run(self, number):
        turn = 0
        while not self.stop.is_set():
            turn += 1
            problem = self.once(number, turn)
            retried = problem is not None
            if retried:
                problem = self.once(number, turn)
            with self.lock:
                self.counts["requests"] += 1
                self.answers[number] += 1
                self.counts["retried"] += retried
                if problem is not None:
                    self.counts["failed"] += 1
                    self.problems.append(problem)

    def go_on(self, seconds, answers, patience=120):
        """For so long, and until each has so many answers more: seconds alone say little on a busy machine."""
        wanted, end = [n + answers for n in self.answers], time.monotonic() + patience
        time.sleep(seconds)
        while time.monotonic() < end and any(n < least for n, least in zip(self.answers, wanted)):
            time.sleep(0.1)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def replica_changes(log):
    """Sessions -> replicas that answered them, in order, each once in a row."""
    sessions = {}
    for line in log.read_text().splitlines():
        session, status, upstream = line.split(" ", 2)
        replica = upstream.split(", ")[-1]
        if status == "200" and session != "-" and sessions.setdefault(session, [replica])[-1] != replica:
            sessions[session].append(replica)
    return sessions


def try_out(arguments, folder):
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    front, *replicas = free_ports(4)
    environment = {**os.environ, "SEDUM_HOME": str(folder / "home")}
    processes = [subprocess.Popen([arguments.sedum, "serve", "--model", arguments.model, "--port", str(port), "--threads", str(arguments.threads), "--name", "replicated",
                                   "--log", "none", "--no-history"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) for port in replicas]
    proxy = None
    try:
        for port, process in zip(replicas, processes):
            wait_until_ready(port, process)
        proxy = subprocess.Popen([nginx, "-p", str(folder), "-c", str(configuration(folder, front, replicas))], stderr=subprocess.DEVNULL)
        wait_until_ready(front, proxy)
        clients = Clients(front, "replicated", arguments.clients)
        clients.go_on(arguments.seconds / 3, 2)  # the second shows that the first is in the proxy's log
        before = replica_changes(folder / "access.log")
        counts = [sum(chain[0].endswith(f":{port}") for chain in before.values()) for port in replicas]
        victim = counts.index(max(counts))
        processes[victim].send_signal(signal.SIGKILL)
        clients.go_on(arguments.seconds * 2 / 3, 2)
        clients.finish()
        after = replica_changes(folder / "access.log")
    finally:
        for process in [proxy, *processes]:
            if process and process.poll() is None:
                process.terminate()
                process.wait(60)
    gone = f"127.0.0.1:{replicas[victim]}"
    return {
        **clients.counts,
        "sessions": len(after),
        "sessions_per_replica": counts,
        "sessions_that_moved_before": sum(len(chain) > 1 for chain in before.values()),
        "sessions_of_the_killed": sum(gone in chain for chain in before.values()),
        "sessions_that_moved_after": sum(len(chain) > len(before.get(s, [])) for s, chain in after.items() if gone in chain),
        "problems": sorted(set(clients.problems))[:5],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sedum", default=os.environ.get("SEDUM") or shutil.which("sedum"))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sedum-replicas-") as folder:
        result = try_out(arguments, pathlib.Path(folder))
    print(json.dumps(result))
    good = result["failed"] == 0 and result["sessions_that_moved_before"] == 0 and result["sessions_of_the_killed"] > 0
    good = good and result["sessions_that_moved_after"] == result["sessions_of_the_killed"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
