"""What a picture is to become: chosen before, changed afterwards, remembered, and compared."""

import io
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.web.support import Running, Visit, choose_right, png, text, until, upload, wait_done

pytestmark = pytest.mark.browser


def choose_scale(page: Any, scale: int) -> None:
    page.click(f"#scales label:has([value='{scale}'])")


def picture(kind: str, **options: Any) -> bytes:
    body = io.BytesIO()
    Image.open(io.BytesIO(png(20, 30))).save(body, kind, **options)
    return body.getvalue()


def result(page: Any) -> tuple[str, bytes]:
    """Name and bytes of the download."""
    with page.expect_download() as caught:
        page.click("#download")
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()


def test_changed_settings_offer_to_make_the_picture_again(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(40, 60)))
    wait_done(page)
    assert page.locator("#notice").is_hidden()
    page.select_option("#quality", "best")
    assert text(page, "#notice-words") == "This is ×4. You have chosen other settings."
    assert text(page, "#notice-do") == "Make it again: ×4, best"
    with page.expect_request(lambda request: request.method == "POST") as caught:
        page.click("#notice-do")
    assert caught.value.url.endswith("?scale=4&effort=best")
    until(page, "right.options.length === 4")
    assert text(page, "#notice-words") == ""
    assert page.locator("#right option").all_inner_texts() == ["×2", "×4", "×2, best", "×4, best"]


def test_a_scale_that_already_exists_is_shown_without_a_request(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(40, 60)))
    wait_done(page)
    choose_scale(page, 2)
    until(page, "after.naturalWidth === 120")
    assert page.locator("#notice").is_hidden()
    assert page.locator(".entry-what").inner_text() == "×2"


def test_new_settings_can_be_applied_to_all_pictures(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, *((f"{n}.png", png(10, 20)) for n in range(3)))
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 3")
    page.select_option("#quality", "best")
    assert text(page, "#again-all") == "Use these settings for all 3"
    page.click("#again-all")
    until(page, "[...document.querySelectorAll('.entry-what')].every(what => what.textContent === '×4, best')")
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 3")
    assert page.locator("#again-all").is_hidden()


def test_new_settings_apply_to_waiting_pictures(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url)
    upload(page, *((f"{n}.png", png(10, 20)) for n in range(3)))
    page.click(".entry:nth-child(3) .entry-open")
    choose_scale(page, 2)
    assert text(page, "#notice-words") == "This becomes ×4. You have chosen other settings."
    page.click("#notice-do")
    assert page.locator(".entry:nth-child(3) .entry-what").inner_text() == "×2"
    service.pace.go()
    page.wait_for_selector(".entry:nth-child(3)[data-state=done]")
    until(page, "after.naturalWidth === 40")


def test_any_two_versions_can_be_compared(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(40, 60)))
    wait_done(page)
    page.select_option("#quality", "best")
    page.click("#notice-do")
    until(page, "left.options.length === 5")
    assert page.locator("#left option").all_inner_texts() == ["Original", "×2", "×4", "×2, best", "×4, best"]
    page.select_option("#left", label="×2")
    until(page, "before.naturalWidth === 120 && after.naturalWidth === 240")
    assert page.locator("#before").bounding_box() == page.locator("#after").bounding_box()
    assert page.locator("#before").get_attribute("alt") == "hill.png, ×2"
    until(page, "knob.ariaValueText === '50% ×2, 50% ×4, best'")
    choose_right(page, "×4")
    until(page, "knob.ariaValueText === '50% ×2, 50% ×4'")
    page.select_option("#left", label="Original")
    until(page, "before.naturalWidth === 60")


def test_making_a_picture_again_can_be_undone(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(40, 60)))
    wait_done(page)
    service.pace.hold()
    page.select_option("#quality", "best")
    page.click("#notice-do")
    page.wait_for_selector(".entry[data-state=queued], .entry[data-state=running]")
    page.click("#work-cancel")
    page.wait_for_selector(".entry[data-state=done]")
    until(page, "after.naturalWidth === 240")
    assert page.locator(".entry-what").inner_text() == "×4"


def test_settings_are_remembered(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    choose_scale(page, 2)
    page.select_option("#quality", "best")
    page.select_option("#format", "jpeg")
    page.evaluate("() => { lossy.value = 70; lossy.dispatchEvent(new Event('input', { bubbles: true })); }")
    page.reload()
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert page.locator(".entry-what").inner_text() == "×2, best, JPEG 70"


@pytest.mark.parametrize(
    ("quality", "query", "words"),
    [
        ("standard", "format=webp&quality=90", "×4, WebP 90"),
        ("medium", "effort=medium&format=webp&quality=90", "×4, better, WebP 90"),
        ("high", "effort=high&format=webp&quality=90", "×4, high, WebP 90"),
        ("best", "effort=best&format=webp&quality=90", "×4, best, WebP 90"),
    ],
)
def test_every_effort_is_sent(service: Running, visit: Visit, quality: str, query: str, words: str) -> None:
    page = visit(service.url)
    page.select_option("#format", "webp")
    page.select_option("#quality", quality)
    assert page.locator("#lossy-row").is_visible()
    with page.expect_request(lambda request: request.method == "POST") as caught:
        upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert caught.value.url.partition("?")[2] == f"scale=4&{query}"
    assert page.locator(".entry-what").inner_text() == words
    assert b"VP8 " in result(page)[1][:16]  # not VP8L, which is without loss


@pytest.mark.parametrize("asked", ["quality=best", "best=true"])
def test_best_effort_has_two_names_in_the_url(service: Running, visit: Visit, asked: str) -> None:
    page = visit(f"{service.url}?{asked}")
    assert page.locator("#quality").input_value() == "best"


def test_settings_are_read_from_the_url(service: Running, visit: Visit) -> None:
    page = visit(f"{service.url}?scale=2&best=true&format=webp&lossy=50&nonsense=1")
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert page.locator(".entry-what").inner_text() == "×2, best, WebP 50"


@pytest.mark.parametrize(
    "address", ["?scale=9", "?scale=x&lossy=0", "?format=doc", "?width=0", "?height=1.5", "?by=toString&fits=true"]
)
def test_invalid_settings_in_the_url_are_ignored(service: Running, visit: Visit, address: str) -> None:
    page = visit(service.url + address)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert page.locator(".entry-what").inner_text() == "×4"


@pytest.mark.parametrize(
    ("format", "sent", "ending", "query"),
    [
        ("png", "PNG", "png", ""),
        ("webp", "PNG", "webp", "&format=webp&quality=90"),
        ("webp-exact", "PNG", "webp", "&format=webp&lossless=true"),
        ("jpeg", "PNG", "jpg", "&format=jpeg&quality=90"),
        ("avif", "PNG", "avif", "&format=avif&quality=90"),
        ("original", "PNG", "png", ""),
        ("original", "JPEG", "jpg", "&format=jpeg&quality=90"),
        ("original", "WEBP", "webp", "&format=webp&quality=90"),
        ("original", "AVIF", "avif", "&format=avif&quality=90"),
        ("original", "TIFF", "png", ""),
        ("original", "BMP", "png", ""),
        ("original", "GIF", "png", ""),
    ],
)
def test_every_format_has_the_bytes_of_the_api(
    service: Running, visit: Visit, format: str, sent: str, ending: str, query: str
) -> None:
    page = visit(service.url)
    page.select_option("#format", format)
    assert page.locator("#lossy-row").is_visible() is (format not in ("png", "webp-exact"))
    body = picture(sent)
    upload(page, (f"hill.{sent.lower()}", body))
    wait_done(page)
    answer = httpx.post(f"{service.url}upscale?scale=4{query}", files={"image": ("a", body)})
    assert result(page) == (f"hill-x4.{ending}", answer.content)


def test_png_is_offered_if_the_format_cannot_hold_the_picture(service: Running, visit: Visit) -> None:
    body = io.BytesIO()
    Image.new("RGBA", (30, 20), (200, 100, 50, 120)).save(body, "PNG")
    page = visit(f"{service.url}?format=jpeg", may_complain=True)
    upload(page, ("glass.png", body.getvalue()))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-detail").startswith("JPEG cannot hold this picture")
    page.click("#trouble-remedies button:has-text('Make it a PNG')")
    wait_done(page)
    assert result(page)[0] == "glass-x4.png"


def test_the_size_of_the_result_is_shown_before_it_is_made(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url)
    upload(page, ("hill.png", png(20, 30)))
    until(page, "document.querySelector('#facts').textContent.includes('120 × 80')")
    assert re.search(r"Original\s+30 × 20", text(page, "#facts"))


@pytest.mark.parametrize(
    ("limits", "scales", "words"),
    [
        ({"max_output_pixels": 40 * 60 * 4}, ["Make it ×2"], "At ×4, it would have 0 megapixels"),
        ({"max_input_pixels": 2000}, [], "It has 0 megapixels, and this service takes up to 0"),
    ],
)
def test_too_many_pixels_are_refused_before_the_upload(
    service: Running, visit: Visit, limits: dict[str, int], scales: list[str], words: str
) -> None:
    page = visit("about:blank", may_complain=True)
    model = httpx.get(f"{service.url}model").json()
    model["limits"] |= limits
    page.route("**/model", lambda route: route.fulfill(json=model))
    page.goto(service.url)
    until(page, "document.querySelector('#limits').textContent !== ''")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    upload(page, ("hill.png", png(40, 60)))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-title") == "The picture is too large"
    assert text(page, "#trouble-detail").startswith(words)
    assert page.locator("#trouble-remedies button").all_inner_texts() == scales
    assert "POST" not in sent
    if scales:
        page.click("#trouble-remedies button")
        until(page, "after.naturalWidth === 120")
