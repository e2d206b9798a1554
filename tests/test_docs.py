"""Links between the documents resolve: the file is there, and so is the heading."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PARSED = ".parse_args("
PAGES = sorted(
    path
    for folder in (".", "docs/**", "weights", "deploy/**", "clients/python")
    for path in ROOT.glob(f"{folder}/*.md")
)


def tokens(text: str) -> Iterator[Token]:
    """Every token of a document, also those within paragraphs and table cells."""
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        yield token
        yield from token.children or []


@cache
def anchors(text: str) -> set[str]:
    """The fragments that GitHub gives to headings: lower case, without punctuation, hyphens for spaces."""
    found, heading = set(), False
    for token in tokens(text):
        if heading:
            words = "".join(child.content for child in token.children or [])
            found.add(re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-"))
        heading = token.type == "heading_open"
    return found


def dead_links(page: Path, text: str) -> list[str]:
    """Relative links and pictures of `text`, which stands at `page`, that lead nowhere."""
    targets = [token.attrGet("href") or token.attrGet("src") for token in tokens(text)]
    dead = []
    for target in (str(target) for target in targets if target):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        heads = text if there == page else there.read_text() if there.suffix == ".md" and there.is_file() else ""
        if not there.exists() or not there.is_relative_to(ROOT) or (fragment and fragment not in anchors(heads)):
            dead.append(target)
    return dead


def test_all_pages_are_found() -> None:
    names = {str(path.relative_to(ROOT)) for path in PAGES}
    assert {
        "README.md",
        "docs/glossary.md",
        "docs/notes/training.md",
        "weights/README.md",
        "clients/python/README.md",
    } <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    assert dead_links(page, page.read_text()) == []


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](docs/gone.md)", ["docs/gone.md"]),
        ("![a](docs/images/gone.png)", ["docs/images/gone.png"]),
        ("| [a](SECURITY.md#gone) |\n|---|\n| [b](#gone) |", ["SECURITY.md#gone", "#gone"]),
        ("[a](../outside.md)", ["../outside.md"]),
        ("[a](docs/operations.md#start-and-stop) [b](https://example.org/x) [c](docs/) [d](#x-y)\n# `X` y!", []),
        ("`[a](gone)`\n```\n[a](gone)\n```", []),
    ],
)
def test_dead_links_are_found(text: str, dead: list[str]) -> None:
    assert dead_links(ROOT / "README.md", text) == dead


@pytest.mark.parametrize(
    "program",
    [
        path
        for folder in ("bench", "model")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if PARSED in path.read_text()
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_help_of_a_program_shows_how_to_call_it(program: Path) -> None:
    module = ".".join(program.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    text = program.read_text()
    assert f'Parser("{module}", __doc__)' in text or f'prog="python -m {module}"' in text
