"""Every `sedum` command that the documents show is run as it stands there, in order, one scratch folder for each document.

The folder looks like the repository's root (recipes, assistants) with some files of the reader's own beside it. Four things are put in the
place of what a test cannot have: a tiny model for the catalogued ones, short rows for the assistant's, two steps for whole runs, and a signal that ends a
server or a conversation once it is up. A block after `<!-- not run: reason -->` is left out, and counted.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import unittest

from sedum_testing import GOLDEN, PATIENCE, SEDUM, TINY, SedumTest, environment, main

ROOT = pathlib.Path(__file__).resolve().parents[2]
# docs/course.md writes a learner's log and commits it: test_course.py does that in a repository of its own.
DOCUMENTS = [d for d in sorted((ROOT / "docs").glob("*.md")) if not d.name.startswith("course.")] + [ROOT / "README.md", ROOT / "README.zh-CN.md"]
CATALOGUED = ("qwen2.5-coder-0.5b", "smollm2-135m")
ENCODER = "all-MiniLM-L6-v2"
SERVERS = ("serve", "chat", "course serve")
NOT_RUN = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->")
SHORT_RUN = ["max_steps=2", "cutoff_len=128", "per_device_train_batch_size=2", "gradient_accumulation_steps=1", "threads=1", "compute=f32",
             "max_samples=8", "save_steps=0", "success_gate=false", "overwrite_output_dir=true"]

# Stands in for `sedum` on PATH: the real one with the arguments changed as the header says.
SHIM = """#!{python}
import os, sys
sys.path.insert(0, {here!r})
import test_docs
test_docs.run_shim(sys.argv[1:])
"""


def run_shim(arguments):
    def stand_in(text):
        for name in CATALOGUED:
            if text.endswith("=" + name):  # --also NAME=MODEL
                return text.removesuffix(name) + str(TINY)
            if text == name or text.startswith(name + "+"):
                return str(TINY) + text[len(name):]
        return str(GOLDEN / "models" / "bert_plain") if text == ENCODER else text

    arguments = [stand_in(a) for a in arguments]
    if arguments[:1] == ["pull"] and len(arguments) > 1 and not arguments[1].startswith("-"):
        sys.exit(0)  # what it fetches is stood in for
    if arguments[:1] in (["train"], ["plan"]) and len(arguments) > 1 and not {"--help", "--serve"} & set(arguments):
        arguments[2:2] = SHORT_RUN
    os.execv(SEDUM, [SEDUM, *arguments])


def commands_of(text):
    """(line, command) of each line in a code block that begins with `sedum` or `$ sedum`, with what a backslash continues."""
    fenced, skip, block_before, pending = False, False, False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if NOT_RUN.search(line):
            skip, block_before = True, False
            continue
        if line.startswith("```"):
            fenced = not fenced
            if fenced:
                block_before = True
            elif skip and block_before:
                skip = False
            continue
        indented = line.startswith("    ")
        if not (fenced or indented):
            if skip and block_before and line.strip():
                skip = False
            continue
        block_before = True
        code = line.strip()
        if pending or re.match(r"(\$ )?sedum( |$)", code):
            pending += (" " if pending else "") + code.removeprefix("$ ")
            if pending.endswith("\\"):
                pending = pending[:-1]
                continue
            yield number, pending, skip
            pending = ""


class Documents(SedumTest):
    def prepare(self):
        rows = [{"instruction": f"How deep is pond {i}?", "output": f"{i} metres."} for i in range(12)]
        for name in ("train", "eval"):  # the assistant's own rows are too long for the tiny model
            self.write_rows(f"assistants/succulent/{name}.jsonl", rows)
        self.write_rows("assistants/succulent/questions.jsonl", [{"messages": [{"role": "user", "content": "How deep?"}]}])
        (self.folder / "recipes").mkdir()
        for recipe in (ROOT / "recipes").glob("*.yaml"):
            text = recipe.read_text()
            for name in CATALOGUED:
                text = text.replace(name, str(TINY))
            text = text.replace("bert-base-uncased", str(GOLDEN / "models" / "bert_plain"))
            (self.folder / "recipes" / recipe.name).write_text(text)
        self.write_rows("mine.jsonl", rows)
        self.write_rows("pairs.jsonl", [{"prompt": r["instruction"], "chosen": r["output"], "rejected": "No idea."} for r in rows])
        for name in ("reviews", "unseen"):
            self.write_rows(f"{name}.jsonl", [{"text": f"the {'soil' if i % 2 else 'light'} is dry", "label": i % 2} for i in range(12)])
        self.write("mine.txt", "\n".join(f"The pond is {i} metres deep. 池塘深{i}米。" for i in range(200)) + "\n")
        shutil.copy(self.folder / "mine.txt", self.folder / "stories.txt")
        self.write("heldout.txt", "\n".join(f"The lake is {i} metres wide." for i in range(100)) + "\n")
        for name in ("book.txt", "notes/pond.md"):
            self.write(name, "The pond is two metres deep.\n\nPerch live in it. 池塘深两米。\n")
        for name in ("messages.json", "chat.json"):
            self.write(name, [{"role": "user", "content": "Hi"}])
        tool = {"name": "depth", "description": "of a pond", "parameters": {"type": "object", "properties": {"pond": {"type": "string"}}}}
        self.write("tools.json", [{"type": "function", "function": tool}])
        shutil.copy(TINY / "tokenizer.json", self.folder / "tokenizer.json")
        shutil.copy(GOLDEN / "models" / "llama.f32.gguf", self.folder / "model.gguf")
        bin_folder = self.folder / "bin"
        bin_folder.mkdir()
        shim = bin_folder / "sedum"
        shim.write_text(SHIM.format(python=sys.executable, here=str(pathlib.Path(__file__).resolve().parent)))
        shim.chmod(0o755)
        return environment(PATH=f"{bin_folder}:{os.environ['PATH']}", SEDUM=SEDUM, SEDUM_PACK_CACHE="", SEDUM_HOME=str(self.folder / "home"))

    def run_server(self, command, env):
        """Until it says that it is there; then it must end cleanly on SIGINT or at the end of its input."""
        process = subprocess.Popen(["bash", "-c", "exec " + command], cwd=self.folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        if " chat " in f" {command} ":
            out, _ = process.communicate("/exit\n", timeout=PATIENCE)
            return process.returncode, out
        out = ""
        for line in process.stdout:
            out += line
            if "Ctrl-C" in line:  # its last line: signals are taken from now on
                process.send_signal(signal.SIGINT)
        return process.wait(timeout=PATIENCE), out

    def check_document(self, document):
        env = self.prepare()
        ran = 0
        for number, command, skip in commands_of(document.read_text()):
            if skip:
                continue
            with self.subTest(f"{document.name}:{number}: {command}"):
                if any(command.startswith("sedum " + s) for s in SERVERS) and "--help" not in command:
                    code, out = self.run_server(command, env)
                else:
                    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                                          capture_output=True, text=True, timeout=PATIENCE)
                    code, out = done.returncode, done.stdout + done.stderr
                self.assertEqual(code, 0, f"{document.name}:{number}: {command}\n{out[-1500:]}")
                ran += 1
        return ran


def add_tests():
    for document in DOCUMENTS:
        if not any(True for _ in commands_of(document.read_text())):
            continue

        def test(self, document=document):
            self.assertGreater(self.check_document(document), 0, "every block is left out")

        setattr(Documents, "test_" + re.sub(r"\W", "_", document.stem), test)


add_tests()

if __name__ == "__main__":
    main()
