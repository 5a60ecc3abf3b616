"""The other endpoints and what surrounds them, on a real engine: Responses, Anthropic's messages, embeddings, tokens, grammars,
probabilities, adapters' errors, figures, history, documents, keys, logs, the end."""

import http.client
import json
import math
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from sedum_testing import ANSWER, OTHER_QUESTION, PATIENCE, QUESTION, SEDUM, TINY, SedumTest, Server, environment, json_lines, main, real_model, teach

HELLO = [{"role": "user", "content": QUESTION}]


class Api(SedumTest):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sedum-e2e-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.taught = teach(folder)
        documents = folder / "documents"
        documents.mkdir()
        (documents / "care.md").write_text("# 冬天\n\n冬天休眠，一个月浇一次水。\n\n# Summer\n\nGive it shade.\n")
        cls.server = Server(cls.taught, "--name", "taught", "--documents", documents)
        cls.addClassCleanup(cls.server.stop)

    def ok(self, path, body):
        status, answer = self.server.post(path, body)
        self.assertEqual(status, 200, answer)
        return answer

    def events(self, path, body):
        """[(event, data)] of a stream."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("POST", path, json.dumps({"model": "taught", "stream": True, **body}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        found, name = [], None
        for line in answer:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                found.append((name, json.loads(line[6:])))
        return found

    def test_responses(self):
        body = {"input": QUESTION, "temperature": 0, "use_documents": False}
        answer = self.ok("/v1/responses", body)
        self.assertEqual((answer["object"], answer["status"]), ("response", "completed"))
        self.assertEqual(answer["output"][0]["content"][0]["text"], ANSWER)
        events = self.events("/v1/responses", body)
        self.assertEqual([data["type"] for _, data in events], [name for name, _ in events])
        self.assertEqual([data["sequence_number"] for _, data in events], list(range(len(events))))
        self.assertEqual("".join(d["delta"] for n, d in events if n == "response.output_text.delta"), ANSWER)
        self.assertEqual(events[-1][1]["response"]["output"][0]["content"][0]["text"], ANSWER)

    def test_messages(self):
        body = {"messages": HELLO, "max_tokens": 100, "temperature": 0, "use_documents": False}
        answer = self.ok("/v1/messages", body)
        self.assertEqual((answer["type"], answer["stop_reason"], answer["content"]), ("message", "end_turn", [{"type": "text", "text": ANSWER}]))
        events = self.events("/v1/messages", body)
        self.assertEqual("".join(d["delta"]["text"] for n, d in events if n == "content_block_delta"), ANSWER)
        self.assertEqual([n for n, _ in events if n not in ("content_block_delta", "ping")],
                         ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"])
        stopped = self.ok("/v1/messages", {**body, "messages": [{"role": "user", "content": OTHER_QUESTION}], "stop_sequences": ["zzz", "STOP"]})
        self.assertEqual((stopped["stop_reason"], stopped["stop_sequence"]), ("stop_sequence", "STOP"))
        counted = self.ok("/v1/messages/count_tokens", {"messages": HELLO})
        self.assertEqual(counted["input_tokens"], answer["usage"]["input_tokens"] + answer["usage"]["cache_read_input_tokens"])
        status, failure = self.server.post("/v1/messages", {"messages": HELLO})
        self.assertEqual((status, failure["type"], failure["error"]["type"]), (400, "error", "invalid_request_error"))

    def test_several_answers_and_probabilities(self):
        answer = self.ok("/v1/chat/completions", {"messages": HELLO, "n": 3, "seed": 1, "max_tokens": 4, "logprobs": True, "top_logprobs": 2, "use_documents": False})
        self.assertEqual(len(answer["choices"]), 3)
        for choice in answer["choices"]:
            tokens = choice["logprobs"]["content"]
            self.assertEqual(len(tokens), 4)
            self.assertEqual(bytes(b for t in tokens for b in t["bytes"]).decode(errors="replace"), choice["message"]["content"])
            for token in tokens:
                self.assertEqual(len(token["top_logprobs"]), 2)
                self.assertLessEqual(token["logprob"], 0)
        old = self.ok("/v1/completions", {"prompt": "Hi there", "echo": True, "logprobs": 1, "max_tokens": 3, "temperature": 0})["choices"][0]
        self.assertEqual("".join(old["logprobs"]["tokens"]), old["text"])
        self.assertIsNone(old["logprobs"]["token_logprobs"][0])

    def test_biases_and_penalties_change_the_answer(self):
        body = {"prompt": "a", "max_tokens": 6, "temperature": 0, "ignore_eos": True}
        (wanted,) = self.ok("/tokenize", {"prompt": "x", "add_special_tokens": False})["tokens"]
        self.assertNotEqual(self.ok("/v1/completions", body)["choices"][0]["text"], "xxxxxx")
        pushed = {**body, "logit_bias": {str(wanted): 100}}
        self.assertEqual(self.ok("/v1/completions", pushed)["choices"][0]["text"], "xxxxxx")
        self.assertNotIn("x", self.ok("/v1/completions", {**pushed, "logit_bias": {str(wanted): -100}})["choices"][0]["text"])

    def test_embeddings(self):
        answer = self.ok("/v1/embeddings", {"input": ["浇水", "浇水", "light"]})
        a, b, c = (row["embedding"] for row in answer["data"])
        self.assertEqual(a, b)
        self.assertAlmostEqual(math.sqrt(sum(x * x for x in a)), 1, places=4)
        self.assertNotEqual(a, c)
        self.assertNotEqual(self.ok("/v1/embeddings", {"input": "浇水 light", "pooling": "last"})["data"], self.ok("/v1/embeddings", {"input": "浇水 light"})["data"])

    def test_tokens_there_and_back(self):
        text = "多肉 <|im_end|> plants"
        ids = self.ok("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"]
        self.assertEqual(self.ok("/detokenize", {"tokens": ids})["prompt"], text)
        self.assertGreater(self.ok("/tokenize", {"messages": HELLO})["count"], 0)

    def test_a_schema_is_obeyed_or_refused(self):
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
        body = {"messages": HELLO, "max_tokens": 60, "use_documents": False}

        def format_of(schema):
            return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}

        answer = self.ok("/v1/chat/completions", {**body, **format_of(schema)})
        self.assertIn(json.loads(answer["choices"][0]["message"]["content"])["ok"], (True, False))
        refused = [  # what is asked for, and how the refusal begins
            ({"type": "string", "pattern": "(?=a)b"}, "the regular expression"),
            ({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, "the schema at"),
            ({"allOf": [{"const": 1}, {"const": 2}]}, "the schema at"),
        ]
        for stream in (False, True):
            for schema, beginning in refused:
                for path, field, more in [
                    ("/v1/chat/completions", "response_format.json_schema.schema", {**body, **format_of(schema)}),
                    ("/v1/completions", "response_format.json_schema.schema", {"prompt": "a", **format_of(schema)}),
                    ("/v1/completions", "guided_json", {"prompt": "a", "guided_json": schema}),
                    ("/v1/responses", "text.format.schema", {"input": "a", "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}),
                ]:
                    status, answer = self.server.post(path, {**more, "stream": stream})
                    self.assertEqual((status, answer["error"].get("param"), answer["error"]["type"]), (400, field, "invalid_request_error"), (path, schema, answer))
                    self.assertTrue(answer["error"]["message"].startswith(beginning), answer)
        status, answer = self.server.post("/v1/completions", {"prompt": "a", "guided_regex": "(a"})
        self.assertEqual((status, answer["error"]["param"]), (400, "guided_regex"))

    def test_passages_that_do_not_fit_are_left_out(self):
        """The tiny model's context has no room for any; that some are given is tested with a real one."""
        question = {"messages": [{"role": "user", "content": "冬天多久浇水？"}], "max_tokens": 1}
        self.assertTrue(self.server.get("/sedum/stats")[1]["documents"])
        self.assertEqual(self.ok("/v1/chat/completions", question)["choices"][0]["message"]["sources"], [])
        self.assertNotIn("sources", self.ok("/v1/chat/completions", {**question, "use_documents": False})["choices"][0]["message"])

    def test_history_and_feedback(self):
        def call(method, path, body=None):
            status, answer = self.server.request(path, body, method=method)
            return status, json.loads(answer)

        self.assertEqual(call("PUT", "/sedum/conversations/abc", {"title": "Water", "turns": [{"role": "user", "content": "<b>"}]})[0], 200)
        self.assertIn("Water", [c["title"] for c in call("GET", "/sedum/conversations")[1]["data"]])
        self.assertEqual(call("GET", "/sedum/conversations/abc")[1]["turns"], [{"role": "user", "content": "<b>"}])
        self.assertEqual(call("DELETE", "/sedum/conversations/abc")[0], 200)
        self.assertEqual(call("GET", "/sedum/conversations/abc")[0], 404)
        rating = {"model": "taught", "messages": HELLO, "answer": "no", "rating": "down", "correction": "yes"}
        self.assertEqual(call("POST", "/sedum/feedback", rating)[0], 200)
        self.assertEqual(call("POST", "/sedum/feedback", {**rating, "rating": "meh"})[0], 400)
        wanted = {"messages": [*HELLO, {"role": "assistant", "content": "yes"}]}
        self.assertEqual(json_lines(self.server.request("/sedum/feedback")[1].decode()), [wanted])
        exported = subprocess.run([SEDUM, "feedback", "export", "--kind", "preferences"], capture_output=True, text=True, check=True, timeout=PATIENCE,
                                  env=environment(SEDUM_HOME=self.server.home.name)).stdout
        self.assertEqual(json_lines(exported)[0]["rejected"], [{"role": "assistant", "content": "no"}])
        vote = {"messages": HELLO, "model_a": "a", "model_b": "b", "answer_a": "x", "answer_b": "y", "winner": "b"}
        self.assertEqual(call("POST", "/sedum/votes", vote)[1]["standings"][0], {"model": "b", "wins": 1, "losses": 0, "ties": 0})

    def test_figures(self):
        self.ok("/v1/completions", {"prompt": "a", "max_tokens": 3})
        lines = dict(line.rsplit(" ", 1) for line in self.server.request("/metrics")[1].decode().splitlines() if not line.startswith("#"))
        self.assertGreaterEqual(float(lines['sedum_generated_tokens_total{model="taught"}']), 3)
        self.assertGreaterEqual(float(lines['sedum_http_requests_total{path="/v1/completions",status="200"}']), 1)
        count = float(lines['sedum_time_to_first_token_seconds_count{model="taught"}'])
        self.assertEqual(float(lines['sedum_time_to_first_token_seconds_bucket{model="taught",le="+Inf"}']), count)
        self.assertGreater(count, 0)

    def test_the_description_names_every_path(self):
        status, description = self.server.get("/openapi.json")
        self.assertEqual(status, 200)
        for path, methods in description["paths"].items():
            for method in methods:
                status, _ = self.server.request(path.replace("{id}", "taught"), None, method=method.upper())
                self.assertNotIn(status, (405, 500), f"{method} {path}")

    def test_page(self):
        for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/main.js", "text/javascript"), ("/markdown.js", "text/javascript")):
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
            connection.request("GET", path)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Content-Type").split(";")[0]), (200, kind))
            self.assertNotIn("unsafe", answer.getheader("Content-Security-Policy"))
            text = answer.read().decode()
            connection.close()
            for word in ("http://", "https://"):
                self.assertNotIn(f'src="{word}', text)
                self.assertNotIn(f'href="{word}', text.replace('href="${url}', ""))


class Documents(SedumTest):
    @unittest.skipUnless(real_model("smollm2.gguf"), "needs smollm2.gguf in $SEDUM_TEST_MODELS")
    def test_passages_are_given_and_named(self):
        self.write("documents/care.md", "# 冬天\n\n冬天休眠，一个月浇一次水。\n\n# Summer\n\nGive it shade.\n")
        with Server(real_model("smollm2.gguf"), "--documents", self.folder / "documents", "--context", "1024") as server:
            body = {"messages": [{"role": "user", "content": "冬天多久浇水？"}], "max_tokens": 2}
            answer = server.post("/v1/chat/completions", body)[1]
            sources = answer["choices"][0]["message"]["sources"]
            self.assertEqual([(s["index"], s["path"], s["heading"], s["line"]) for s in sources], [(1, "care.md", "冬天", 3)])
            without = server.post("/v1/chat/completions", {**body, "use_documents": False})[1]
            self.assertGreater(answer["usage"]["prompt_tokens"], without["usage"]["prompt_tokens"] + 20)


class Operation(SedumTest):
    def test_keys_have_bounds_and_logs_have_no_prompts(self):
        keys = self.write("keys", "slow name=slow requests_per_minute=1\nfree\n")
        with Server(TINY, "--api-key-file", keys, key="free") as server:
            body = {"prompt": "a secret", "max_tokens": 1}
            slow = {"Authorization": "Bearer slow"}
            self.assertEqual(server.post("/v1/completions", body, headers={"x-api-key": "free", "X-Request-Id": "mine-1"})[0], 200)
            self.assertEqual(server.post("/v1/completions", body, headers=slow)[0], 200)
            status, answer = server.post("/v1/completions", body, headers=slow)
            self.assertEqual((status, answer["error"]["code"]), (429, "rate_limit_exceeded"))
        lines = server.answers("/v1/completions")
        self.assertEqual([line["status"] for line in lines], [200, 200, 429])
        self.assertEqual(lines[0]["request_id"], "mine-1")
        self.assertEqual(lines[1]["key"], "slow")
        self.assertEqual(lines[0]["completion_tokens"], 1)
        self.assertNotIn("secret", "".join(server.log))

    def test_prompts_are_logged_when_asked(self):
        with Server(TINY, "--log-prompts") as server:
            server.post("/v1/completions", {"prompt": "a secret", "max_tokens": 1})
        self.assertIn("a secret", "".join(server.log))

    def test_a_taken_port_is_known_before_the_model_is_read(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = self.sedum("serve", "--model", "there-is-no-such-model", "--port", taken.getsockname()[1], code=1)
        self.assertOneLine(done, "address in use")

    def test_answers_in_the_making_are_finished(self):
        server = Server(TINY)
        answers = []

        def ask():
            body = {"prompt": "a", "max_tokens": 200, "ignore_eos": True, "stream": True}
            answers.append(server.request("/v1/completions", {"model": server.model, **body})[1].decode())

        thread = threading.Thread(target=ask)
        thread.start()
        end = time.monotonic() + PATIENCE
        while server.get("/health")[1]["requests"] != 1 and time.monotonic() < end and not answers:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        thread.join(PATIENCE)
        self.assertEqual(server.process.wait(PATIENCE), 0)
        server.stop()
        self.assertTrue(answers[0].endswith("data: [DONE]\n\n"), answers[0][-200:])


if __name__ == "__main__":
    main()
