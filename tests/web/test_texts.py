"""The page's texts: one table, six languages, English as the fallback."""

import re
from typing import Any

import pytest

from app.errors import all_slugs
from app.web import STATIC
from tests.web.support import Running, Visit, png, text, upload, wait_done

SCRIPTS = "".join(script.read_text(encoding="utf-8") for script in (STATIC / "js").glob("*.js"))
INDEX = (STATIC / "index.html").read_text(encoding="utf-8")
LANGUAGES = ["en", "de", "fr", "es", "zh", "ja"]
TECHNICAL = re.compile(r"curl|=first|=allow|\btiles?\b|urn:|problem\+json|\bscale=|/upscale", re.IGNORECASE)


@pytest.fixture(scope="module")
def page(running: Running, visit_long: Visit) -> Any:
    """A page that has the table at hand, as `table` and `words`."""
    page = visit_long(running.url)
    page.evaluate(
        """async () => {
          window.table = await import("./static/texts/table.js");
          window.words = await import("./static/js/texts.js");
          window.status_ = await import("./static/js/status.js");
        }"""
    )
    return page


@pytest.fixture(scope="module")
def table(page: Any) -> dict[str, dict[str, Any]]:
    return dict(page.evaluate("table.TEXTS"))


@pytest.mark.browser
def test_every_text_exists_in_every_language(page: Any, table: dict[str, dict[str, Any]]) -> None:
    assert list(page.evaluate("Object.keys(table.LANGUAGES)")) == LANGUAGES
    assert {key: [name for name in LANGUAGES if name not in row] for key, row in table.items()} == {
        key: [] for key in table
    }


@pytest.mark.browser
def test_translations_use_the_same_placeholders(table: dict[str, dict[str, Any]]) -> None:
    def values(form: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", form))

    for key, row in table.items():
        forms = {name: [found] if isinstance(found, str) else list(found.values()) for name, found in row.items()}
        wanted = set[str]().union(*map(values, forms["en"]))
        for name, found in forms.items():
            assert set[str]().union(*map(values, found)) - {"count"} <= wanted, (key, name)
            assert values(found[-1]) | {"count", "name"} >= wanted, (key, name)


@pytest.mark.browser
def test_no_text_mentions_api_parameters(table: dict[str, dict[str, Any]]) -> None:
    for key, row in table.items():
        for found in row.values():
            for form in [found] if isinstance(found, str) else found.values():
                assert not TECHNICAL.search(form), key
    assert not TECHNICAL.search(re.sub(r"<[^>]*>", "", INDEX))


@pytest.mark.browser
def test_every_text_is_used_and_every_used_text_exists(table: dict[str, dict[str, Any]]) -> None:
    asked = set(re.findall(r'\btext\(\s*"([\w.-]+)"', SCRIPTS)) | set(
        re.findall(r'data-(?:text|label)="([^"]+)"', INDEX)
    )
    assert asked <= set(table)
    composed = re.compile(r"^(by|clean|format|label|quality|trouble)\.")
    named = {key for key in table if f'"{key}"' in SCRIPTS}
    assert {key for key in table if not composed.match(key)} <= asked | named


@pytest.mark.browser
def test_the_texts_in_html_equal_the_english_table(table: dict[str, dict[str, Any]]) -> None:
    pairs = re.findall(r'data-text="([^"]+)"[^>]*>([^<]*)<', INDEX)
    labels = re.findall(r'data-label="([^"]+)"\s+aria-label="([^"]*)"', INDEX)
    assert len(pairs) > 20
    assert len(labels) > 8
    for key, words in pairs + labels:
        assert words == table[key]["en"], key


@pytest.mark.browser
def test_texts_missing_in_a_language_fall_back_to_english(page: Any) -> None:
    filled = "words.filled({ en: '{count} of {total}', de: '{count} von {total}' }, name, { count: 1, total: 1234 })"
    assert page.evaluate(f"name => {filled}", "de") == "1 von 1.234"
    assert page.evaluate(f"name => {filled}", "ja") == "1 of 1,234"
    assert page.evaluate("words.filled({}, 'de')") == ""


@pytest.mark.browser
@pytest.mark.parametrize(("count", "expected"), [(0, "0 pictures"), (1, "one picture"), (2, "2 pictures")])
def test_a_count_chooses_the_plural_form(page: Any, count: int, expected: str) -> None:
    forms = "{ en: { one: 'one picture', other: '{count} pictures' } }"
    assert page.evaluate(f"count => words.filled({forms}, 'fr', {{ count }})", count) == expected


@pytest.mark.browser
@pytest.mark.parametrize(
    ("wished", "spoken"),
    [
        (["de-AT", "en"], "de"),
        (["pt-BR", "fr-CA", "en"], "fr"),
        (["zh-Hant-TW"], "zh"),
        (["pt-BR"], "en"),
        ([], "en"),
        (["constructor"], "en"),
    ],
)
def test_the_first_supported_language_is_used(page: Any, wished: list[str], spoken: str) -> None:
    assert page.evaluate("wished => words.chosenLanguage(wished)", wished) == spoken


@pytest.mark.browser
def test_every_kind_of_error_has_a_text(page: Any, table: dict[str, dict[str, Any]]) -> None:
    """The kinds of app/errors.py; GROUPS in status.js says which words each has."""
    groups = {slug: page.evaluate("slug => status_.groupOf(slug)", slug) for slug in all_slugs()}
    assert [slug for slug, group in groups.items() if f"trouble.{group}" not in table] == []


@pytest.mark.browser
@pytest.mark.parametrize(
    ("locale", "title", "done"),
    [
        ("de-DE", "Bilder wählen", "1 von 1 fertig"),
        ("fr-FR", "Choisir des images", "1 sur 1 prêtes"),
        ("es-MX", "Elegir imágenes", "1 de 1 listas"),
        ("zh-CN", "选择图片", "已完成 1/1"),
        ("ja-JP", "画像を選択", "1 枚中 1 枚完了"),
        ("nl-NL", "Choose pictures", "1 of 1 done"),
    ],
)
def test_the_language_of_the_browser_is_used(
    running: Running, visit: Visit, locale: str, title: str, done: str
) -> None:
    page = visit(running.url, locale=locale)
    assert text(page, ".choosers label:first-child") == title
    assert page.evaluate("document.documentElement.lang") == (locale[:2] if locale != "nl-NL" else "en")
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert text(page, "#count") == done


@pytest.mark.browser
def test_changing_the_language_keeps_the_pictures(running: Running, visit: Visit) -> None:
    page = visit(running.url)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    page.select_option("#language", "de")
    assert text(page, "#count") == "1 von 1 fertig"
    assert text(page, "#download") == "×4 herunterladen"
    assert page.locator("#knob").get_attribute("aria-label") == "Anteil des linken Bildes"
    page.reload()
    assert text(page, ".choosers label:first-child") == "Bilder wählen"


@pytest.mark.browser
def test_the_url_can_choose_the_language(running: Running, visit: Visit) -> None:
    assert text(visit(f"{running.url}?lang=ja"), ".choosers label:first-child") == "画像を選択"
