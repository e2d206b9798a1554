"""What the browser tests share: a service whose network can be made to wait, and hands to use the page with."""

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray
from PIL import Image

from app.main import create_app
from app.settings import Settings
from tests.fakes import FakeInfo, results_as_planes_say, worker

PREFIX = "/pictures/enlarge"
KEY = "a-key-for-the-tests"
Planes = NDArray[np.float32]
Visit = Callable[..., Any]


class Pace:
    """How fast the fake network goes: at once, or one batch for each `step`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = False
        self._steps = 0
        self._admits = True
        self._uploads_held = 0

    def hold(self) -> None:
        """From now on every batch waits for a step."""
        with self._changed:
            self._held, self._steps = True, 0

    def step(self) -> None:
        """Let one batch go."""
        with self._changed:
            self._steps += 1
            self._changed.notify()

    def go(self) -> None:
        """Let all that wait go on, and everything after it."""
        with self._changed:
            self._held = False
            self._admits = True
            self._changed.notify_all()

    def hold_uploads(self) -> None:
        """From now on no upload is looked at until `go`."""
        self._admits = False

    def wait_for_upload(self) -> None:
        """Until one is held."""
        deadline = time.monotonic() + 30
        while not self._uploads_held:
            assert time.monotonic() < deadline, "nothing was uploaded"
            time.sleep(0.02)

    async def admit(self) -> None:
        """What the service does before it looks at an upload."""
        self._uploads_held += 1
        await asyncio.to_thread(self._wait_admitted)
        self._uploads_held -= 1

    def _wait_admitted(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._admits, 30), "nobody let the uploads in"

    def wait(self) -> None:
        """What the network does before a batch."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._held or self._steps > 0, 30), "nobody let the network go on"
            self._steps -= self._held


class Nearest:
    """A TileModel that repeats pixels."""

    def __init__(self, pace: Pace, name: str = "nearest", scales: tuple[int, ...] = (2, 4), purpose: str = "") -> None:
        self._pace = pace
        self.info = FakeInfo(name=name, scales=scales, margin=2, purpose=purpose)

    def run(
        self, tiles: Planes, scale: int, *, full_precision: bool = False, clean: float = 0.0, compressed: bool = True
    ) -> dict[int, Planes]:
        self._pace.wait()
        margin = self.info.margin
        core = tiles[:, margin:-margin, margin:-margin]
        return {s: core.repeat(s, axis=1).repeat(s, axis=2) for s in self.info.scales if s <= scale}

    def warm_up(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """Nothing to warm."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs: where, and how fast."""

    url: str
    pace: Pace

    def upscale(self, png: bytes, scale: int, headers: dict[str, str] | None = None) -> bytes:
        """What the HTTP interface itself gives for a picture."""
        answer = httpx.post(f"{self.url}upscale?scale={scale}", files={"image": ("a.png", png)}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.content


def paced(app: Any, pace: Pace) -> Any:
    """The app, whose uploads can be made to wait."""

    async def admitting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            await pace.admit()
        await app(scope, receive, send)

    return admitting


def behind_prefix(app: Any) -> Any:
    """The app as a proxy shows it that strips a path prefix and says nothing about it."""

    async def proxied(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(PREFIX), f"the page left its prefix: {scope['path']}"
            path = scope["path"].removeprefix(PREFIX)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return proxied


@contextmanager
def serving(settings: Settings, prefix: str = "", *, several: bool = False) -> Iterator[Running]:
    """The service on a free port, ready; with `several` networks it has one for x8 and two with a purpose as well."""
    pace = Pace()
    models = [Nearest(pace)]
    if several:
        models += [
            Nearest(pace, "nearest_x8", (2, 4, 8)),
            Nearest(pace, "nearest_jpeg", purpose="Clean up JPEG traces"),
            Nearest(pace, "nearest_ink", purpose="Keep outlines hard"),
        ]
    with results_as_planes_say():
        app: Any = paced(create_app(settings, [worker(lambda: models)]), pace)
    if prefix:
        app = behind_prefix(app)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}{prefix}/"
        while httpx.get(f"{url}readyz").status_code != 200:
            time.sleep(0.02)
        yield Running(url, pace)
    finally:
        pace.go()
        server.should_exit = True
        thread.join(20)


def png(height: int, width: int, seed: int = 0) -> bytes:
    """A picture with structure: a gradient along each axis and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([y * 255 / height, x * 255 / width, rng.integers(0, 255, (height, width))], axis=2)
    body = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(body, "PNG")
    return body.getvalue()


def upload(page: Any, *pictures: tuple[str, bytes], media_type: str = "image/png") -> None:
    """Choose files, as the file dialog would."""
    page.set_input_files("#files", [{"name": name, "mimeType": media_type, "buffer": body} for name, body in pictures])


def text(page: Any, selector: str) -> str:
    """The visible text of an element."""
    return str(page.locator(selector).inner_text())


def until(page: Any, expression: str, seconds: float = 30) -> None:
    """Wait for a JavaScript expression to hold. Playwright's own way runs into the page's policy against eval."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never came true: {expression}"
        page.wait_for_timeout(20)


def choose_right(page: Any, label: str) -> None:
    """Show another version on the right."""
    page.select_option("#right", label=label)


def wait_done(page: Any, nth: int = 1) -> None:
    """Wait until a picture is done, and the one on show is there to be seen."""
    page.wait_for_selector(f".entry:nth-child({nth})[data-state=done]")
    until(page, "after.complete && after.naturalWidth > 0")
