"""Training a tokenizer on a file twice as large as what the program may take: the file is mapped, and what is made of it stays small,
with line breaks and without one."""

import json
import random
import resource
import subprocess

from sedum_testing import PATIENCE, SEDUM, SedumTest, environment, main

FILE, LIMIT = 48 << 20, 24 << 20  # bytes; two threads train in 17 to 20 MiB, a copy of the line alone takes 48


class TokenizerTraining(SedumTest):
    def text(self, name, end):
        draw = random.Random(3)
        words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(4000)]
        parts = [" ".join(draw.choices(words, k=2000)) + end for _ in range(50)]
        path = self.folder / name
        with open(path, "w") as out:
            while out.tell() < FILE:
                out.write("".join(draw.sample(parts, 50)))
        return path

    def train(self, kind, path):
        # Of the data segment: private memory that can be written, so not the mapped file.
        done = subprocess.run(
            [SEDUM, "tokenizer", "train", "--type", kind, "--vocab-size", "1000", "--input", path, "--out", self.folder / "out", "--threads", "2", "--json"],
            capture_output=True, text=True, timeout=PATIENCE, env=environment(),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_files_larger_than_memory(self):
        lines, one_line = self.text("lines.txt", " end.\n"), self.text("one_line.txt", " end. ")
        for kind in ("bpe", "unigram", "wordpiece"):
            with self.subTest(kind=kind):
                a, b = self.train(kind, lines), self.train(kind, one_line)
                self.assertEqual(a["vocab_size"], 1000)
                if kind != "bpe":  # nothing but line breaks is different, and no word has one; unigram's last ▁ is a word
                    self.assertEqual(a["words"], b["words"] - (kind == "unigram"))
                    self.assertEqual(a["distinct_words"], b["distinct_words"] - (kind == "unigram"))


if __name__ == "__main__":
    main()
