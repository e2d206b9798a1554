"""A real Firefox, driven over WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/), which it speaks by itself.

Playwright drives a Firefox of its own only, and Selenium needs geckodriver; Debian's firefox-esr comes without either.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.web.driver import SECONDS, Driver

PROGRAM = Path("/usr/bin/firefox-esr")
_PREFERENCES = {
    "app.normandy.enabled": False,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.always_ask_before_handling_new_types": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "intl.accept_languages": "en",
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    "ui.prefersReducedMotion": 1,
}


class Tab(Driver):
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._complaints: list[str] = []
        self._send("session.new", capabilities={})
        self._send("session.subscribe", events=["log.entryAdded"])
        self._context = self._send("browsingContext.create", type="tab")["context"]

    @property
    def complaints(self) -> list[str]:
        """As Driver: the errors in the console."""
        return self._complaints

    def resize(self, width: int, height: int, density: float = 1) -> None:
        """The size of the view, in CSS pixels, and how many pixels of the screen one of them has."""
        viewport = {"width": width, "height": height}
        self._send("browsingContext.setViewport", context=self._context, viewport=viewport, devicePixelRatio=density)

    def go(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression: anything that JSON can hold."""
        answer = self._evaluate(f"(async () => JSON.stringify(await ({expression})) ?? 'null')()")
        return json.loads(answer["value"])

    def choose_files(self, selector: str, files: Sequence[Path]) -> None:
        """As the file dialog would."""
        element = {"sharedId": self._element(selector)}
        self._send("input.setFiles", context=self._context, element=element, files=[str(file) for file in files])

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the element."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{ block: 'nearest' }})")
        origin = {"type": "element", "element": {"sharedId": self._element(selector)}}
        moves: list[dict[str, Any]] = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": moves})

    def press(self, key: str) -> None:
        """One key, by its WebDriver code."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def close_browser(self) -> None:
        """End the whole browser."""
        self._send("browser.close")

    def _act(self, source: dict[str, Any]) -> None:
        self._send("input.performActions", context=self._context, actions=[source])

    def _element(self, selector: str) -> str:
        return str(self._evaluate(f"document.querySelector({json.dumps(selector)})")["sharedId"])

    def _evaluate(self, expression: str) -> dict[str, Any]:
        target = {"context": self._context}
        answer = self._send("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return dict(answer["result"])

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(SECONDS))
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self._complaints.append(str(message["params"]["text"]))
            if message.get("id") == number:
                assert message["type"] == "success", message
                return dict(message["result"])


@contextmanager
def firefox(folder: Path) -> Iterator[Tab]:
    """A Firefox with a fresh profile in `folder`, which saves downloads in `folder`/downloads."""
    profile, downloads = folder / "profile", folder / "downloads"
    profile.mkdir()
    downloads.mkdir()
    preferences = _PREFERENCES | {"browser.download.dir": str(downloads)}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
    (profile / "user.js").write_text("".join(lines), encoding="utf-8")
    command: list[str | Path] = [
        PROGRAM,
        "--headless",
        "--no-remote",
        "--remote-debugging-port",
        "0",
        "--profile",
        profile,
    ]
    log = folder / "firefox.log"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            with connect(f"{_address(process, log)}/session", max_size=None) as connection:
                tab = Tab(connection)
                yield tab
                tab.close_browser()
            process.wait(SECONDS)
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r"ws://\S+", log.read_text(encoding="utf-8", errors="replace")):
            return found[0]
        assert process.poll() is None, f"Firefox ended: {log.read_text()}"
        time.sleep(0.05)
    raise AssertionError(f"Firefox does not listen: {log.read_text()}")
