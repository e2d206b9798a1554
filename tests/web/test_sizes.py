"""A size that is wished for instead of a scale: by a side in pixels, or by any factor."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.support import Running, Visit, choose_right, png, text, until, upload, wait_done

pytestmark = pytest.mark.browser
PICTURE = png(20, 31)


def fit_to(page: Any, amount: str, by: str = "long_side") -> None:
    page.click("#scales label:has([value=fit])")
    page.select_option("#by", by)
    page.fill("#amount", amount)


def result(page: Any) -> tuple[str, bytes]:
    """Name and bytes of the download."""
    with page.expect_download() as caught:
        page.click("#download")
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()


def limited(page: Any, service: Running, limits: dict[str, int]) -> list[str]:
    """Opens the page of a service with other limits; the requests that it then sends, by method."""
    model = httpx.get(f"{service.url}model").json()
    model["limits"] |= limits
    page.route("**/model", lambda route: route.fulfill(json=model))
    page.goto(service.url)
    until(page, "document.querySelector('#limits').textContent !== ''")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    return sent


@pytest.mark.parametrize(
    ("by", "amount", "query", "label", "name", "size"),
    [
        ("long_side", "100", "long_side=100", "100 px", "hill-100px.png", "100 × 65"),
        ("width", "50", "width=50", "50 px wide", "hill-50w.png", "50 × 32"),
        ("height", "33", "height=33", "33 px high", "hill-33h.png", "51 × 33"),
        ("scale", "1.5", "scale=1.5", "×1.5", "hill-x1.5.png", "47 × 30"),
        ("scale", "3", "scale=3", "×3", "hill-x3.png", "93 × 60"),
        ("long_side", "16", "long_side=16", "16 px", "hill-16px.png", "16 × 10"),
        ("width", "124", "width=124", "124 px wide", "hill-124w.png", "124 × 80"),
    ],
)
def test_a_requested_size_is_shown_made_named_and_saved(
    service: Running, visit: Visit, by: str, amount: str, query: str, label: str, name: str, size: str
) -> None:
    """The last is exactly x4, of which the service makes x2 as well."""
    service.pace.hold()
    page = visit(service.url)
    fit_to(page, amount, by)
    upload(page, ("hill.png", PICTURE))
    until(page, f"document.querySelector('#facts').textContent.includes('{label}{size}')")
    assert text(page, ".entry-what") == label
    service.pace.go()
    wait_done(page)
    width, height = (int(side) for side in size.split(" × "))
    assert page.evaluate("[after.naturalWidth, after.naturalHeight]") == [width, height]
    assert text(page, ".entry-what") == label
    assert text(page, ".entry-state") == size
    assert page.locator("#right option").all_inner_texts() == [label]
    assert text(page, "#download") == f"Download {label}"
    answer = httpx.post(f"{service.url}upscale?{query}", files={"image": ("a", PICTURE)})
    assert result(page) == (name, answer.content)


def test_a_requested_size_is_a_version_besides_the_scales(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", PICTURE))
    wait_done(page)
    fit_to(page, "100")
    assert text(page, "#notice-words") == "This is ×4. You have chosen other settings."
    assert text(page, "#notice-do") == "Make it again: 100 px"
    page.click("#notice-do")
    until(page, "right.options.length === 3")
    assert page.locator("#right option").all_inner_texts() == ["×2", "×4", "100 px"]
    assert page.locator("#notice").is_hidden()
    page.click("#scales label:has([value='2'])")
    until(page, "after.naturalWidth === 62")
    page.click("#scales label:has([value=fit])")
    until(page, "after.naturalWidth === 100")
    page.select_option("#left", label="×2")
    until(page, "before.naturalWidth === 62")
    assert page.locator("#before").bounding_box() == page.locator("#after").bounding_box()
    page.click("#zoom-one")
    until(page, "Math.round(after.getBoundingClientRect().width) === 100")
    choose_right(page, "×4")
    until(page, "after.naturalWidth === 124")


def test_a_size_is_remembered_while_a_scale_is_chosen(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    fit_to(page, "77", "height")
    page.reload()
    assert page.is_checked("[name=scale][value=fit]")
    assert page.input_value("#amount") == "77"
    assert page.input_value("#by") == "height"
    page.click("#scales label:has([value='2'])")
    assert page.is_hidden("#size-row")
    page.reload()
    assert page.is_checked("[name=scale][value='2']")
    page.click("#scales label:has([value=fit])")
    assert page.input_value("#amount") == "77"
    assert page.input_value("#by") == "height"


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("?long_side=90", "90 px"),
        ("?width=90&format=webp", "90 px wide, WebP 90"),
        ("?height=40", "40 px high"),
        ("?scale=2.5", "×2.5"),
        ("?scale=2", "×2"),
    ],
)
def test_a_size_is_read_from_the_url(service: Running, visit: Visit, address: str, label: str) -> None:
    page = visit(service.url + address)
    upload(page, ("hill.png", PICTURE))
    wait_done(page)
    assert text(page, ".entry-what") == label


def test_an_invalid_size_is_not_accepted(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    fit_to(page, "90")
    for nonsense in ("", "0", "-3", "1.5", "1000000"):
        page.fill("#amount", nonsense)
        assert page.evaluate("amount.validity.valid") is False
        page.locator("#amount").blur()
        assert page.input_value("#amount") == "90"
    page.select_option("#by", "scale")
    assert page.input_value("#amount") == "3"
    page.fill("#amount", "9")
    page.locator("#amount").blur()
    assert page.input_value("#amount") == "3"
    upload(page, ("hill.png", PICTURE))
    wait_done(page)
    assert text(page, ".entry-what") == "×3"


def test_a_size_that_no_scale_reaches_is_refused_before_the_upload(service: Running, visit: Visit) -> None:
    page = visit("about:blank", may_complain=True)
    sent = limited(page, service, {})
    fit_to(page, "125")
    upload(page, ("hill.png", PICTURE))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-title") == "The picture cannot be made that large"
    assert text(page, "#trouble-detail") == "With these settings, it can be made ×4 at most, 124 × 80 pixels."
    assert page.locator("#trouble-remedies button").all_inner_texts() == ["Make it ×4", "Make it ×2"]
    assert page.locator("#trouble-again").is_hidden()
    assert "POST" not in sent
    page.click("#trouble-remedies button:first-child")
    until(page, "after.naturalWidth === 124")


def test_a_size_whose_level_is_too_large_is_refused_before_the_upload(service: Running, visit: Visit) -> None:
    """124 x 80 pixels have to be made for a size of 70 x 45."""
    page = visit("about:blank", may_complain=True)
    sent = limited(page, service, {"max_output_pixels": 62 * 40})
    fit_to(page, "70")
    upload(page, ("hill.png", PICTURE))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-title") == "The picture is too large"
    assert text(page, "#trouble-detail").startswith("For this size, it is first made at ×4.")
    assert page.locator("#trouble-remedies button").all_inner_texts() == ["Make it ×2"]
    assert "POST" not in sent
    fit_to(page, "60")
    page.click("#notice-do")
    until(page, "after.naturalWidth === 60")


def test_every_network_is_offered_if_the_picture_decides_the_level(several: Running, visit: Visit) -> None:
    """Of 31 x 20 pixels, 200 are made by the one for x8; one for x4 with a purpose cannot reach them."""
    page = visit(several.url, may_complain=True)
    page.wait_for_selector("label:has-text('Keep outlines hard') input")
    fit_to(page, "200")
    upload(page, ("hill.png", PICTURE))
    wait_done(page)
    assert page.evaluate("after.naturalWidth") == 200
    page.check("label:has-text('Keep outlines hard') input")
    page.click("#notice-do")
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-detail") == "With these settings, it can be made ×4 at most, 124 × 80 pixels."
    page.fill("#amount", "110")
    page.click("#notice-do")
    wait_done(page)
    assert text(page, ".entry-what") == "110 px, nearest_ink"


@pytest.mark.parametrize("lang", ["en", "de", "fr", "es", "zh", "ja"])
@pytest.mark.parametrize("width", [320, 390])
def test_the_size_fits_on_a_phone_in_every_language(several: Running, visit: Visit, width: int, lang: str) -> None:
    page = visit(f"{several.url}?long_side=3840&lang={lang}", width=width, height=700, has_touch=True)
    page.wait_for_selector("#scales label:has([value='8'])")
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") == width
        frame = page.locator("#settings").bounding_box()
        for control in page.locator(".choice span:visible, #amount:visible, #settings select:visible").all():
            box = control.bounding_box()
            assert box["height"] >= 40
            assert box["x"] >= frame["x"]
            assert box["x"] + box["width"] <= frame["x"] + frame["width"], control.inner_text()
        upload(page, ("hill.png", png(10, 600)))
        page.wait_for_selector(".entry")
