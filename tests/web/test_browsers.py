"""The main way in Firefox and in WebKit, the engine of Safari: in, progress, comparison, other settings, out."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.web.support import Running, png

pytest.importorskip("websockets", reason="websockets is not installed: pip install websockets")
from tests.web import firefox, webkit

Tab = firefox.Tab | webkit.Tab
pytestmark = pytest.mark.browser
PICTURES = {"hill.png": png(60, 80, seed=1), "dale.png": png(30, 20, seed=2)}
HOME = "\ue011"
DONE = "document.querySelectorAll('.entry[data-state=done]').length"


ONLY_FIREFOX = pytest.mark.parametrize("browser", ["firefox"], indirect=True)
ONLY_WEBKIT = pytest.mark.parametrize("browser", ["webkit"], indirect=True)


@pytest.fixture(scope="module", params=["firefox", "webkit"])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tab, Path]]:
    """One tab, and the folder of its browser."""
    folder = tmp_path_factory.mktemp(request.param)
    missing = {firefox.PROGRAM: "firefox-esr"} if request.param == "firefox" else webkit.PROGRAMS
    missing = {program: package for program, package in missing.items() if not program.exists()}
    if missing:
        pytest.skip(f"{', '.join(map(str, missing))} not there: apt-get install {' '.join(missing.values())}")
    with firefox.firefox(folder) if request.param == "firefox" else webkit.webkit(folder) as tab:
        yield tab, folder


@pytest.fixture
def folder(browser: tuple[Tab, Path]) -> Path:
    return browser[1]


@pytest.fixture
def tab(browser: tuple[Tab, Path], service: Running) -> Iterator[Tab]:
    """The page, freshly opened, with the settings of a first visit."""
    tab = browser[0]
    tab.go(service.url)
    tab.resize(1280, 800)
    tab.evaluate("localStorage.clear()")
    tab.go(service.url)
    tab.complaints.clear()
    yield tab
    assert tab.complaints == []


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


@ONLY_FIREFOX
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


@ONLY_FIREFOX
def test_the_zoom_is_right_when_the_window_moves_to_a_screen_of_another_density(tab: Tab, folder: Path) -> None:
    choose(tab, folder, {"hill.png": PICTURES["hill.png"]})
    tab.click("#zoom-one")
    tab.until("document.querySelector('#zoom-value').textContent === '100%'")
    for density, zoom in ((2, "200%"), (1.5, "150%"), (1, "100%")):
        tab.resize(1280, 800, density)
        tab.until(f"document.querySelector('#zoom-value').textContent === '{zoom}'")


def test_every_setting_has_its_name_beside_it(tab: Tab) -> None:
    rows = tab.evaluate(
        "[...document.querySelectorAll('.setting')].filter(row => row.getClientRects().length)"
        ".map(row => [...row.children].map(part => part.getBoundingClientRect())"
        ".map(({ top, bottom }) => (top + bottom) / 2))"
    )
    assert len(rows) >= 3
    for name, control in rows:
        assert name == pytest.approx(control, abs=1)


@ONLY_FIREFOX
def test_the_bar_shows_how_much_is_still_to_come(tab: Tab) -> None:
    assert tab.evaluate("getComputedStyle(document.querySelector('progress')).backgroundColor") == "rgb(211, 217, 218)"


@ONLY_WEBKIT
def test_an_upload_goes_on_when_the_page_comes_back(tab: Tab, folder: Path, service: Running) -> None:
    assert isinstance(tab, webkit.Tab)
    (folder / "hill.png").write_bytes(PICTURES["hill.png"])
    service.pace.hold_uploads()
    tab.evaluate("addEventListener('beforeunload', (event) => event.stopImmediatePropagation(), true)")
    tab.choose_files("#files", [folder / "hill.png"])
    service.pace.wait_for_upload()
    tab.go(f"{service.url}static/icon.svg")
    service.pace.go()
    tab.go_back()
    tab.until(f"{DONE} === 1")
