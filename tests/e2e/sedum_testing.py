"""What the end-to-end tests share: the program, tiny models, files it writes read back, a server.

    class Answers(SedumTest):                       # a folder of its own, gone at the end: self.folder
        def test_it(self):
            out = self.sedum("generate", "--model", TINY, "--prompt", "Hi")     # fails the test unless the exit code is 0
            self.assertOneLine(self.sedum("info", "--model", "none", code=1), "none")

    if __name__ == "__main__":
        main()                                       # exit 77 when every test was skipped: ctest counts it

The program is $SEDUM, its tiny models lie in ../golden/models. Only the standard library is used.
"""

import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

SEDUM = os.environ.get("SEDUM") or shutil.which("sedum")
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
TINY = GOLDEN / "models" / "llama"
TINY_CONTEXT = 256
PATIENCE = 240  # seconds: a machine that does other things too must not fail a test


def real_model(name):
    """A real model's path, or None: $SEDUM_TEST_MODELS names the folder."""
    folder = os.environ.get("SEDUM_TEST_MODELS")
    path = pathlib.Path(folder) / name if folder else None
    return path if path and path.exists() else None


def lines_of(text):
    return [line for line in text.splitlines() if line.strip()]


def json_lines(text):
    return [json.loads(line) for line in lines_of(text)]


def read_safetensors(path):
    """Name -> (dtype, shape, bytes)."""
    content = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    data = content[8 + size :]
    return {
        name: (entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def read_npy(path):
    """(shape, values) of little-endian float32 in C order."""
    content = pathlib.Path(path).read_bytes()
    assert content[:6] == b"\x93NUMPY", path
    (size,) = struct.unpack_from("<H", content, 8)
    header = content[10 : 10 + size].decode("latin1")
    assert "'<f4'" in header and "False" in header, header
    shape = tuple(int(n) for n in re.search(r"\(([^)]*)\)", header).group(1).split(",") if n.strip())
    values = struct.unpack_from(f"<{math.prod(shape)}f", content, 10 + size)
    return shape, values


def write_npy_int32(path, shape, values):
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as out:
        out.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        out.write(struct.pack(f"<{len(values)}i", *values))


def recipe(**keys):
    """A recipe's text: YAML reads JSON. The tiny models are random: after a few steps guessing is still better."""
    return json.dumps({"model_name_or_path": str(TINY), "compute": "f32", "success_gate": False, **keys}, indent=1, ensure_ascii=False)


def environment(**more):
    """The test's own, without what would lead the program to somebody's models or hub."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "SEDUM_")) and not k.lower().endswith("_proxy")}
    if "SEDUM_ISA" in os.environ:
        env["SEDUM_ISA"] = os.environ["SEDUM_ISA"]
    return {**env, "SEDUM_PACK_CACHE": "off", **more}  # each test has a home of its own: what it kept there would be used once


class SedumTest(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sedum-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
        return path

    def write_rows(self, name, rows):
        return self.write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def sedum(self, *arguments, code=0, env=None, stdin=None):
        """The finished process; stdout and stderr as text. A crash (a signal) is never the code that was wanted."""
        done = subprocess.run(
            [SEDUM, *map(str, arguments)],
            cwd=self.folder,
            env=environment(SEDUM_HOME=str(self.folder / "home"), **(env or {})),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, code, f"sedum {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
        return done

    def sedum_json(self, *arguments, **more):
        return json.loads(self.sedum(*arguments, "--json", **more).stdout)

    def answer(self, *arguments, model=TINY, threads=1):
        """`sedum generate --json`. One thread: two wait for each other where the machine is busy."""
        return self.sedum_json("generate", "--model", model, "--threads", threads, *arguments)

    def assertOneLine(self, done, *words):
        """What a user sees of a mistake: one line, with these words in it, and nothing that looks like success."""
        lines = lines_of(done.stderr)
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("error: "), lines[0])
        for word in words:
            self.assertIn(str(word), lines[0])

    def assertSameTensors(self, first, second):
        a, b = read_safetensors(first), read_safetensors(second)
        self.assertEqual(sorted(a), sorted(b))
        self.assertGreater(len(a), 0)
        for name in a:
            self.assertEqual(a[name][:2], b[name][:2], name)
            self.assertTrue(a[name][2] == b[name][2], f"{name} differs")


# A model that was taught two answers by heart: what it says is known, so it can be cut, stopped and compared.
QUESTION, ANSWER = "浇水？", "等土干透再浇水，宁干勿湿🌵。"
OTHER_QUESTION, OTHER_ANSWER = "Light?", "Bright light: a sunny window. STOP And more."


def teach(folder):
    """The tiny model trained on two rows until it knows them; the path of the result."""
    folder = pathlib.Path(folder)
    rows = [{"instruction": QUESTION, "output": ANSWER}, {"instruction": OTHER_QUESTION, "output": OTHER_ANSWER}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    text = recipe(output_dir=str(folder / "taught"), finetuning_type="full", data={"train": [str(folder / "rows.jsonl")]},
                  cutoff_len=128, max_steps=80, per_device_train_batch_size=2, learning_rate=1e-2, lr_scheduler_type="constant", threads=1)
    (folder / "teach.yaml").write_text(text)
    subprocess.run([SEDUM, "train", folder / "teach.yaml"], check=True, capture_output=True, timeout=PATIENCE, env=environment())
    return folder / "taught" / "model"


class Server:
    """`sedum serve` on a free port.

        with Server(model) as server:
            status, body = server.post("/v1/completions", {"prompt": "Hi"})
    """

    def __init__(self, model, *arguments, key=None, env=None):
        self.home = tempfile.TemporaryDirectory(prefix="sedum-e2e-home-")
        self.process = subprocess.Popen(
            [SEDUM, "serve", "--model", str(model), "--port", "0", "--threads", "1", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**{"SEDUM_HOME": self.home.name, **(env or {})}))
        self.log, self.address = [], None
        self.drain = threading.Thread(target=self._drain, daemon=True)
        self.drain.start()
        for line in self.process.stdout:
            found = re.search(r"(http://127\.0\.0\.1:(\d+))/ ", line)
            if found:
                self.address, self.port = found.group(1), int(found.group(2))
            if "Ctrl-C" in line:
                break
        if not self.address:
            raise AssertionError("the server did not start: " + "".join(self.log))
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.model = self.get("/v1/models")[1]["data"][0]["id"]

    def _drain(self):
        for line in self.process.stderr:
            self.log.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.drain.join()
        self.process.stderr.close()
        self.home.cleanup()
        return self.process.returncode

    def answers(self, path):
        """What the log says of the answers at a path so far."""
        return [line for line in map(json.loads, [l for l in list(self.log) if l.startswith("{")]) if line["path"] == path]

    def request(self, path, body=None, headers=None, method=None):
        """(status, bytes); body: None, an object, or bytes as they are."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json", **(self.headers if headers is None else headers)}, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as failure:
            with failure:
                return failure.code, failure.read()

    def get(self, path, **more):
        status, body = self.request(path, **more)
        return status, json.loads(body)

    def post(self, path, body, **more):
        if isinstance(body, dict):
            body = {"model": self.model, **body}
        status, answer = self.request(path, body, **more)
        return status, json.loads(answer)

    def chat(self, question, **more):
        status, answer = self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": question}], "temperature": 0, **more})
        assert status == 200, answer
        return answer["choices"][0]["message"]["content"]


def main():
    if not SEDUM:
        sys.exit("$SEDUM must name the program")
    result = unittest.main(exit=False, verbosity=2).result
    for test, reason in result.skipped:
        print(f"skipped: {test}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.skipped and len(result.skipped) == result.testsRun else 0)
