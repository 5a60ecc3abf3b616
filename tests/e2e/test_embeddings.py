"""Encoders from outside: `sedum embed`, /v1/embeddings, and documents that are found by their meaning."""

import json
import re
import struct
import unittest

from sedum_testing import GOLDEN, TINY, SedumTest, Server, main, real_model

ENCODER = GOLDEN / "models" / "bert_plain"
TEXTS = ["Water the plant.", "Is the soil dry?"]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b))


class Embeddings(SedumTest):
    def embed(self, *texts):
        arguments = [part for text in texts for part in ("--text", text)]
        return json.loads(self.sedum("embed", "--model", ENCODER, *arguments, "--json").stdout)

    def test_vectors_have_length_one_and_do_not_depend_on_neighbours(self):
        together = self.embed(*TEXTS)
        self.assertEqual((together["dimensions"], len(together["embeddings"])), (24, 2))
        for text, vector in zip(TEXTS, together["embeddings"]):
            self.assertAlmostEqual(cosine(vector, vector), 1, delta=1e-6)
            self.assertEqual(self.embed(text)["embeddings"], [vector])
        self.assertLess(cosine(*together["embeddings"]), 0.999)

    def test_lines_of_a_file(self):
        file = self.write("texts.txt", "\n".join(TEXTS) + "\n")
        answer = json.loads(self.sedum("embed", "--model", ENCODER, "--file", file, "--json").stdout)
        self.assertEqual(answer["embeddings"], self.embed(*TEXTS)["embeddings"])
        self.assertIn("1.000", self.sedum("embed", "--model", ENCODER, "--file", file).stdout)

    def test_mistakes_say_how_to_mend_them(self):
        self.assertOneLine(self.sedum("embed", "--model", TINY, "--text", "a", code=1), "encoder")
        self.assertOneLine(self.sedum("generate", "--model", ENCODER, "--prompt", "a", code=1), "embed")

    def test_a_server_of_an_encoder_alone(self):
        with Server(ENCODER, "--name", "tiny") as server:
            self.check(server, "tiny")
            status, answer = server.post("/v1/completions", {"model": "tiny", "prompt": "a"})
            self.assertEqual(status, 400, answer)

    def test_beside_a_language_model(self):
        with Server(TINY, "--embedding-model", ENCODER) as server:
            models = server.get("/v1/models")[1]["data"]
            self.assertEqual([(m["id"], m["generates"]) for m in models], [("llama", True), ("bert_plain", False)])
            self.check(server, "bert_plain")

    def check(self, server, name):
        status, answer = server.post("/v1/embeddings", {"model": name, "input": TEXTS})
        self.assertEqual(status, 200, answer)
        self.assertEqual([d["embedding"] for d in answer["data"]], self.embed(*TEXTS)["embeddings"])
        self.assertGreater(answer["usage"]["prompt_tokens"], 8)


class Forward(SedumTest):
    """Outputs of encoders and encoder-decoders, as transformers has them; see tools/golden/model_encoders.py."""

    def outputs(self, name, *arguments):
        self.sedum("forward", "--model", GOLDEN / "models" / name, *arguments, "--out", self.folder / "out.npy")
        content = (self.folder / "out.npy").read_bytes()
        size = 10 + struct.unpack_from("<H", content, 8)[0]
        shape = tuple(map(int, re.findall(rb"\d+", re.search(rb"'shape': \(([^)]*)\)", content[:size]).group(1))))
        return shape, struct.unpack(f"<{(len(content) - size) // 4}f", content[size:])

    def golden(self, name):
        content = (GOLDEN / "models" / f"{name}.npy").read_bytes()
        size = 10 + struct.unpack_from("<H", content, 8)[0]
        return struct.unpack(f"<{(len(content) - size) // 4}f", content[size:])

    def test_outputs(self):
        for name, width in (("bert", 120), ("roberta", 120), ("bert_plain", 24), ("bert_token", 4), ("bert_sequence", 4), ("t5", 120)):
            data = json.loads((GOLDEN / "models" / f"{name}.json").read_text())
            arguments = ["--ids-file", self.write("ids.json", json.dumps(data["ids"]))]
            if "types" in data:
                arguments += ["--token-types-file", self.write("types.json", json.dumps(data["types"]))]
            if "decoder_ids" in data:
                arguments += ["--decoder-ids-file", self.write("decoder.json", json.dumps(data["decoder_ids"]))]
            shape, ours = self.outputs(name, *arguments)
            lengths = [1] * 3 if name == "bert_sequence" else [len(row) for row in data.get("decoder_ids", data["ids"])]
            self.assertEqual(shape, (3, 4) if name == "bert_sequence" else (3, max(lengths), width))
            theirs, at = self.golden(name), 0
            for row, length in enumerate(lengths):
                begin = row * max(lengths) * width
                for a, b in zip(ours[begin : begin + length * width], theirs[at : at + length * width], strict=True):
                    self.assertAlmostEqual(a, b, delta=1e-4)
                at += length * width

    def test_targets(self):
        data = json.loads((GOLDEN / "models" / "t5.json").read_text())
        for i, source in enumerate(data["ids"]):
            arguments = ["generate", "--model", GOLDEN / "models" / "t5", "--ids", " ".join(map(str, source)), "--compute", "f32", "--max-tokens", 12, "--json"]
            self.assertEqual([0, *json.loads(self.sedum(*arguments).stdout)["ids"]], data["greedy"][i])
            for size in (2, 4, 8):
                beams = json.loads(self.sedum(*arguments, "--num-beams", size, "--length-penalty", 0.8, "-n", size).stdout)["answers"]
                self.assertEqual([[0, *b["ids"]] for b in beams], data["beams"][str(size)][i]["ids"])

    def test_info(self):
        for name, layers in (("bert", "2 layers of 24"), ("t5", "2 more layers in the decoder")):
            self.assertIn(layers, self.sedum("info", "--model", GOLDEN / "models" / name).stdout)

    def test_a_target_is_asked_for(self):
        ids = self.write("ids.json", "[[5, 6]]")
        self.assertOneLine(self.sedum("forward", "--model", GOLDEN / "models" / "t5", "--ids-file", ids, "--out", "x.npy", code=1), "--decoder-ids-file")


class MiniLm(SedumTest):
    @unittest.skipUnless(real_model("minilm") and real_model("smollm2.gguf"), "needs minilm and smollm2.gguf in $SEDUM_TEST_MODELS")
    def test_documents_are_found_by_meaning(self):
        """The question shares no word with the passage that answers it."""
        folder = self.folder / "documents"
        folder.mkdir()
        (folder / "care.md").write_text("# Sunlight\n\nSucculents thrive beside a bright window.\n\n# Frost\n\nBring pots indoors before the first freeze.\n")
        with Server(real_model("smollm2.gguf"), "--documents", folder, "--embedding-model", real_model("minilm"), "--context", "1024") as server:
            status, answer = server.post(
                "/v1/chat/completions",
                {"model": server.model, "messages": [{"role": "user", "content": "Will my cactus survive winter cold outside?"}], "max_tokens": 4},
            )
            self.assertEqual(status, 200, answer)
            self.assertEqual(answer["choices"][0]["message"]["sources"][0]["heading"], "Frost")


if __name__ == "__main__":
    main()
