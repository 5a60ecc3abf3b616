"""The page in a browser: it starts, what a model wrote stays text, and every control does what it says. Skipped where there is no Chromium."""

import html
import json
import re
import os
import pathlib
import subprocess
import time
import unittest

from chromium import CHROMIUM, Browser
from sedum_testing import ANSWER, GOLDEN, PATIENCE, QUESTION, TINY, SedumTest, Server, main, real_model, recipe, teach

SHOTS = os.environ.get("SEDUM_TEST_SHOTS")  # a folder for pictures of the page, to be looked at
EVIL = '**bold** <img src=x onerror="document.title=1"> <script>document.title=2</script> [a](javascript:alert(1)) [b](https://e.example/?"onclick=x) [1] `<i>`'


class Page(SedumTest):
    def dom(self, server, fragment=""):
        # Virtual time runs until scripts and answers have come to rest, so nothing here waits for a clock.
        done = subprocess.run([CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server", f"--user-data-dir={self.folder}/profile", "--lang=en",
                               "--virtual-time-budget=8000", "--dump-dom", f"{server.address}/{fragment}"], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stdout

    @unittest.skipUnless(CHROMIUM, "needs Chromium")
    def test_it_starts_and_what_a_model_wrote_stays_text(self):
        with Server(TINY, "--name", "page-model") as server:
            turns = [{"role": "user", "content": "<b>me</b>"}, {"role": "assistant", "content": EVIL, "sources": [{"index": 1, "path": "<u>p</u>", "heading": "", "text": EVIL}]}]
            body = json.dumps({"title": "<i>title</i>", "turns": turns}).encode()
            self.assertEqual(server.request("/sedum/conversations/linked", body, method="PUT")[0], 200)
            dom = self.dom(server, "#c=linked")
        self.assertRegex(dom, r'<option[^>]*>page-model</option>')
        self.assertIn("&lt;i&gt;title&lt;/i&gt;", dom)
        log = dom[dom.index('id="log"'):dom.index('class="compare"')]
        self.assertIn("&lt;b&gt;me&lt;/b&gt;", log)
        self.assertIn("<strong>bold</strong>", log)
        self.assertIn('data-cite="1"', log)
        for tag in ("<img", "<script", "<i>", "<u>"):
            self.assertNotIn(tag, log)
        for link in re.findall(r'href="([^"]*)"', log):
            self.assertTrue(html.unescape(link).startswith(("https://", "#")), link)
        self.assertNotRegex(log, r'<[^>]* on\w+=')
        self.assertIn("<title>Sedum</title>", dom)

    @unittest.skipUnless(CHROMIUM, "needs Chromium")
    def test_an_encoder_is_not_offered_for_chat(self):
        with Server(TINY, "--name", "page-model", "--embedding-model", GOLDEN / "models" / "bert_plain") as server:
            dom = self.dom(server)
        self.assertEqual(len(re.findall(r"<option[^>]*>page-model</option>", dom)), 3)  # for chat, and both of the comparison
        self.assertNotRegex(dom, r"<option[^>]*>bert_plain</option>")

    def shot(self, page, name):
        if SHOTS:
            page.screenshot(pathlib.Path(SHOTS) / f"{name}.png")

    def ask(self, page, text):
        page.type("#input", text)
        page.click("#send")

    DONE = "!document.querySelector('#composer.busy') && document.querySelectorAll('#log .assistant .foot [data-do=copy]').length"

    @unittest.skipUnless(CHROMIUM, "needs Chromium")
    def test_a_visit(self):
        """One browser and one server for all of it: starting them takes longer than the visit."""
        model = teach(self.folder)
        adapter = self.adapter(model)
        with Server(model, "--name", "base", "--lora", f"other={adapter}", "--also", f"plain={TINY}") as server, Browser(self.folder / "profile") as browser:
            page = browser.page
            page.size(1280, 800)
            page.open(server.address)
            page.until("document.querySelector('#model').options.length == 3")
            self.shot(page, "empty")
            for step in (self.an_answer, self.ratings, self.certainty, self.controls, self.languages, self.side_by_side, self.a_telephone):
                with self.subTest(step.__name__):
                    step(page, server)
            self.assertEqual(page.complaints(), [])

    def adapter(self, model):
        """Something to compare with: an adapter of one step."""
        rows = self.write_rows("more.jsonl", [{"instruction": "Why?", "output": "Because."}])
        config = self.write("adapter.yaml", recipe(model_name_or_path=str(model), output_dir=str(self.folder / "lora"), finetuning_type="lora", data={"train": [str(rows)]},
                                                   cutoff_len=64, max_steps=1, threads=1))  # fmt: skip
        self.sedum("train", config)
        return next(path.parent for path in (self.folder / "lora").rglob("adapter_config.json") if "checkpoint" not in str(path))

    def an_answer(self, page, server):
        page.run("document.querySelector('#probabilities').checked && document.querySelector('#probabilities').click()")
        page.set("#temperature", "0")
        page.set("#maxTokens", "100")
        self.ask(page, QUESTION)
        page.until(self.DONE)
        self.assertEqual(page.run("document.querySelector('#log .assistant .text').textContent.trim()"), ANSWER)
        self.assertRegex(page.run("document.querySelector('#log .assistant .foot').textContent"), r"\d+ tokens")
        page.until("document.querySelectorAll('#conversations li').length == 1")
        page.reload()
        page.until("document.querySelectorAll('#log .turn').length == 2")
        self.assertEqual(page.run("document.querySelector('#log .assistant .text').textContent.trim()"), ANSWER)
        for _ in range(2):  # the second press comes while the button still says so
            page.click("#log .assistant [data-do=copy]")
            page.until("document.querySelector('#log .assistant [data-do=copy]').textContent == 'Copied'")
        page.until("!!document.querySelector('#log .assistant [data-do=copy] svg')")
        page.click("#log .assistant [data-do=again]")
        page.until(f"{self.DONE} == 1")
        self.assertEqual(len(page.sent("/v1/chat/completions")), 2)
        self.assertEqual(page.run("document.querySelectorAll('#log .turn').length"), 2)

    def ratings(self, page, server):
        first = "#log .turn:nth-child(2) "
        page.click(first + "[data-do=up]")
        page.until(f"document.querySelector('{first}[data-do=up]').getAttribute('aria-pressed') == 'true'")
        page.click(first + "[data-do=down]")
        page.until(f"document.querySelector('{first}[data-do=down]').getAttribute('aria-pressed') == 'true'")
        page.click(first + "[data-do=correct]")
        page.type(first + ".correction textarea", "Never.")
        page.click(first + ".correction .solid")
        page.until(f"document.querySelector('{first}[data-do=correct]').getAttribute('aria-pressed') == 'true'")
        browser = page.run("browser.id")
        rows = server.request("/sedum/feedback?kind=preferences", headers={"X-Sedum-Browser": browser})[1].decode()
        pairs = [json.loads(line) for line in rows.splitlines() if line]
        self.assertTrue(any(QUESTION in json.dumps(pair, ensure_ascii=False) and "Never." in json.dumps(pair) for pair in pairs), rows)

    def certainty(self, page, server):
        page.click("#new")
        page.click("#settings")
        page.click("#probabilities")
        page.click("#close")
        self.ask(page, QUESTION)
        page.until(self.DONE)
        page.click("#log .assistant [data-do=tokens]")
        page.hover("#log .tokens span")
        page.until("!document.querySelector('#tip').hidden")
        self.assertRegex(page.run("document.querySelector('#tip').textContent"), r"\d %")
        self.shot(page, "tokens")
        self.assertGreaterEqual(page.run("document.querySelectorAll('#tip div').length"), 5)  # five of each token: a character may be several
        self.assertEqual(page.run("document.querySelectorAll('#tip .said').length"), page.run("document.querySelector('#log .tokens span').tokens.length"))
        self.assertNotIn("\ufffd", page.run("document.querySelector('#tip').textContent"))
        page.click("#log .assistant [data-do=tokens]")

    def controls(self, page, server):
        """What is set reaches the request; the model that is chosen answers."""
        wanted = {"#system": ("Be brief.", None), "#temperature": ("0.5", "temperature"), "#topP": ("0.9", "top_p"), "#topK": ("7", "top_k"), "#seed": ("42", "seed"),
                  "#minP": ("0.05", "min_p"), "#repetition": ("1.2", "repetition_penalty"), "#maxTokens": ("5", "max_tokens")}  # fmt: skip
        before = {selector: page.run(f"document.querySelector('{selector}').value") for selector in wanted}
        for selector, (value, _) in wanted.items():
            page.set(selector, value)
        page.set("#model", "plain")
        page.click("#new")
        self.ask(page, QUESTION)
        page.until(self.DONE)
        body = page.sent("/v1/chat/completions")[-1]
        self.assertEqual({field: body[field] for _, field in wanted.values() if field}, {field: float(value) for value, field in wanted.values() if field})
        self.assertEqual((body["model"], body["messages"][0]), ("plain", {"role": "system", "content": "Be brief."}))
        self.assertRegex(page.run("document.querySelector('#log .assistant .foot').textContent"), r"\b5 tokens")
        for selector, value in before.items():
            page.set(selector, value)
        page.set("#model", "base")

    @unittest.skipUnless(CHROMIUM and real_model("smollm2.gguf"), "needs Chromium, and smollm2.gguf in $SEDUM_TEST_MODELS")
    def test_stop(self):
        with Server(real_model("smollm2.gguf"), "--name", "real") as server, Browser(self.folder / "profile") as browser:
            page = browser.page
            page.size(1280, 800)
            page.open(server.address)
            page.until("document.querySelector('#model').options.length == 1")
            page.set("#maxTokens", "4000")
            idle = {'sedum_requests_running{model="real"} 0', 'sedum_kv_pages_used{model="real"} 0'}
            for _ in range(10):  # a short answer may be over before the button is pressed
                page.click("#new")
                self.ask(page, "Count from one to ten thousand, every number.")
                page.until("(document.querySelector('#log .assistant .text') || {}).textContent")
                page.click("#send")
                page.until(self.DONE)
                said = page.run("document.querySelector('#log .assistant .text').textContent")
                end = time.monotonic() + PATIENCE
                while not idle <= (figures := set(server.request("/metrics")[1].decode().splitlines())) and time.monotonic() < end:
                    time.sleep(0.1)  # the engine hears of it when its step is done
                self.assertLessEqual(idle, figures)
                self.assertEqual(page.run("document.querySelector('#log .assistant .text').textContent"), said)
                if 'sedum_requests_cancelled_total{model="real"} 1' in figures:
                    break
            self.assertIn('sedum_requests_cancelled_total{model="real"} 1', figures)
            self.assertEqual(page.complaints(), [])

    def languages(self, page, server):
        page.click("#language")
        page.until("document.documentElement.lang == 'zh-CN'")
        self.assertEqual(page.run("[document.querySelector('#send').title, document.querySelector('#log .assistant [data-do=copy]').title, document.querySelector('#input').placeholder]"), ["发送", "复制", "写点什么……"])
        self.shot(page, "chinese")
        page.click("#language")
        page.until("document.documentElement.lang == 'en'")

    def side_by_side(self, page, server):
        page.click("#compare")
        self.ask(page, QUESTION)
        page.until("!document.querySelector('#vote').hidden")
        titles = "[...document.querySelectorAll('#sides h2')].map((e) => e.textContent)"
        self.assertEqual(page.run(titles), ["Answer 1", "Answer 2"])
        page.click("#vote [data-vote=a]")
        page.until("!document.querySelector('#standings').hidden")
        self.assertEqual(sorted(page.run(titles)), ["base", "other"])
        self.shot(page, "compare")
        standings = server.get("/sedum/votes", headers={"X-Sedum-Browser": page.run("browser.id")})[1]["data"]
        winner = page.run(titles)[0]
        self.assertEqual({row["model"]: (row["wins"], row["losses"]) for row in standings}, {winner: (1, 0), ({"base", "other"} - {winner}).pop(): (0, 1)})
        page.set("#modelB", "plain")
        self.ask(page, "Soil?")
        page.until("!document.querySelector('#vote').hidden")
        page.click("#vote [data-vote=tie]")
        page.until("document.querySelectorAll('#standings tr').length == 3")
        self.assertEqual(sorted(page.run(titles)), ["base", "plain"])
        page.click("#compare")

    def a_telephone(self, page, server):
        page.size(360, 640, mobile=True)
        page.reload()
        page.until("document.querySelectorAll('#log .turn').length > 1")
        self.shot(page, "telephone")
        wide = "document.documentElement.scrollWidth"
        self.assertLessEqual(page.run(wide), 360)
        for button in ("#menu", "#language", "#compare", "#settings", "#input", "#send"):
            left, right, top, bottom = page.run(f"(() => {{ const r = document.querySelector('{button}').getBoundingClientRect(); return [r.left, r.right, r.top, r.bottom]; }})()")
            self.assertTrue(0 <= left < right <= 360 and 0 <= top < bottom <= 640, (button, left, right, top, bottom))
            self.assertGreaterEqual(min(right - left, bottom - top), 32, button)  # a finger finds it
        page.click("#menu")
        page.until("document.body.classList.contains('side-open')")
        page.click("#conversations button[data-open]")
        page.until("!document.body.classList.contains('side-open')")
        page.click("#settings")
        page.until("document.querySelector('#panel').getBoundingClientRect().right <= 361")
        self.shot(page, "telephone-settings")
        self.assertLessEqual(page.run(wide), 360)
        page.click("#close")
        page.until("document.querySelector('#panel').getBoundingClientRect().left >= 359 || getComputedStyle(document.querySelector('#panel')).visibility == 'hidden'")
        page.click("#compare")
        self.shot(page, "telephone-compare")
        self.assertLessEqual(page.run(wide), 360)


if __name__ == "__main__":
    main()
