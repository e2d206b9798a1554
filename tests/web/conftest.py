"""A real Chromium in front of the real service."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources, util
from pathlib import Path
from typing import Any

import pytest

from app.api_keys import ApiKey
from app.settings import Settings
from tests.web.support import KEY, PREFIX, Running, Visit, serving

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
"""Chromium drops what is under way when any program of the machine adds or removes a network interface."""
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serving(Settings()) as service:
        yield service


@pytest.fixture
def service(running: Running) -> Iterator[Running]:
    """The module's service, back at full speed afterwards."""
    yield running
    running.pace.go()


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    key = ApiKey(name="tester", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    with serving(Settings(api_keys=(key,))) as service:
        yield service


@pytest.fixture(scope="module")
def prefixed() -> Iterator[Running]:
    with serving(Settings(), PREFIX) as service:
        yield service


@pytest.fixture(scope="module")
def several() -> Iterator[Running]:
    with serving(Settings(), several=True) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of module scope: while it is open, Playwright's own event loop is in the way of asynchronous tests."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


def own_complaints(message: Any) -> list[str]:
    """The text of an error in the console, but for those that are not the page's."""
    return [message.text] if message.type == "error" and NETWORK_CHANGED not in message.text else []


@contextmanager
def visiting(browser: Any) -> Iterator[Visit]:
    """A way to open pages, each in a fresh context. What a page complains about in its console fails the test."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def open_page(url: str, width: int = 1280, height: int = 800, may_complain: bool = False, **options: Any) -> Any:
        options.setdefault("reduced_motion", "reduce")
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        if not may_complain:
            page.on("console", lambda message: complaints.extend(own_complaints(message)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        lost: list[Any] = []
        page.on("requestfailed", lambda request: lost.append(request) if NETWORK_CHANGED in request.failure else None)
        page.goto(url)
        while lost:
            lost.clear()
            page.reload()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Pages that live as long as a test."""
    with visiting(browser) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def visit_long(browser: Any) -> Iterator[Visit]:
    """Pages that live as long as a module's tests."""
    with visiting(browser) as open_page:
        yield open_page


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, as a PyPI package ships it."""
    if util.find_spec("axe_playwright_python") is None:
        pytest.skip("axe-core is not there: pip install axe-playwright-python")
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
