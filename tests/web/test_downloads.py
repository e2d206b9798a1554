"""Saving: one picture, all of them as one ZIP, onto the clipboard."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.web.support import Running, Visit, choose_right, png, text, until, upload, wait_done

pytestmark = pytest.mark.browser


def finished(page: Any, count: int) -> None:
    until(page, f"document.querySelectorAll('.entry[data-state=done]').length === {count}")


def zip_of(page: Any) -> zipfile.ZipFile:
    with page.expect_download() as caught:
        page.click("#download-all")
    assert caught.value.suggested_filename == "pictures.zip"
    return zipfile.ZipFile(io.BytesIO(Path(caught.value.path()).read_bytes()))


def test_all_results_are_saved_as_one_zip_with_the_bytes_of_the_api(service: Running, visit: Visit) -> None:
    pictures = {f"{n}.png": png(10 + n, 20, seed=n) for n in range(14)}
    page = visit(service.url)
    upload(page, *pictures.items())
    finished(page, 14)
    assert text(page, "#download-all") == "Download all 14 (ZIP)"
    saved = zip_of(page)
    assert saved.testzip() is None
    assert saved.namelist() == [f"{n}-x4.png" for n in range(14)]
    for name, body in pictures.items():
        assert saved.read(name.replace(".png", "-x4.png")) == service.upscale(body, 4)


def test_names_in_a_zip_are_unique(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("a.png", png(10, 20)), ("a.png", png(20, 10)), ("A.jpg", png(10, 10)))
    finished(page, 3)
    assert zip_of(page).namelist() == ["a-x4.png", "a-x4 (2).png", "A-x4 (3).png"]


def test_a_zip_can_be_saved_again_after_a_change(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("a.png", png(10, 20)), ("b.png", png(20, 10)))
    finished(page, 2)
    zip_of(page)
    choose_right(page, "×2")
    page.wait_for_selector("#download:has-text('×2')")
    assert sorted(zip_of(page).namelist()) == ["a-x2.png", "b-x4.png"]


def test_a_zip_that_cannot_be_saved_is_reported(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    page.evaluate(
        """() => {
          const full = () => { throw new DOMException("no room", "QuotaExceededError"); };
          window.showSaveFilePicker = async () => ({ createWritable: async () => new WritableStream({ write: full }) });
        }"""
    )
    upload(page, ("a.png", png(10, 20)), ("b.png", png(20, 10)))
    finished(page, 2)
    page.evaluate("Object.defineProperty(Blob.prototype, 'size', { get: () => 4e8 })")
    page.click("#download-all")
    until(page, "document.querySelector('#toast-words').textContent.startsWith('The ZIP could not be saved.')")


def test_a_large_zip_is_streamed_to_the_chosen_file(service: Running, visit: Visit) -> None:
    """The dialog cannot be used without hands: a file of the page's own storage takes the place of the chosen one."""
    page = visit(service.url)
    pictures = {name: png(12, 16, seed=n) for n, name in enumerate(["a.png", "b.png"])}
    page.evaluate(
        """() => {
          window.size = Object.getOwnPropertyDescriptor(Blob.prototype, "size");
          window.showSaveFilePicker = async ({ suggestedName }) => {
            const folder = await navigator.storage.getDirectory();
            return folder.getFileHandle(suggestedName, { create: true });
          };
        }"""
    )
    upload(page, *pictures.items())
    finished(page, 2)
    page.evaluate("Object.defineProperty(Blob.prototype, 'size', { get: () => 4e8, configurable: true })")
    page.click("#download-all")
    until(
        page,
        """navigator.storage.getDirectory()
             .then(folder => folder.getFileHandle("pictures.zip")).then(handle => handle.getFile())
             .then(file => size.get.call(file) > 0).catch(() => false)""",
    )
    body = page.evaluate(
        """async () => {
          const folder = await navigator.storage.getDirectory();
          const file = await (await folder.getFileHandle("pictures.zip")).getFile();
          return [...new Uint8Array(await file.arrayBuffer())];
        }"""
    )
    saved = zipfile.ZipFile(io.BytesIO(bytes(body)))
    assert saved.testzip() is None
    for name, picture in pictures.items():
        assert saved.read(name.replace(".png", "-x4.png")) == service.upscale(picture, 4)


def test_a_row_is_downloaded_under_its_name(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    picture = png(20, 30)
    page.select_option("#quality", "best")
    upload(page, ("my hill.jpeg", picture))
    wait_done(page)
    assert page.locator(".entry-what").inner_text() == "×4, best"
    with page.expect_download() as caught:
        page.click(".entry-save")
    assert caught.value.suggested_filename == "my hill-x4-best.png"
    assert Image.open(io.BytesIO(Path(caught.value.path()).read_bytes())).size == (120, 80)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_result_is_copied_as_png(service: Running, visit: Visit, kind: str) -> None:
    page = visit(f"{service.url}?format={kind}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    page.click("#copy")
    until(page, "document.querySelector('#toast-words').textContent === 'Copied to the clipboard'")
    body = page.evaluate(
        """async () => {
          const [item] = await navigator.clipboard.read();
          return [...new Uint8Array(await (await item.getType("image/png")).arrayBuffer())];
        }"""
    )
    assert Image.open(io.BytesIO(bytes(body))).size == (120, 80)


def test_a_refused_copy_is_reported(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    page.evaluate("() => { navigator.clipboard.write = () => Promise.reject(new DOMException('no')); }")
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    page.click("#copy")
    until(page, "document.querySelector('#toast-words').textContent.includes('did not allow copying')")
