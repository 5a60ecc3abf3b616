"""sedum quantize --report: its figures against sedum eval's, and against what the two models' logits give here."""

import math

from sedum_testing import GOLDEN, TINY_CONTEXT, SedumTest, main, read_npy

MODEL = GOLDEN / "models" / "llama"
FIELDS = {"type", "bytes", "bits_per_weight", "perplexity_before", "perplexity", "kl", "same_best", "tokens", "seconds"}


def log_softmax(row):
    top = max(row)
    total = top + math.log(math.fsum(math.exp(x - top) for x in row))
    return [x - total for x in row]


class Report(SedumTest):
    def setUp(self):
        super().setUp()
        self.text = self.write("text.txt", "".join(f"Water the succulent {i * 37 % 101} times, then wait.\n" for i in range(30)))

    def report(self, kind, out):
        return self.sedum_json("quantize", "--model", MODEL, "--type", kind, "--out", out, "--report", "--text", self.text, "--windows", 2, "--json")

    def perplexity(self, model):
        made = self.sedum_json("eval", "perplexity", "--model", model, "--file", self.text, "--windows", 2, "--compute", "f32", "--json")
        return made["perplexity"], made["tokens"]

    def logits(self, model, windows):
        ids = self.write("ids.json", str(windows))
        self.sedum("forward", "--threads", "1", "--compute", "f32", "--model", model, "--ids-file", ids, "--out", "o.npy")
        (_, length, width), values = read_npy(self.folder / "o.npy")
        return [values[row * width : (row + 1) * width] for row in range(len(windows) * length)]

    def by_hand(self, out):
        """Of two windows of the context: mean loss of each model, KL and agreement over all tokens that have a next one."""
        ids = self.sedum_json("tokenize", "--model", MODEL, "--file", self.text)["ids"]
        windows = [ids[at : at + TINY_CONTEXT] for at in (0, TINY_CONTEXT)]
        self.assertEqual([len(w) for w in windows], [TINY_CONTEXT] * 2)
        before, after = self.logits(MODEL, windows), self.logits(out, windows)
        losses, kl, same, count = [0.0, 0.0], 0.0, 0, 0
        for w, window in enumerate(windows):
            for i, target in enumerate(window[1:]):
                p, q = (log_softmax(rows[w * TINY_CONTEXT + i]) for rows in (before, after))
                losses[0], losses[1], count = losses[0] - p[target], losses[1] - q[target], count + 1
                kl += sum(math.exp(a) * (a - b) for a, b in zip(p, q))
                same += max(range(len(p)), key=p.__getitem__) == max(range(len(q)), key=q.__getitem__)
        return math.exp(losses[0] / count), math.exp(losses[1] / count), kl / count, same / count, count

    def test_figures_are_those_of_eval_and_of_the_logits(self):
        for kind, out in (("q8_0", "q8.gguf"), ("q4_0", "q4.gguf"), ("nf4", "nf4")):
            with self.subTest(kind):
                row = self.report(kind, out)
                self.assertEqual(set(row), FIELDS)
                self.assertEqual(row["type"], kind)
                # eval adds its losses in f32: eps 6e-8 over some hundred of them.
                for model, field in ((MODEL, "perplexity_before"), (out, "perplexity")):
                    value, tokens = self.perplexity(model)
                    self.assertAlmostEqual(row[field] / value, 1, delta=1e-5)
                    self.assertEqual(row["tokens"], tokens)
                before, after, kl, same, count = self.by_hand(out)
                self.assertAlmostEqual(row["perplexity_before"] / before, 1, delta=1e-5)
                self.assertAlmostEqual(row["perplexity"] / after, 1, delta=1e-5)
                self.assertAlmostEqual(row["kl"], kl, delta=1e-5 * kl + 1e-6)
                self.assertEqual((round(row["same_best"] * count), row["tokens"]), (round(same * count), count))
                path = self.folder / out
                size = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.glob("*.safetensors"))
                self.assertEqual(row["bytes"], size)

    def test_what_loses_nothing_shows_nothing(self):
        exact, half, eight = (self.report(kind, f"{kind}.gguf") for kind in ("f32", "f16", "q8_0"))
        self.assertEqual((exact["perplexity"], exact["kl"], exact["same_best"]), (exact["perplexity_before"], 0, 1))
        # f16 rounds by 4.9e-4 at most: its divergence is of that squared.
        self.assertLess(half["kl"], 2e-5)
        self.assertAlmostEqual(half["perplexity"] / half["perplexity_before"], 1, delta=1e-3)
        self.assertGreater(eight["kl"], 20 * half["kl"])
        self.assertGreater(exact["bits_per_weight"], 32)
        self.assertTrue(16 < half["bits_per_weight"] < 19 and 8.5 < eight["bits_per_weight"] < 12, (half, eight))

    def test_table_has_the_figures_of_json(self):
        row = self.report("q8_0", "a.gguf")
        said = self.sedum("quantize", "--model", MODEL, "--type", "q8_0", "--out", "b.gguf", "--report", "--text", self.text, "--windows", 2).stdout
        head, rule, line = [[cell.strip() for cell in r.strip("|").split("|")] for r in said.strip().splitlines()]
        self.assertEqual(head, ["type", "size", "bits a weight", "perplexity before", "after", "KL, nats", "same best token", "time"])
        self.assertEqual(rule, ["---"] * 8)
        figures = [f"{row['bits_per_weight']:.2f}", f"{row['perplexity_before']:.3f}", f"{row['perplexity']:.3f}", f"{row['kl']:.4f}"]
        self.assertEqual((line[0], line[2:6], line[6]), ("q8_0", figures, f"{100 * row['same_best']:.1f} %"))


if __name__ == "__main__":
    main()
