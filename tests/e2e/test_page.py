"""The page in a browser: it starts, finds its model, and what a model wrote stays text. Skipped where there is no Chromium."""

import html
import json
import re
import shutil
import subprocess
import unittest

from sedum_testing import GOLDEN, PATIENCE, TINY, SedumTest, Server, main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
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


if __name__ == "__main__":
    main()
