"""Encoders from outside: `sedum embed`, /v1/embeddings, and documents that are found by their meaning."""

import json
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
            self.assertEqual([m["id"] for m in server.get("/v1/models")[1]["data"]], ["llama", "bert_plain"])
            self.check(server, "bert_plain")

    def check(self, server, name):
        status, answer = server.post("/v1/embeddings", {"model": name, "input": TEXTS})
        self.assertEqual(status, 200, answer)
        self.assertEqual([d["embedding"] for d in answer["data"]], self.embed(*TEXTS)["embeddings"])
        self.assertGreater(answer["usage"]["prompt_tokens"], 8)


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
