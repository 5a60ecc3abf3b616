"""OpenAI's API as a client sees it: answers, streams, failures, many at once, one that leaves."""

import concurrent.futures
import http.client
import json
import pathlib
import shutil
import socket
import tempfile
import time

from sedum_testing import ANSWER, OTHER_ANSWER, OTHER_QUESTION, PATIENCE, QUESTION, TINY, TINY_CONTEXT, SedumTest, Server, main, teach


class Api(SedumTest):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sedum-e2e-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.taught = teach(folder)
        cls.server = Server(cls.taught, "--name", "taught")
        cls.addClassCleanup(cls.server.stop)

    def events(self, path, body):
        """The data of a stream's events, in order; each must be whole UTF-8 by itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("POST", path, json.dumps({"model": "taught", "stream": True, **body}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Content-Type").split(";")[0]), (200, "text/event-stream"))
        found = []
        for line in answer:
            if line.startswith(b"data: "):
                found.append(line[6:].strip().decode("utf-8", "strict"))
        self.assertEqual(found[-1], "[DONE]")
        return [json.loads(data) for data in found[:-1]]

    def failure(self, status, path, body, code=None, param=None, **more):
        got, answer = self.server.post(path, body, **more)
        self.assertEqual(got, status, answer)
        self.assertEqual(set(answer), {"error"})
        error = answer["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertTrue(error["message"])
        self.assertTrue(error["type"])
        if code:
            self.assertEqual(error["code"], code)
        if param:
            self.assertEqual(error["param"], param)

    def test_chat(self):
        status, answer = self.server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0})
        self.assertEqual(status, 200)
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["choices"][0]["message"], {"role": "assistant", "content": ANSWER, "refusal": None})
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])

    def test_greedy_answers_are_those_of_generate(self):
        for question in (QUESTION, OTHER_QUESTION, "Never seen before"):
            said = self.answer("--prompt", question, "--temperature", "0", "--max-tokens", "40", model=self.taught)
            self.assertEqual(self.server.chat(question, max_tokens=40), said["text"])

    def test_sampled_answers_are_those_of_generate(self):
        said = self.answer("--prompt", "Hi", "--temperature", "1.3", "--top-k", "50", "--seed", "11", "--max-tokens", "20", model=self.taught)
        self.assertEqual(self.server.chat("Hi", temperature=1.3, top_k=50, seed=11, max_tokens=20), said["text"])

    def test_greedy_among_others_is_greedy_alone(self):
        questions = [QUESTION, OTHER_QUESTION, "Soil?", "Pots and pans", "冬季", "a", "Repot it in spring, please."] * 3
        alone = {q: self.server.chat(q, max_tokens=48) for q in questions[:7]}
        with concurrent.futures.ThreadPoolExecutor(len(questions)) as pool:
            together = list(pool.map(lambda q: self.server.chat(q, max_tokens=48), questions))
        self.assertEqual(together, [alone[q] for q in questions])
        self.assertEqual(alone[QUESTION], ANSWER)

    def test_stream_is_the_answer_and_splits_no_character(self):
        events = self.events("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0,
                                                      "stream_options": {"include_usage": True}})
        pieces = [e["choices"][0]["delta"].get("content", "") for e in events if e["choices"]]
        self.assertEqual("".join(pieces), ANSWER)
        self.assertNotIn("\ufffd", "".join(pieces))
        self.assertGreater(len([p for p in pieces if p]), 5)  # it came bit by bit
        self.assertEqual([e["choices"][0]["finish_reason"] for e in events if e["choices"]][-1], "stop")
        self.assertEqual(events[-1]["usage"]["completion_tokens"], len(self.answer("--prompt", QUESTION, "--temperature", "0", model=self.taught)["ids"]))

    def test_streamed_noise_is_valid_and_the_same(self):
        """High temperature over a byte vocabulary: nearly every character is broken."""
        body = {"prompt": "水", "temperature": 2, "seed": 5, "max_tokens": 120, "ignore_eos": True}
        whole = self.server.post("/v1/completions", body)[1]["choices"][0]["text"]
        pieces = [e["choices"][0]["text"] for e in self.events("/v1/completions", body)]
        self.assertEqual("".join(pieces), whole)

    def test_stop_strings(self):
        self.assertEqual(self.server.chat(OTHER_QUESTION, stop="STOP"), OTHER_ANSWER.split("STOP")[0])
        self.assertEqual(self.server.chat(OTHER_QUESTION, stop=["zzz", "sunny"]), OTHER_ANSWER.split("sunny")[0])

    def test_models_and_health(self):
        status, models = self.server.get("/v1/models")
        self.assertEqual((status, [m["id"] for m in models["data"]]), (200, ["taught"]))
        self.assertEqual(self.server.get("/health")[0], 200)
        status, page = self.server.request("/")
        self.assertEqual(status, 200)
        self.assertIn(b"<!doctype html>", page.lower())

    def test_failures_in_openais_format(self):
        chat, message = "/v1/chat/completions", [{"role": "user", "content": "Hi"}]
        for body in (b"", b"{", b'{"messages": [', b"[1]", b"null", b"\xff\xfe", b'{"a": 1} x', b"[" * 100000):
            self.failure(400, chat, body)
            self.failure(400, "/v1/completions", body)
        self.failure(404, chat, {"messages": message, "model": "gpt-none"}, code="model_not_found", param="model")
        self.failure(400, chat, {"messages": []}, param="messages")
        self.failure(400, chat, {})
        self.failure(400, chat, {"messages": message, "temperature": -1}, param="temperature")
        self.failure(400, chat, {"messages": message, "max_tokens": "many"}, param="max_tokens")
        self.failure(400, chat, {"messages": [{"role": "user", "content": "x" * 4 * TINY_CONTEXT}]}, code="context_length_exceeded", param="messages")
        self.failure(400, "/v1/completions", {"prompt": [1, 2, 999]}, param="prompt")
        self.failure(404, "/v1/nothing", {})
        self.assertEqual(self.server.chat(QUESTION), ANSWER)  # it lives

    def test_body_too_large(self):
        self.failure(413, "/v1/chat/completions", b'{"messages": "' + b"x" * (9 << 20) + b'"}')

    def test_method_that_is_not_there(self):
        status, body = self.server.request("/v1/chat/completions")
        self.assertEqual(status, 405)
        self.assertEqual(set(json.loads(body)["error"]), {"message", "type", "param", "code"})

    def requests(self):
        return self.server.get("/health")[1]["requests"]

    def wait_for_requests(self, count):
        end = time.monotonic() + PATIENCE
        while self.requests() != count:
            self.assertLess(time.monotonic(), end, f"{self.requests()} requests still run")
            time.sleep(0.02)

    def leave(self, stream):
        """Asks for more than could be finished meanwhile, hears a little of it, and goes."""
        body = json.dumps({"model": "taught", "prompt": ["Hi"] * 16, "n": 8, "ignore_eos": True, "max_tokens": 200, "stream": stream}).encode()
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE) as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            if stream:
                self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200"))
            self.wait_for_requests(1)

    def test_a_client_that_leaves_stops_its_request(self):
        for stream in (True, False):
            finished = len(self.server.answers("/v1/completions"))
            self.leave(stream)
            self.wait_for_requests(0)
            time.sleep(0.1)
            for line in self.server.answers("/v1/completions")[finished:]:  # what was made of it is far from all it asked for
                self.assertTrue(line.get("cut") or line["completion_tokens"] < 128 * 200, line)
        self.assertEqual(self.server.chat(QUESTION), ANSWER)

    def test_pages_of_other_sites_are_refused(self):
        self.failure(403, "/v1/chat/completions", {"messages": []}, headers={"Origin": "http://elsewhere.example"})


class Keys(SedumTest):
    def test_key(self):
        with Server(TINY, "--api-key-file", self.write("keys", "# mine\nsecret\n"), key="secret") as server:
            body = {"prompt": "Hi", "max_tokens": 1}
            self.assertEqual(server.post("/v1/completions", body, headers={})[0], 401)
            self.assertEqual(server.post("/v1/completions", body, headers={"Authorization": "Bearer wrong"})[0], 401)
            self.assertEqual(server.post("/v1/completions", body, headers=server.headers)[0], 200)


class Ends(SedumTest):
    def test_a_signal_ends_it_cleanly(self):
        server = Server(TINY)
        self.assertEqual(server.stop(), 0)
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", server.port), 1)


if __name__ == "__main__":
    main()
