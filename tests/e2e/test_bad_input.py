"""What a user or a file got wrong ends with exit code 1 and one line that says what, where and how to mend it; wrong usage with 2."""

import http.server
import json
import os
import shutil
import socket
import struct
import threading

from sedum_testing import GOLDEN, TINY, TINY_CONTEXT, SedumTest, Server, lines_of, main, recipe, write_npy_int32

GGUF = GOLDEN / "models" / "llama.f32.gguf"
IDS = ["--ids", "1 2 3", "--max-tokens", "2"]


def patched(path, old, new, count=1):
    content = path.read_bytes()
    assert content.count(old) >= count and len(old) == len(new), (path, old, content.count(old))
    return content.replace(old, new, count)


class Models(SedumTest):
    def refused(self, model, *words):
        for command in (["info", "--model", model], ["generate", "--model", model, *IDS]):
            self.assertOneLine(self.sedum(*command, code=1), *words)

    def test_no_such_model(self):
        self.refused(self.folder / "none.gguf", "none.gguf")

    def test_truncated_gguf(self):
        whole = GGUF.read_bytes()
        for size in (0, 3, 20, 1000, len(whole) // 2, len(whole) - 1):
            path = self.folder / "cut.gguf"
            path.write_bytes(whole[:size])
            done = self.sedum("info", "--model", path, code=1)
            self.assertOneLine(done, path, "fetch the file again" if size > 3 else "")

    def test_truncated_safetensors(self):
        folder = self.folder / "model"
        shutil.copytree(TINY, folder)
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        self.refused(folder, "model.safetensors")

    def test_not_a_gguf(self):
        path = self.folder / "a.gguf"
        path.write_bytes(b"PK\x03\x04" + bytes(4000))
        self.refused(path, path)

    def test_unknown_architecture(self):
        path = self.folder / "a.gguf"
        path.write_bytes(patched(GGUF, struct.pack("<Q", 5) + b"llama", struct.pack("<Q", 5) + b"mamba"))
        self.refused(path, path, "mamba", "llama, mistral, qwen2")

    def test_unknown_architecture_of_a_folder(self):
        folder = self.folder / "model"
        shutil.copytree(TINY, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
        self.refused(folder, "config.json", "mamba", "llama, mistral, qwen2")

    def test_unknown_tensor_type(self):
        # A tensor's entry: name, number of sizes, sizes, type, offset.
        name = b"blk.0.ffn_up.weight"
        content = bytearray(GGUF.read_bytes())
        at = content.index(name) + len(name) + 4 + 2 * 8
        self.assertEqual(struct.unpack_from("<I", content, at), (0,))  # f32
        struct.pack_into("<I", content, at, 99)
        path = self.folder / "a.gguf"
        path.write_bytes(content)
        self.refused(path, path, name.decode(), "99")

    def test_damaged_config(self):
        folder = self.folder / "model"
        shutil.copytree(TINY, folder)
        config = json.loads((folder / "config.json").read_text())
        for change in ({"hidden_size": "big"}, {"num_key_value_heads": 3}, {"vocab_size": 10**12}, {"head_dim": 15}, {"hidden_size": 64}):
            (folder / "config.json").write_text(json.dumps({**config, **change}))
            self.assertOneLine(self.sedum("generate", "--model", folder, *IDS, code=1), folder)
        (folder / "config.json").write_text("{")
        self.refused(folder, "config.json")

    def test_not_utf8_where_text_belongs(self):
        path = self.folder / "text.txt"
        path.write_bytes(b"caf\xe9")
        done = self.sedum("tokenize", "--model", TINY, "--file", path)
        self.assertTrue(lines_of(done.stdout))

    def test_beyond_the_context(self):
        long = " ".join(["5"] * (TINY_CONTEXT + 1))
        self.assertOneLine(self.sedum("generate", "--model", TINY, "--ids", long, code=1), TINY_CONTEXT + 1, TINY_CONTEXT)
        ids = self.write("ids.json", [[1, 2], [5] * (TINY_CONTEXT + 1)])
        done = self.sedum("forward", "--model", TINY, "--ids-file", ids, "--out", "logits.npy", code=1)
        self.assertOneLine(done, "ids.json", TINY_CONTEXT + 1, TINY_CONTEXT)
        self.assertFalse((self.folder / "logits.npy").exists())

    def test_ids_that_are_none(self):
        for content in ([[1, 320]], [[-1]], [[]], [], [1], {"a": 1}, [["x"]]):
            ids = self.write("ids.json", content)
            self.assertOneLine(self.sedum("forward", "--model", TINY, "--ids-file", ids, "--out", "o.npy", code=1), "ids.json")

    def test_sampling_out_of_range(self):
        for option, value in (("--temperature", "-1"), ("--top-p", "0"), ("--min-p", "1.5"), ("--repetition-penalty", "0"), ("--max-tokens", "0")):
            done = self.sedum("generate", "--model", TINY, "--ids", "1", option, value, code=1)
            self.assertOneLine(done, option[2:].replace("-", "_"))

    def test_products_that_cannot_be(self):
        for shape, kind, word in (("8,64,40", "q8_0", "write K = 64"), ("8,64,288", "q4_K", "write K = 512"), ("8,0,64", "f32", "below 1"), ("8,64", "f32", "M,N,K")):
            self.assertOneLine(self.sedum("bench", "matmul", "--shape", shape, "--type", kind, "--compute", "int8", code=1), word)

    def test_weights_that_do_not_fit_a_shape(self):
        done = self.sedum("bench", "train", "--shape", "story-15m", "--mode", "lora", "--weights", "nf4", code=1)
        self.assertOneLine(done, "288", "64", "nf4", "--weights q4_0")

    def test_adapter_of_another_model(self):
        adapter = self.folder / "adapter"
        adapter.mkdir()
        self.assertOneLine(self.sedum("generate", "--model", TINY, *IDS, "--adapter", adapter, code=1), adapter, "adapter_config.json")
        shutil.copytree(GOLDEN / "train" / "lora_end", adapter, dirs_exist_ok=True)
        self.assertOneLine(self.sedum("generate", "--model", TINY, *IDS, "--adapter", adapter, code=1), "another model")


class Training(SedumTest):
    ROWS = [{"instruction": "Why?", "output": "Because."}] * 3
    KEYS = {"output_dir": "run", "max_steps": 1, "cutoff_len": 64, "threads": 1, "data": {"train": ["rows.jsonl"]}}

    def refused(self, *words, rows=None, **keys):
        self.write_rows("rows.jsonl", self.ROWS if rows is None else rows)
        config = self.write("recipe.yaml", recipe(**{**self.KEYS, **keys}))
        done = self.sedum("train", config, code=1)
        self.assertOneLine(done, *words)
        self.assertEqual(lines_of(done.stdout), [])

    def test_misspelt_key(self):
        self.refused("recipe.yaml:", "learnin_rate", "did you mean learning_rate?", learnin_rate=1e-3)
        self.refused("datas.train", "did you mean data.train?", **{"datas.train": "x"})

    def test_misspelt_override(self):
        config = self.write("recipe.yaml", recipe(**self.KEYS))
        self.assertOneLine(self.sedum("train", config, "lora_alfa=3", code=1), "lora_alfa", "did you mean lora_alpha?")

    def test_values(self):
        self.refused("recipe.yaml", "max_steps", max_steps="many")
        self.refused("lr_scheduler_type", "constant, constant_with_warmup, linear, cosine", lr_scheduler_type="cosin")
        self.refused("learning_rate must be above 0", learning_rate=0)
        self.refused("no layer \"q_prj\"", "did you mean q_proj?", target_modules=["q_prj"])

    def test_row_without_an_answer(self):
        self.refused("rows.jsonl:3", rows=[*self.ROWS[:2], {"instruction": "Why?"}, *self.ROWS])
        self.refused("rows.jsonl:2", rows=[self.ROWS[0], {"messages": [{"role": "user", "content": "Why?"}]}])

    def test_row_that_is_no_json(self):
        self.write("rows.jsonl", '{"instruction": "a", "output": "b"}\n{"instruction": \n')
        config = self.write("recipe.yaml", recipe(**self.KEYS))
        self.assertOneLine(self.sedum("train", config, code=1), "rows.jsonl:2")

    def test_no_rows(self):
        self.refused("rows.jsonl", rows=[])

    def test_cutoff_beyond_the_context(self):
        self.refused(f"cutoff_len {TINY_CONTEXT + 1}", TINY_CONTEXT, cutoff_len=TINY_CONTEXT + 1)

    def test_pretokenized(self):
        write_npy_int32(self.folder / "b.npy", (1, 1, 3), [1, 2, 320])
        self.refused("b.npy", "320", data={"pretokenized": "b.npy"})
        write_npy_int32(self.folder / "b.npy", (1, 1, TINY_CONTEXT + 1), [1] * (TINY_CONTEXT + 1))
        self.refused("b.npy", TINY_CONTEXT, data={"pretokenized": "b.npy"})
        (self.folder / "b.npy").write_bytes(b"no array")
        self.refused("b.npy", data={"pretokenized": "b.npy"})

    def test_folder_that_cannot_be(self):
        self.write("file", "")
        self.refused("file/run", output_dir="file/run")

    def test_damaged_checkpoint(self):
        self.write_rows("rows.jsonl", self.ROWS)
        config = self.write("recipe.yaml", recipe(**{**self.KEYS, "max_steps": 2, "save_steps": 1}))
        self.sedum("train", config)
        state = self.folder / "run" / "checkpoint-2" / "state.safetensors"
        state.write_bytes(state.read_bytes()[:-4])
        self.assertOneLine(self.sedum("train", config, code=1), "checkpoint-2")


class WrongChecksum(SedumTest):
    """A hub on the loopback interface that hands out a file of the right size and the wrong content."""

    def setUp(self):
        super().setUp()
        test = self

        class Hub(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                size = 98362432
                start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(size - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                self.end_headers()
                test.asked.append(self.path)
                block = bytes(1 << 20)
                for at in range(start, size, len(block)):
                    self.wfile.write(block[: min(len(block), size - at)])

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.asked = []
        self.hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        threading.Thread(target=self.hub.serve_forever, daemon=True).start()
        self.addCleanup(self.hub.server_close)
        self.addCleanup(self.hub.shutdown)

    def test_pull_refuses_it(self):
        # Nothing but the hub may answer: no wheels either.
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "python3").write_text("#!/bin/sh\necho no wheels here >&2\nexit 1\n")
        (tools / "python3").chmod(0o755)
        env = {"HF_ENDPOINT": f"http://127.0.0.1:{self.hub.server_port}", "PATH": f"{tools}:{os.environ['PATH']}"}
        done = self.sedum("pull", "smollm2-135m", code=1, env=env)
        self.assertTrue(self.asked)
        errors = [line for line in lines_of(done.stderr) if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertRegex(errors[0], "SHA-256|checksum")
        kept = [p for p in (self.folder / "home").rglob("*.gguf")]
        self.assertEqual(kept, [])
        self.assertOneLine(self.sedum("info", "--model", "smollm2-135m", code=1), "sedum pull smollm2-135m")


class PortInUse(SedumTest):
    def test_serve(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = self.sedum("serve", "--model", TINY, "--port", port, code=1)
            self.assertOneLine(done, port, "in use")


class LoopingTemplate(SedumTest):
    def test_it_is_cut_off_and_the_server_goes_on(self):
        folder = self.folder / "loops"
        shutil.copytree(TINY, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["chat_template"] = "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}"
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        with Server(folder) as server:
            status, answer = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1})
            self.assertEqual(status, 400, answer)
            self.assertEqual(answer["error"]["type"], "invalid_request_error")
            self.assertEqual(answer["error"]["param"], "messages")
            self.assertIn("steps", answer["error"]["message"])
            self.assertEqual(server.post("/v1/completions", {"prompt": "a", "max_tokens": 1})[0], 200)


class WrongUsage(SedumTest):
    def test_exit_code_2(self):
        for arguments in ([], ["grow"], ["generate"], ["generate", "--model", TINY], ["tokenize", "--model", TINY], ["pull"],
                          ["generate", "--model", TINY, "--hot"], ["generate", "--model", TINY, "--prompt"],
                          ["generate", "--model", TINY, "--prompt", "a", "--max-tokens", "many"], ["generate", "--model", TINY, "--compute", "f8", "--prompt", "a"],
                          ["train"], ["serve", "--model", TINY, "--port", "70000"], ["data", "bake"], ["eval"]):
            done = self.sedum(*arguments, code=2)
            self.assertTrue(lines_of(done.stderr), arguments)
            self.assertEqual(lines_of(done.stdout), [], arguments)

    def test_help_is_success_and_has_an_example(self):
        done = self.sedum("--help")
        commands = [line.split()[0] for line in done.stdout.split("Subcommands:")[1].splitlines() if line.startswith("  ")]
        self.assertGreater(len(commands), 12)
        for command in commands:
            self.assertIn("example: sedum ", self.sedum(command, "--help").stdout, command)


if __name__ == "__main__":
    main()
