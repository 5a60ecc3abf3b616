"""Chromium driven through its debugging port, with the standard library alone.

    with Browser(folder) as browser:
        page = browser.page
        page.open("http://127.0.0.1:8080/")
        page.until("document.title == 'Sedum'")
        page.click("#send")
"""

import base64
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time
import urllib.parse

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class WebSocket:
    """A client's half of RFC 6455, as far as one end on this machine needs it: text, in one piece or several."""

    def __init__(self, url, timeout):
        where = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((where.hostname, where.port), timeout)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())  # fmt: skip
        self.file = self.socket.makefile("rb")
        status = self.file.readline()
        if b" 101 " not in status:
            raise ConnectionError(status)
        while self.file.readline().strip():
            pass

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack(">BH", 0xFE, len(data)) if len(data) < 1 << 16 else struct.pack(">BQ", 0xFF, len(data))
        key = (mask * (len(data) // 4 + 1))[: len(data)]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
        self.socket.sendall(b"\x81" + size + mask + masked)

    def read(self, size):
        data = self.file.read(size)
        if len(data) < size:
            raise ConnectionError("the browser hung up")
        return data

    def receive(self):
        text = b""
        while True:
            head, size = self.read(2)
            if size == 126:
                (size,) = struct.unpack(">H", self.read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self.read(8))
            piece = self.read(size)
            if head & 0x0F in (0, 1):
                text += piece
                if head & 0x80:
                    return text.decode()

    def close(self):
        self.file.close()
        self.socket.close()


class Page:
    def __init__(self, socket, patience):
        self.socket, self.patience, self.count = socket, patience, 0
        self.session, self.events = None, []

    def call(self, method, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}))
        while True:
            message = json.loads(self.socket.receive())
            if message.get("id") == self.count:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def attach(self):
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(domain + ".enable")

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState == 'complete'")

    def reload(self):
        self.run("window.isOld = true")
        self.call("Page.reload")
        self.until("!window.isOld && document.readyState == 'complete'")

    def run(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def until(self, condition):
        end = time.monotonic() + self.patience
        while True:
            try:
                value = self.run(condition)
            except AssertionError as failure:  # the page is being replaced
                value = None
                last = failure
            else:
                last = None
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"never: {condition} {last or ''}")
            time.sleep(0.03)

    def place(self, selector):
        """The middle of an element, scrolled into view; nothing else may lie over it."""
        found = self.until(f"""(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null; e.scrollIntoView({{block: 'nearest', behavior: 'instant'}});
            const r = e.getClientRects()[0]; if (!r || !r.width) return null; const x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);
            return top && (e.contains(top) || top.contains(e)) ? [x, y] : null; }})()""")
        return {"x": found[0], "y": found[1]}

    def click(self, selector):
        at = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def hover(self, selector):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **self.place(selector))

    def type(self, selector, text):
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def set(self, selector, value):
        """A slider or a choice, as if it had been moved."""
        self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(value)}; for (const k of ['input', 'change']) e.dispatchEvent(new Event(k, {{bubbles: true}})); }})()")

    def size(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if mobile else 1, mobile=mobile)

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def sent(self, path):
        """Bodies of the requests to a path so far."""
        self.run("1")  # what has happened has been told by then
        requests = [e["params"]["request"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [json.loads(r["postData"]) for r in requests if r["url"].endswith(path) and "postData" in r]

    def complaints(self):
        return [e["params"]["exceptionDetails"] for e in self.events if e["method"] == "Runtime.exceptionThrown"]


class Browser:
    def __init__(self, folder, patience=60):
        self.process = subprocess.Popen([CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--no-first-run", f"--user-data-dir={folder}", "--lang=en",
                                         "--remote-debugging-port=0", "about:blank"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        try:
            port = pathlib.Path(folder) / "DevToolsActivePort"  # its port and its path, a line each
            end = time.monotonic() + patience
            while not (port.exists() and len(lines := port.read_text().split()) == 2):
                if time.monotonic() > end or self.process.poll() is not None:
                    raise AssertionError("Chromium does not come up")
                time.sleep(0.05)
            self.socket = WebSocket(f"ws://127.0.0.1:{lines[0]}{lines[1]}", patience)
            self.page = Page(self.socket, patience)
            self.page.attach()
        except BaseException:
            self.end()
            raise

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # with its helpers: it led a session of its own
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.end()
