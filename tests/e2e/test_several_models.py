"""Several models in one server, and the options of its engine."""

import concurrent.futures
import re

from sedum_testing import ANSWER, GOLDEN, QUESTION, TINY, SedumTest, Server, main, recipe, teach

OTHER = GOLDEN / "models" / "qwen2"


class Models(SedumTest):
    def setUp(self):
        super().setUp()
        self.taught = teach(self.folder)

    def complete(self, server, model, prompt="Water", **more):
        status, answer = server.post("/v1/completions", {"model": model, "prompt": prompt, "max_tokens": 24, "temperature": 0, "ignore_eos": True, **more})
        self.assertEqual(status, 200, answer)
        return answer

    def text(self, *arguments, **more):
        return self.complete(*arguments, **more)["choices"][0]["text"]

    def test_each_answers_as_it_does_alone(self):
        with Server(self.taught, "--name", "taught") as server:
            taught = self.text(server, "taught")
        with Server(OTHER, "--name", "other") as server:
            other = self.text(server, "other")
        self.assertNotEqual(taught, other)
        with Server(self.taught, "--name", "taught", "--also", f"other={OTHER}", "--also", f"third={TINY}") as server:
            self.assertEqual([m["id"] for m in server.get("/v1/models")[1]["data"]], ["taught", "other", "third"])
            self.assertEqual(server.chat(QUESTION, model="taught"), ANSWER)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:  # at once
                answers = list(pool.map(lambda i: self.text(server, ("taught", "other")[i % 2]), range(16)))
            self.assertEqual(answers, [taught, other] * 8)
            self.assertEqual(server.post("/v1/completions", {"model": "fourth", "prompt": "a"})[0], 404)
            figures = server.request("/metrics")[1].decode()
            made = {name: float(value) for name, value in re.findall(r'sedum_generated_tokens_total\{model="(\w+)"\} (\S+)', figures)}
            self.assertEqual((made["other"], made["third"]), (8 * 24, 0))
            self.assertGreater(made["taught"], 8 * 24)

    def test_another_model_may_be_an_adapter_on_its_base(self):
        rows = self.write_rows("more.jsonl", [{"instruction": "Why?", "output": "Because."}])
        config = self.write("adapter.yaml", recipe(model_name_or_path=str(self.taught), output_dir=str(self.folder / "lora"), finetuning_type="lora", data={"train": [str(rows)]},
                                                   cutoff_len=64, max_steps=8, learning_rate=0.05, threads=1))  # fmt: skip
        self.sedum("train", config)
        adapter = next(path.parent for path in (self.folder / "lora").rglob("adapter_config.json") if "checkpoint" not in str(path))
        with Server(adapter, "--name", "alone") as server:
            tuned = self.text(server, "alone")
        with Server(self.taught, "--name", "taught", "--also", f"tuned={adapter}") as server:
            self.assertEqual(self.text(server, "tuned"), tuned)
            self.assertNotEqual(self.text(server, "taught"), tuned)

    def test_what_is_refused(self):
        for wrong, said in [
            (["--also", f"one={OTHER}"], "two models are called one"),
            (["--also", str(OTHER)], "is not NAME=PATH"),
            (["--also", f"two={OTHER}", "--also", f"two={TINY}"], "--also two is given twice"),
            (["--also", f"bert={GOLDEN / 'models' / 'bert_plain'}"], "is an encoder"),
            (["--also", "two=nowhere"], "nowhere"),
            (["--cache-memory", "1"], "holds no page"),
            (["--cache-memory", "much"], "much"),
        ]:
            with self.subTest(wrong):
                usage = "NAME=PATH" in said or "twice" in said or wrong[1] == "much"
                self.assertOneLine(self.sedum("serve", "--model", TINY, "--name", "one", "--port", "0", *wrong, code=2 if usage else 1), said)

    def test_the_engines_options(self):
        def figure(server, name):
            return float(re.search(rf'^sedum_{name}\{{model="one"\}} (\S+)', server.request("/metrics")[1].decode(), re.M)[1])

        with Server(self.taught, "--name", "one") as server:
            plain = self.text(server, "one")
            pages = figure(server, "kv_pages")
            beginning = "Water the plants in spring, and in summer too. " * 2
            cached = [self.complete(server, "one", beginning)["usage"]["prompt_tokens_details"]["cached_tokens"] for _ in range(2)]
            self.assertEqual(cached[0], 0)
            self.assertGreater(cached[1], 0)
        with Server(self.taught, "--name", "one", "--no-prefix-cache", "--cache-memory", "100KB", "--step-tokens", "16", "--max-sequences", "2", "--prompt-lookup", "4", "--also", f"two={TINY}") as server:
            self.assertEqual(self.text(server, "one"), plain)
            self.assertLess(figure(server, "kv_pages"), pages)
            self.assertEqual([self.complete(server, "one", beginning)["usage"]["prompt_tokens_details"]["cached_tokens"] for _ in range(2)], [0, 0])
            self.assertGreater(figure(server, "drafted_tokens_total"), 0)
        steps = {}
        for guesses in (1, 6):  # its own draft model guesses right: more at once, fewer steps
            with Server(self.taught, "--name", "one", "--draft-model", self.taught, "--draft-tokens", guesses) as server:
                self.assertEqual(self.text(server, "one"), plain)
                self.assertGreater(figure(server, "drafted_tokens_total"), 0)
                steps[guesses] = figure(server, "steps_total")
        self.assertLess(steps[6], steps[1])

    def test_a_step_holds_what_the_options_say(self):
        def steps(**request):
            return lambda server: (self.complete(server, "one", **request), float(re.search(r'^sedum_steps_total\{.*\} (\S+)', server.request("/metrics")[1].decode(), re.M)[1]))[1]

        def counted(ask, *options):
            with Server(self.taught, "--name", "one", *options) as server:
                return ask(server)

        prompt = steps(prompt="x" * 160, max_tokens=1)  # a token for each byte
        self.assertLess(counted(prompt), 10)
        self.assertGreaterEqual(counted(prompt, "--step-tokens", 16), 10)
        answers = steps(n=4, max_tokens=24, temperature=1)
        self.assertLess(counted(answers), 2 * 24)
        self.assertGreaterEqual(counted(answers, "--max-sequences", 1), 4 * 23)


if __name__ == "__main__":
    main()
