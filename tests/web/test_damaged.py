"""Pictures that are damaged, animated or of a kind that is not taken: what is wrong, and the way out."""

import io

import httpx
import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from app.formats import FORMATS
from tests.web.support import Running, Visit, text, until, upload, wait_done
from tests.web.test_header import HEIGHT, WIDTH, heic

pytestmark = pytest.mark.browser
WHOLE_ONLY = {"avif", "heic"}


def cut(kind: str) -> bytes:
    """Two thirds of a file. A JPEG XL is large enough for several of its groups."""
    size = (600, 320, 3) if kind == "jxl" else (200, 120, 3)
    pixels = np.random.default_rng(1).integers(0, 255, size, dtype=np.uint8)
    body = io.BytesIO()
    if kind == "jxl":
        body.write(imagecodecs.jpegxl_encode(pixels, distance=1.0))
    elif kind == "heic":
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(body)
    else:
        Image.fromarray(pixels).save(body, kind)
    return body.getvalue()[: 2 * len(body.getvalue()) // 3]


def animation(kind: str) -> bytes:
    frames = [Image.new("L", (16, 12), shade) for shade in (0, 90, 200)]
    body = io.BytesIO()
    frames[0].save(body, kind, save_all=True, append_images=frames[1:])
    return body.getvalue()


@pytest.mark.parametrize("kind", [row.name for row in FORMATS if row.name not in WHOLE_ONLY])
def test_the_decodable_part_of_a_damaged_picture_is_offered(service: Running, visit: Visit, kind: str) -> None:
    page = visit(service.url, may_complain=True)
    upload(page, (f"hill.{kind}", cut(kind)))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-title") == "The file is damaged"
    page.click("#trouble-remedies button:has-text('Take the readable part')")
    wait_done(page)
    height, width = page.evaluate("[after.naturalHeight, after.naturalWidth]")
    assert (height, width) == ((2400, 1280) if kind == "jxl" else (800, 480))
    assert text(page, "#partial") == "The file was damaged. This is what could be read of it."


@pytest.mark.parametrize("kind", sorted(WHOLE_ONLY))
def test_formats_that_cannot_be_decoded_in_part_are_explained(service: Running, visit: Visit, kind: str) -> None:
    page = visit(service.url, may_complain=True)
    upload(page, (f"hill.{kind}", cut(kind)))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-detail").startswith(f"A file in {kind.upper()} can only be read as a whole.")
    assert page.locator("#trouble-remedies button").count() == 0


def test_nothing_is_offered_if_no_pixel_can_be_decoded(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    upload(page, ("hill.png", cut("PNG")[:40]))
    page.wait_for_selector(".entry[data-state=failed]")
    page.click("#trouble-remedies button:has-text('Take the readable part')")
    until(page, "document.querySelector('#trouble-detail').textContent.startsWith('None of it can be read.')")
    assert page.locator("#trouble-remedies button").count() == 0


@pytest.mark.parametrize(("format", "offered"), [("png", 2), ("webp", 2), ("jpeg", 1)])
def test_an_animation_offers_only_choices_that_the_format_can_hold(
    service: Running, visit: Visit, format: str, offered: int
) -> None:
    page = visit(f"{service.url}?format={format}", may_complain=True)
    upload(page, ("film.gif", animation("GIF")))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-title") == "This is an animation"
    ways = ["Take the first frame", "Take all frames"][:offered]
    assert page.locator("#trouble-remedies button").all_inner_texts() == ways
    page.click(f"#trouble-remedies button:has-text('{ways[-1]}')")
    wait_done(page)
    assert page.evaluate("[after.naturalHeight, after.naturalWidth]") == [48, 64]


def test_a_heic_photo_is_accepted(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    until(page, "files.accept.includes('.heic')")
    upload(page, ("IMG_0001.HEIC", heic()), media_type="image/heic")
    wait_done(page)
    assert page.evaluate("[after.naturalHeight, after.naturalWidth]") == [4 * HEIGHT, 4 * WIDTH]


def test_a_heic_photo_is_refused_before_the_upload_if_not_accepted(service: Running, visit: Visit) -> None:
    page = visit("about:blank")
    model = httpx.get(f"{service.url}model").json()
    model["limits"]["formats"].remove("HEIC")
    page.route("**/model", lambda route: route.fulfill(json=model))
    page.goto(service.url)
    until(page, "document.querySelector('#limits').textContent !== ''")
    assert ".heic" not in page.evaluate("files.accept")  # so that an iPhone sends a JPEG
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    upload(page, ("IMG_0001.HEIC", heic()))
    page.wait_for_selector(".entry[data-state=failed]")
    assert "This is a HEIC photo, as iPhones take them." in text(page, "#trouble-detail")
    assert "Most Compatible" in text(page, "#trouble-detail")
    assert "POST" not in sent
