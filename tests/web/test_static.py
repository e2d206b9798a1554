"""The page's files, without a browser."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from app.web import STATIC

SCRIPTS = sorted((STATIC / "js").glob("*.js"))
TABLE = STATIC / "texts" / "table.js"
VENDORED = sorted((STATIC / "vendor").glob("*/*.js"))
STYLES = sorted((STATIC / "css").glob("*.css"))


class Page(HTMLParser):
    """Collects what a strict policy or a path prefix would stumble over."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        for name, value in attrs:
            if name in ("src", "href") and value:
                self.addresses.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture
def page() -> Page:
    parser = Page()
    parser.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    return parser


def test_there_is_no_inline_script_or_style(page: Page) -> None:
    assert page.inline == []


def test_every_url_is_relative_and_exists(page: Page) -> None:
    assert len(page.addresses) > 4
    for address in page.addresses:
        assert address.startswith("static/")
        assert (STATIC / address.removeprefix("static/")).is_file()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_states_its_duty_and_imports_only_local_modules(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert text.startswith("/** ")
    assert text.count("\n") < 300
    for target in re.findall(r'^(?:import|export) .*?from "([^"]+)"', text, re.MULTILINE):
        assert target.startswith(("./", "../texts/", "../vendor/"))
        assert (script.parent / target).is_file()


@pytest.mark.parametrize("path", [*SCRIPTS, *STYLES, *VENDORED, TABLE], ids=lambda path: path.name)
def test_no_file_contains_external_urls(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    assert not re.search(r"\b(eval|innerHTML|outerHTML|insertAdjacentHTML|document\.write)\b", text)


def test_every_module_is_preloaded(page: Page) -> None:
    assert sorted(address for address in page.addresses if address.endswith(".js")) == sorted(
        f"static/{script.relative_to(STATIC).as_posix()}" for script in [*SCRIPTS, *VENDORED, TABLE]
    )


def test_vendored_scripts_have_their_licence() -> None:
    assert VENDORED
    for script in VENDORED:
        assert "Permission is hereby granted" in (script.parent / "LICENSE.txt").read_text(encoding="utf-8")
