"""More than one network: what the page offers is what the service has."""

from typing import Any

import httpx
import pytest

from tests.web.support import Running, Visit, choose_right, png, text, until, upload, wait_done

pytestmark = pytest.mark.browser
JPEG = "label:has-text('Clean up JPEG traces') input"


def shown(page: Any) -> tuple[list[str], bool]:
    """The factors on offer, and whether cleaning is."""
    factors = page.eval_on_selector_all(
        "#scales label", "labels => labels.filter(it => it.checkVisibility()).map(it => it.textContent)"
    )
    return factors, page.is_visible(JPEG)


def requests_of(page: Any) -> list[str]:
    """Query strings of the uploads from now on."""
    seen: list[str] = []

    def note(request: Any) -> None:
        if request.method == "POST":
            seen.append(request.url.partition("?")[2])

    page.on("request", note)
    return seen


def test_a_single_network_offers_its_scales(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    until(page, "document.getElementById('limits').textContent !== ''")
    assert shown(page) == (["×2", "×4", "Size"], False)


def test_x8_is_offered_with_every_level_below_it(several: Running, visit: Visit) -> None:
    page = visit(several.url)
    page.wait_for_selector("#scales label:has([value='8'])")
    assert shown(page) == (["×2", "×4", "×8", "Size"], True)
    page.click("#scales label:has([value='8'])")
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert page.evaluate("after.naturalWidth") == 240
    choose_right(page, "×4")
    until(page, "after.naturalWidth === 120")


def test_choosing_a_purpose_requests_its_network(several: Running, visit: Visit) -> None:
    """And at x8, which it has not, for none, and says so."""
    page = visit(several.url)
    page.wait_for_selector(JPEG)
    seen = requests_of(page)
    page.check(JPEG)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    page.click("#scales label:has([value='8'])")
    assert page.is_disabled(JPEG)
    assert "Not at ×8" in page.locator("label:has-text('Clean up JPEG traces')").inner_text()
    upload(page, ("dale.png", png(10, 20)))
    page.wait_for_selector(".entry:nth-child(2)[data-state=done]")
    assert seen == ["scale=4&model=nearest_jpeg", "scale=8"]


def test_only_one_purpose_can_be_chosen_at_a_time(several: Running, visit: Visit) -> None:
    page = visit(several.url)
    page.wait_for_selector(JPEG)
    seen = requests_of(page)
    page.check(JPEG)
    page.check("label:has-text('Keep outlines hard') input")
    assert not page.is_checked(JPEG)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert seen == ["scale=4&model=nearest_ink"]


def test_the_clean_up_strength_is_sent(several: Running, visit: Visit) -> None:
    """Of a network that has one; the network that is its full strength is no choice of its own."""
    page = visit("about:blank", may_complain=True)
    model = httpx.get(f"{several.url}model").json()
    networks = {network["name"]: network for network in model["models"]}
    networks["nearest"]["clean"] = True
    networks["nearest_jpeg"]["full_strength_of"] = "nearest"
    page.route("**/model", lambda route: route.fulfill(json=model))
    page.route(
        "**/upscale*", lambda route: route.fulfill(status=500, json={"type": "urn:lapsrn:problem:internal-error"})
    )
    page.goto(several.url)
    page.wait_for_selector("#clean-row:not([hidden])")
    assert page.locator("#networks label").all_inner_texts() == ["Keep outlines hard"]
    seen = requests_of(page)
    upload(page, ("a.png", png(20, 30)))
    page.wait_for_selector(".entry:nth-child(1)[data-state=failed]")
    page.select_option("#clean", label="Light")
    upload(page, ("b.png", png(20, 30)))
    page.wait_for_selector(".entry:nth-child(2)[data-state=failed]")
    assert text(page, ".entry:nth-child(2) .entry-name") == "b.png"
    page.click("#scales label:has([value='8'])")
    assert page.is_disabled("#clean")
    assert text(page, "#clean-reason") == "Not at ×8"
    upload(page, ("c.png", png(20, 30)))
    page.wait_for_selector(".entry:nth-child(3)[data-state=failed]")
    assert seen == ["scale=4", "scale=4&clean=0.25", "scale=8"]
