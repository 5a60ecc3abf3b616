"""`sedum generate`: seeds, stop strings, limits, streamed text; and that precision and threads do what they say."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from sedum_testing import ANSWER, OTHER_ANSWER, OTHER_QUESTION, QUESTION, SEDUM, TINY, TINY_CONTEXT, SedumTest, environment, main, read_npy, teach


class Generate(SedumTest):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="sedum-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.taught = teach(cls.shared)

    def say(self, question, *arguments):
        return self.answer("--prompt", question, "--temperature", "0", *arguments, model=self.taught)

    def test_what_was_taught_is_said(self):
        for compute in ("f32", "bf16", "int8"):
            for question, answer in ((QUESTION, ANSWER), (OTHER_QUESTION, OTHER_ANSWER)):
                said = self.say(question, "--compute", compute)
                self.assertEqual((said["text"], said["finish_reason"]), (answer, "stop"), compute)

    def test_text_is_the_streamed_text(self):
        done = self.sedum("generate", "--model", self.taught, "--threads", "1", "--prompt", QUESTION, "--temperature", "0")
        self.assertEqual(done.stdout, ANSWER + "\n")

    def test_no_character_is_split_in_the_stream(self):
        process = subprocess.Popen([SEDUM, "generate", "--model", self.taught, "--threads", "1", "--prompt", QUESTION, "--temperature", "0"], stdout=subprocess.PIPE, env=environment())
        pieces = []
        while piece := os.read(process.stdout.fileno(), 65536):
            pieces.append(piece)
        process.stdout.close()
        self.assertEqual(process.wait(), 0)
        for piece in pieces:
            piece.decode()  # raises when a piece ends within a character
        self.assertEqual(b"".join(pieces).decode(), ANSWER + "\n")

    def test_compiled_models_say_the_same(self):
        cache = self.folder / "packed"
        compiling = ("compile", self.taught, "--pack-cache", cache, "--threads", "1", "--rows", "16")
        first, again = self.sedum_json(*compiling), self.sedum_json(*compiling)
        self.assertGreater(first["tensors"], 0)
        self.assertEqual((first["packed"], first["reused"]), (first["tensors"], 0))
        self.assertEqual((again["packed"], again["reused"], again["file"]), (0, first["tensors"], first["file"]))
        self.assertGreater(len(first["tuned"]), 0)
        self.assertEqual(again["tuned"], [])  # known already
        for more in (("--pack-cache", cache), ("--no-pack-cache",)):
            self.assertEqual(self.say(QUESTION, "--compute", "int8", *more)["text"], ANSWER)
        self.assertOneLine(self.sedum("compile", self.taught, code=1), "--pack-cache")  # the tests' environment says "off"
        self.assertIn("example: sedum compile", self.sedum("compile", "--help").stdout)

    def test_keys_and_values_in_fewer_bits(self):
        for kept in ("f32", "bf16", "int8"):
            self.assertEqual(self.say(QUESTION, "--kv-cache", kept)["text"], ANSWER, kept)

    def test_prompt_from_a_file(self):
        path = self.write("question.txt", QUESTION)
        said = self.answer("--prompt-file", path, "--temperature", "0", model=self.taught)
        self.assertEqual(said["text"], ANSWER)

    def test_stop_strings_end_the_answer_and_stay_out_of_it(self):
        said = self.say(OTHER_QUESTION, "--stop", "STOP")
        self.assertEqual((said["text"], said["finish_reason"]), (OTHER_ANSWER.split("STOP")[0], "stop"))
        said = self.say(OTHER_QUESTION, "--stop", "never said", "--stop", "window", "--stop", "STOP")
        self.assertEqual(said["text"], OTHER_ANSWER.split("window")[0])
        said = self.say(QUESTION, "--stop", "浇水")  # six bytes, six tokens
        self.assertEqual(said["text"], ANSWER.split("浇水")[0])
        self.assertEqual(self.say(OTHER_QUESTION, "--stop", "windy")["text"], OTHER_ANSWER)

    def test_guesses_change_nothing(self):
        for more in ((), ("--prompt-lookup", "8"), ("--draft-model", TINY), ("--draft-model", self.taught, "--draft-tokens", "3")):
            said = self.say(OTHER_QUESTION, *more)
            self.assertEqual(said["text"], OTHER_ANSWER, more)
            if "--draft-tokens" in more:
                self.assertGreaterEqual(said["accepted_tokens"], said["drafted_tokens"] - 3)  # what follows the end is in vain
                self.assertGreater(said["accepted_tokens"], 5)

    def test_beams_several_answers_and_forms(self):
        beams = self.say(QUESTION, "--num-beams", "4", "-n", "2")
        self.assertEqual(beams["text"], ANSWER)
        self.assertEqual(len(beams["answers"]), 2)
        self.assertGreaterEqual(beams["answers"][0]["score"], beams["answers"][1]["score"])
        hot = ("--prompt", QUESTION, "--temperature", "4", "--max-tokens", "300")
        said = self.answer(*hot, "-n", "3", "--choice", "sun", "--choice", "shade")
        self.assertEqual({a["text"] for a in said["answers"]} - {"sun", "shade"}, set())
        schema = self.write("schema.json", '{"type": "object", "properties": {"n": {"type": "integer", "maximum": 99, "minimum": 10}}, "required": ["n"]}')
        said = self.answer(*hot, "--json-schema", schema)
        self.assertTrue(10 <= json.loads(said["text"])["n"] <= 99, said["text"])
        said = self.answer(*hot, "--regex", "[ab]{3}c", "--logprobs", "2")
        self.assertRegex(said["text"], "^[ab]{3}c$")
        self.assertEqual(len(said["logprobs"]), len(said["ids"]))
        bad = self.write("bad.json", '{"properties": {"a": {"not": {}}}}')
        self.assertOneLine(self.sedum("generate", "--model", TINY, "--prompt", "x", "--json-schema", bad, code=1), "/properties/a", "not")
        self.assertOneLine(self.sedum("generate", "--model", TINY, "--prompt", "x", "--logit-bias", "7", code=2), "ID=BIAS")

    def test_max_tokens(self):
        for n in (1, 5, 9):
            said = self.say(OTHER_QUESTION, "--max-tokens", n)
            self.assertEqual((len(said["ids"]), said["finish_reason"]), (n, "length"))
            self.assertTrue(OTHER_ANSWER.startswith(said["text"]))

    def test_a_full_context_ends_the_answer(self):
        said = self.answer("--ids", " ".join(["7"] * (TINY_CONTEXT - 6)), "--temperature", "0", "--max-tokens", "-1")
        self.assertLessEqual(len(said["ids"]), 6)
        if said["finish_reason"] == "length":
            self.assertEqual(len(said["ids"]), 6)

    def test_seeds(self):
        wild = ["--prompt", "Hi", "--temperature", "1.5", "--max-tokens", "24"]
        first = self.answer(*wild, "--seed", "7")
        self.assertEqual(first["ids"], self.answer(*wild, "--seed", "7")["ids"])
        self.assertEqual(first["ids"], self.answer(*wild, "--seed", "7", threads=2)["ids"])
        self.assertNotEqual(first["ids"], self.answer(*wild, "--seed", "8")["ids"])

    def test_one_candidate_is_greedy(self):
        greedy = self.answer("--prompt", "Hi", "--temperature", "0", "--max-tokens", "16")
        for option in (["--top-k", "1"], ["--top-p", "0.000001"], ["--min-p", "1"]):
            self.assertEqual(self.answer("--prompt", "Hi", "--temperature", "2", "--max-tokens", "16", *option)["ids"], greedy["ids"], option)

    def test_repetition_penalty(self):
        plain = self.answer("--prompt", "Hi", "--temperature", "0", "--max-tokens", "30")["ids"]
        penalised = self.answer("--prompt", "Hi", "--temperature", "0", "--max-tokens", "30", "--repetition-penalty", "5")["ids"]
        self.assertGreater(len(set(penalised)), len(set(plain)))

    def test_raw_text_and_ids_are_the_same_prompt(self):
        raw = self.answer("--raw", "--prompt", "Bright", "--temperature", "0", "--max-tokens", "8")
        ids = self.answer("--ids", " ".join(map(str, raw["prompt_ids"])), "--temperature", "0", "--max-tokens", "8")
        self.assertEqual(raw["ids"], ids["ids"])
        tokens = self.sedum_json("tokenize", "--model", TINY, "--text", "Bright")
        self.assertEqual(tokens["ids"], raw["prompt_ids"])
        self.assertEqual(self.sedum("detokenize", "--model", TINY, "--ids", " ".join(map(str, tokens["ids"]))).stdout, "Bright\n")

    def test_logits_agree_with_the_tokens(self):
        """`forward` over prompt and answer: at each place the largest logit is the token that came."""
        said = self.answer("--prompt", "Hi", "--temperature", "0", "--max-tokens", "12", "--compute", "f32")
        ids = said["prompt_ids"] + said["ids"]
        self.write("ids.json", [ids, ids[:3]])
        self.sedum("forward", "--model", TINY, "--threads", "1", "--ids-file", "ids.json", "--out", "logits.npy")
        (rows, length, vocabulary), values = read_npy(self.folder / "logits.npy")
        self.assertEqual((rows, length, vocabulary), (2, len(ids), 320))
        row = lambda i: values[i * vocabulary : (i + 1) * vocabulary]
        for i, token in enumerate(said["ids"]):
            at = row(len(said["prompt_ids"]) - 1 + i)
            self.assertEqual(at.index(max(at)), token)
        self.assertEqual([row(i) for i in range(3)], [row(length + i) for i in range(3)])  # alone or beside others
        self.assertTrue(all(v == 0 for v in values[(length + 3) * vocabulary :]))


if __name__ == "__main__":
    main()
