"""The main way in a second browser, Firefox: in, progress, comparison, other settings, out."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.web.support import Running, png

pytest.importorskip("websockets", reason="websockets is not installed: pip install websockets")
from tests.web.firefox import PROGRAM, Tab, firefox

pytestmark = pytest.mark.browser
PICTURES = {"hill.png": png(60, 80, seed=1), "dale.png": png(30, 20, seed=2)}
HOME = "\ue011"
DONE = "document.querySelectorAll('.entry[data-state=done]').length"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firefox")


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Tab]:
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not there: apt-get install firefox-esr")
    with firefox(folder) as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab, service: Running) -> Iterator[Tab]:
    """The page, freshly opened, with the settings of a first visit."""
    browser.resize(1280, 800)
    browser.go(service.url)
    browser.evaluate("localStorage.clear()")
    browser.go(service.url)
    browser.complaints.clear()
    yield browser
    assert browser.complaints == []


def choose(tab: Tab, folder: Path, pictures: dict[str, bytes]) -> None:
    for name, body in pictures.items():
        (folder / name).write_bytes(body)
    tab.choose_files("#files", [folder / name for name in pictures])
    tab.until(f"{DONE} === {len(pictures)} && after.complete && after.naturalWidth > 0")


def saved(tab: Tab, folder: Path, name: str) -> bytes:
    """A download, once it is whole."""
    path = folder / "downloads" / name
    deadline = 0
    while not path.exists() or path.with_name(name + ".part").exists() or not path.stat().st_size:
        deadline += 1
        assert deadline < 1200, f"{name} was not saved"
        tab.evaluate("new Promise(done => setTimeout(done, 50))")
    return path.read_bytes()


def test_a_picture_is_upscaled_compared_and_saved(tab: Tab, folder: Path, service: Running) -> None:
    name, body = "hill.png", PICTURES["hill.png"]
    choose(tab, folder, {name: body})
    assert tab.evaluate("[after.naturalHeight, after.naturalWidth]") == [240, 320]
    assert tab.evaluate("count.textContent") == "1 of 1 done"
    tab.evaluate("knob.focus()")
    tab.press(HOME)
    tab.until("knob.ariaValueText === '0% Original, 100% ×4'")
    tab.click("#zoom-one")
    tab.until("after.getBoundingClientRect().width === 320")
    tab.click("#download")
    assert saved(tab, folder, "hill-x4.png") == service.upscale(body, 4)


def test_settings_and_formats_can_be_changed(tab: Tab, folder: Path, service: Running) -> None:
    choose(tab, folder, {"hill.png": PICTURES["hill.png"]})
    tab.click("#scales label:has([value='2'])")
    tab.until("after.naturalWidth === 160")
    tab.evaluate("(() => { format.value = 'webp'; format.dispatchEvent(new Event('input', { bubbles: true })); })()")
    assert tab.evaluate("document.querySelector('#notice-do').textContent") == "Make it again: ×2, WebP 90"
    tab.click("#notice-do")
    tab.until(f"{DONE} === 1 && document.querySelector('.entry-what').textContent === '×2, WebP 90'")
    tab.click("#download")
    query = "scale=2&format=webp&quality=90"
    answer = httpx.post(f"{service.url}upscale?{query}", files={"image": ("a", PICTURES["hill.png"])})
    assert saved(tab, folder, "hill-x2.webp") == answer.content


def test_all_results_are_saved_as_one_zip(tab: Tab, folder: Path, service: Running) -> None:
    choose(tab, folder, PICTURES)
    tab.click("#download-all")
    archive = zipfile.ZipFile(io.BytesIO(saved(tab, folder, "pictures.zip")))
    assert archive.testzip() is None
    for name, body in PICTURES.items():
        assert archive.read(name.replace(".png", "-x4.png")) == service.upscale(body, 4)


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_overflows_on_a_phone(tab: Tab, folder: Path, width: int) -> None:
    tab.resize(width, 700)
    choose(tab, folder, PICTURES)
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_file_that_is_not_a_picture_is_reported_in_its_place(tab: Tab, folder: Path) -> None:
    (folder / "notes.png").write_text("these are notes")
    tab.choose_files("#files", [folder / "notes.png"])
    tab.until("!trouble.hidden")
    assert tab.evaluate("document.querySelector('#trouble-title').textContent") == "This kind of file is not supported"


def test_a_copied_picture_is_png(tab: Tab, folder: Path) -> None:
    choose(tab, folder, {"hill.png": PICTURES["hill.png"]})
    tab.evaluate(
        "(() => { navigator.clipboard.write = ([item]) => { window.copied = item; return Promise.resolve(); }; })()"
    )
    tab.click("#copy")
    tab.until("window.copied !== undefined && document.querySelector('#toast-words').textContent.startsWith('Copied')")
    body = tab.evaluate(
        "copied.getType('image/png').then(blob => blob.arrayBuffer()).then(b => [...new Uint8Array(b)])"
    )
    assert Image.open(io.BytesIO(bytes(body))).size == (320, 240)


def test_the_zoom_is_right_when_the_window_moves_to_a_screen_of_another_density(tab: Tab, folder: Path) -> None:
    choose(tab, folder, {"hill.png": PICTURES["hill.png"]})
    tab.click("#zoom-one")
    tab.until("document.querySelector('#zoom-value').textContent === '100%'")
    for density, zoom in ((2, "200%"), (1.5, "150%"), (1, "100%")):
        tab.resize(1280, 800, density)
        tab.until(f"document.querySelector('#zoom-value').textContent === '{zoom}'")
