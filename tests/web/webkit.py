"""A real WebKit, the engine of Safari: the one of GTK on a display in memory, driven over WebDriver (https://www.w3.org/TR/webdriver2/)."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.service_process import free_port
from tests.web.driver import SECONDS, Driver

PROGRAMS = {Path("/usr/bin/WebKitWebDriver"): "webkit2gtk-driver", Path("/usr/bin/Xvfb"): "xvfb"}
"""What it takes, and the Debian packages with that."""
_LISTEN = """
window.complaints = [];
for (const name of ["error", "unhandledrejection"]) {
  window.addEventListener(name, (event) => complaints.push(`${name}: ${event.message ?? event.reason}`));
}
window.addEventListener("securitypolicyviolation", (event) => complaints.push(`policy: ${event.blockedURI}`));
console.error = (...words) => complaints.push(words.join(" "));
"""
_EVALUATE = """
const done = arguments[0];
(async () => %s)().then(value => done([JSON.stringify(value) ?? "null", null]), error => done([null, String(error)]));
"""


class Tab(Driver):
    """One window."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=address, timeout=SECONDS)
        session = self._send("POST", "/session", capabilities={"alwaysMatch": {}})["sessionId"]
        self._client.base_url = f"{address}/session/{session}"

    @property
    def complaints(self) -> list[str]:
        """What the page has complained about since it was opened."""
        return list(self.evaluate("complaints"))

    def resize(self, width: int, height: int, density: float = 1) -> None:
        """The size of the view, in CSS pixels. WebKit of GTK has no other density, and no view below 447 CSS pixels."""
        assert density == 1
        for _ in range(100):
            now = self.evaluate("[innerWidth, innerHeight]")
            if now == [width, height]:
                return
            frame = self._send("GET", "/window/rect")
            wider, higher = width - now[0], height - now[1]
            self._send("POST", "/window/rect", width=frame["width"] + wider, height=frame["height"] + higher)
            time.sleep(0.05)
        raise AssertionError(f"the view is {now}, not {[width, height]}")

    def go(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._send("POST", "/url", url=url)
        self._send("POST", "/execute/sync", script=_LISTEN, args=[])

    def go_back(self) -> None:
        """To the page before."""
        self._send("POST", "/back")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression: anything that JSON can hold."""
        value, error = self._send("POST", "/execute/async", script=_EVALUATE % expression, args=[])
        assert error is None, error
        return json.loads(value)

    def choose_files(self, selector: str, files: Sequence[Path]) -> None:
        """As the file dialog would."""
        self._send("POST", f"/element/{self._element(selector)}/value", text="\n".join(map(str, files)))

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the element."""
        self._send("POST", f"/element/{self._element(selector)}/click")

    def press(self, key: str) -> None:
        """One key, by its WebDriver code."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._send("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": keys}])

    def close_browser(self) -> None:
        """End the whole browser."""
        self._send("DELETE", "")
        self._client.close()

    def _element(self, selector: str) -> str:
        found = self._send("POST", "/element", using="css selector", value=selector)
        return str(next(iter(found.values())))

    def _send(self, method: str, path: str, **parameters: Any) -> Any:
        answer = self._client.request(method, path, json=parameters if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, f"{path}: {value}"
        return value


@contextmanager
def webkit(folder: Path) -> Iterator[Tab]:
    """A WebKit whose home is `folder`, which saves downloads in `folder`/downloads."""
    downloads = folder / "downloads"
    downloads.mkdir()
    (folder / ".config").mkdir()
    (folder / ".config" / "user-dirs.dirs").write_text(f'XDG_DOWNLOAD_DIR="{downloads}"\n', encoding="utf-8")
    with _display() as display, (folder / "webkit.log").open("w") as log:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "WAYLAND_"))}
        environment |= {"HOME": str(folder), "DISPLAY": display, "GDK_BACKEND": "x11", "LANG": "C.UTF-8"}
        port = free_port()
        command = ["WebKitWebDriver", f"--port={port}"]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
            try:
                address = f"http://127.0.0.1:{port}"
                _wait_ready(process, address)
                tab = Tab(address)
                yield tab
                tab.close_browser()
            finally:
                process.kill()


@contextmanager
def _display() -> Iterator[str]:
    """The name of a display that exists in memory only."""
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1600x1200x24", "-nolisten", "tcp"]
    with (
        os.fdopen(reader, encoding="ascii") as numbers,
        subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL) as process,
    ):
        os.close(writer)
        try:
            number = numbers.readline().strip()
            assert number, "Xvfb did not start"
            yield f":{number}"
        finally:
            process.kill()


def _wait_ready(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "WebKitWebDriver ended"
        try:
            if httpx.get(f"{address}/status").json()["value"]["ready"]:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("WebKitWebDriver does not listen")
