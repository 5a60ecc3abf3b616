"""`sedum chat` at a terminal: a pseudo-terminal types and reads."""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import time

from sedum_testing import ANSWER, OTHER_ANSWER, OTHER_QUESTION, PATIENCE, QUESTION, SEDUM, TINY, SedumTest, environment, main, teach


class Terminal:
    """A program with a terminal of its own; Ctrl-C and Ctrl-D go through it as they do under a user's hands."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True,
                                        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # makes it the controlling terminal
                                        env=environment(NO_COLOR="1", TERM="dumb"))
        os.close(slave)
        self.seen = b""

    def read_until(self, text, patience=PATIENCE):
        """All output up to and with `text`."""
        wanted, end = text.encode(), time.monotonic() + patience
        while wanted not in self.seen:
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{text!r} did not come; this did: {self.seen.decode(errors='replace')!r}")
        at = self.seen.index(wanted) + len(wanted)
        found, self.seen = self.seen[:at], self.seen[at:]
        return found.decode().replace("\r\n", "\n")

    def _read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], max(seconds, 0))
        if not ready:
            return False
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += piece
        return bool(piece)

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        """The exit code, and what was still said."""
        while self._read(PATIENCE):
            pass
        return self.process.wait(PATIENCE), self.seen.decode(errors="replace")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


class Chat(SedumTest):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sedum-e2e-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.taught = teach(folder)

    def chat(self, *arguments, model=None):
        terminal = Terminal(SEDUM, "chat", "--model", str(model or self.taught), "--threads", "1", *arguments)
        self.addCleanup(terminal.close)
        terminal.read_until("> ")
        return terminal

    def ask(self, terminal, question):
        terminal.type(question + "\n")
        terminal.read_until(question + "\r\n")
        answer = terminal.read_until("tokens/s]")
        terminal.read_until("> ")
        return answer.rsplit("\n[", 1)[0]

    def test_answers_and_reset(self):
        terminal = self.chat("--temperature", "0")
        self.assertEqual(self.ask(terminal, QUESTION), ANSWER)
        terminal.type("/reset\n")
        terminal.read_until("A new conversation.")
        terminal.read_until("> ")
        self.assertEqual(self.ask(terminal, OTHER_QUESTION), OTHER_ANSWER)  # as if nothing had been said before
        terminal.type("\x04")
        self.assertEqual(terminal.end()[0], 0)

    def test_help_and_quit(self):
        terminal = self.chat()
        terminal.type("/help\n")
        terminal.read_until("/reset")
        terminal.read_until("> ")
        terminal.type("/quit\n")
        self.assertEqual(terminal.end()[0], 0)

    def test_save(self):
        path = self.folder / "talk.json"
        terminal = self.chat("--temperature", "0", "--system", "Be short.")
        self.ask(terminal, "Hi")
        terminal.type(f"/save {path}\n")
        terminal.read_until("Saved to")
        self.assertEqual([m["role"] for m in json.loads(path.read_text())], ["system", "user", "assistant"])

    def endless(self):
        """The tiny model untaught repeats itself for as long as its context lasts: here for 32,768 tokens."""
        model = self.folder / "endless"
        shutil.copytree(TINY, model)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 32768}))
        return self.chat("--temperature", "0", "--max-tokens", "-1", model=model)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        terminal = self.endless()
        terminal.type("Tell me everything\n")
        terminal.read_until("everything\r\n")
        terminal.read_until("s")  # it has begun to stream
        terminal.type("\x03")
        said = terminal.read_until("tokens/s]")
        self.assertRegex(said, r"\[stopped; \d+ tokens")
        self.assertIsNone(terminal.process.poll())
        terminal.read_until("> ")
        terminal.type("/reset\n")
        terminal.read_until("A new conversation.")
        terminal.read_until("> ")
        terminal.type("\x04")
        self.assertEqual(terminal.end()[0], 0)

    def test_ctrl_c_at_the_prompt_ends(self):
        terminal = self.chat()
        terminal.type("\x03")
        self.assertEqual(terminal.end()[0], 130)

    def test_ctrl_d_ends(self):
        terminal = self.chat()
        terminal.type("\x04")
        self.assertEqual(terminal.end()[0], 0)

    def test_a_full_context_is_said_and_handled(self):
        terminal = self.chat("--temperature", "0", "--max-tokens", "40")
        said = ""
        for i in range(6):
            terminal.type(f"{i} " + "word " * 12 + "\n")
            said += terminal.read_until("tokens/s]")
            terminal.read_until("> ")
        self.assertIn("[the context is full: the oldest", said)
        terminal.type("x" * 1200 + "\n")  # more than the context by itself
        self.assertIn("context", terminal.read_until("> ").split("x" * 20)[-1])
        terminal.type("/reset\n")
        terminal.read_until("A new conversation.")
        terminal.read_until("> ")
        self.assertEqual(self.ask(terminal, OTHER_QUESTION), OTHER_ANSWER)

    def test_piped_input(self):
        """Without a terminal: one answer for each line, and an end at the end of the file."""
        done = self.sedum("chat", "--model", self.taught, "--temperature", "0", "--threads", "1", stdin=QUESTION + "\n")
        self.assertIn(ANSWER, done.stdout)
        self.assertNotIn("\033", done.stdout)


if __name__ == "__main__":
    main()
