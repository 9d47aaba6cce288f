"""A real browser for tests: headless Chromium, told what to do over a pipe by the DevTools protocol.

chromedevtools.github.io/devtools-protocol. Nothing is installed for it: messages are JSON ended by a zero byte, written
to the browser's file descriptor 3 and read from its 4 (``--remote-debugging-pipe``).
"""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests in containers run as root
    "--remote-debugging-pipe",
    "--use-angle=swiftshader",  # WebGL without a GPU
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def find_browser() -> str | None:
    """Path of a Chromium (``SLIPCAST_CHROMIUM`` names one), or None."""
    named = os.environ.get("SLIPCAST_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a browser process. ``requests`` and ``console`` keep what it asked for and complained about."""

    def __init__(self, program: str, profile: Path, *, width: int = 1280, height: int = 900) -> None:
        self.requests: list[str] = []
        self.console: list[str] = []
        self._next, self._answers, self._rest = 0, dict[int, dict[str, Any]](), b""
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # The pipe's ends become the browser's descriptors 3 and 4, whatever their numbers are here.
        shell = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        command = ["bash", "-c", shell, program, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(to_write)
        self._session: str | None = None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in pages if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def call(self, method: str, *, timeout_s: float = 60.0, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; what the browser reports meanwhile is noted."""
        self._next += 1
        number = self._next
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + timeout_s
        while number not in self._answers:
            if time.monotonic() > until:
                raise TimeoutError(f"{method} had no answer in {timeout_s} s")
            self.listen(0.2)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def listen(self, seconds: float) -> None:
        """Take in what the browser has to say, waiting at most so long for something."""
        if not select.select([self._from], [], [], seconds)[0]:
            return
        data = os.read(self._from, 1 << 20)
        if not data:
            raise RuntimeError("the browser has ended")
        *messages, self._rest = (self._rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message["params"])

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.console.append(f"exception: {json.dumps(told['exceptionDetails'])[:500]}")
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.console.append(f"{told['type']}: {json.dumps(told['args'])[:500]}")
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.console.append(
                f"{told['entry']['level']}: {told['entry']['text']} ({told['entry'].get('url')})"
            )

    def resize(self, width: int, height: int) -> None:
        """Size of the window in CSS pixels, one device pixel each."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name: str) -> None:
        """Prefer ``light`` or ``dark`` colours."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, path: Path, *, fragment: str = "") -> float:
        """Open a file by its file:// address; the seconds until it had loaded."""
        start = time.monotonic()
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        return time.monotonic() - start

    def eval(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise's when it is settled."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, expression: str, *, timeout_s: float = 90.0) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + timeout_s
        while not self.eval(expression):
            if time.monotonic() > until:
                raise TimeoutError(f"{expression} was not true in {timeout_s} s; console: {self.console}")
            time.sleep(0.05)

    def screenshot(self, *, whole: bool = False) -> np.ndarray:
        """What the window shows, or the whole page: uint8 [height, width, 3]."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(told["data"]))).convert("RGB"))

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """Press the mouse at one place and let go at another."""
        mouse = {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **mouse)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **mouse)

    def press(self, key: str, code: int, *, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._to)  # the browser ends when nobody can tell it anything any more
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
