"""A service that is away, starting, locked, or has forgotten: nothing is lost, and the page says what it waits for."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.support import KEY, Running, Visit, choose_right, png, text, until, upload, wait_done

pytestmark = pytest.mark.browser


def cut(page: Any) -> None:
    """From now on nothing that the page asks for arrives."""
    page.route("**/*", lambda route: route.abort())


def mend(page: Any) -> None:
    page.unroute("**/*")


def try_now(page: Any) -> None:
    """Presses the button, which may go away any moment, as the page also tries by itself."""
    page.dispatch_event("#banner-do", "click")


def test_a_lost_connection_fails_no_picture(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    until(page, "document.querySelector('#limits').textContent !== ''")
    cut(page)
    upload(page, *((f"{n}.png", png(20 + n, 30)) for n in range(5)))
    page.wait_for_selector("#banner:not([hidden])")
    assert text(page, "#banner-words") == "The service cannot be reached. Your pictures are waiting."
    assert page.locator("#said").text_content() == "The service cannot be reached. Your pictures are waiting."
    until(page, "document.querySelector('#banner-quiet').textContent.startsWith('Trying again in ')")
    until(page, "document.querySelectorAll('.entry[data-state=held], .entry[data-state=waiting]').length === 5")
    assert page.locator(".entry[data-state=waiting]").count() >= 3  # nothing more is sent meanwhile
    mend(page)
    try_now(page)
    for nth in range(1, 6):
        page.wait_for_selector(f".entry:nth-child({nth})[data-state=done]")
    assert page.locator("#banner").is_hidden()


def test_a_job_continues_when_the_connection_is_back(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url, may_complain=True)
    page.route("**/events", lambda route: route.abort())
    with page.expect_response(lambda answer: "/jobs/" in answer.url):
        upload(page, ("hill.png", png(20, 30)))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    cut(page)
    page.wait_for_selector(".entry[data-state=held]")
    service.pace.go()
    mend(page)
    try_now(page)
    wait_done(page)
    assert "POST" not in sent


def test_a_picture_whose_acceptance_was_lost_is_not_computed_twice(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    begun: list[str] = []

    def lost(route: Any) -> None:
        begun.append(route.fetch().json()["id"])
        if len(begun) == 1:
            route.abort()
        else:
            route.fulfill(status=202, json={"id": begun[-1], "state": "queued", "progress": {"done": 0, "total": 0}})

    page.route("**/upscale?*", lambda route: lost(route) if route.request.method == "POST" else route.continue_())
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert len(begun) == 2
    assert begun[0] == begun[1]


@pytest.mark.parametrize("asked", ["**/jobs/*", "**/upscale?level=*"])
def test_a_job_is_kept_when_a_question_about_it_is_refused(service: Running, visit: Visit, asked: str) -> None:
    """As a proxy that limits the rate of requests may, or the service itself while the store of the results is away."""
    page = visit(service.url, may_complain=True)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.route("**/events", lambda route: route.abort())
    refused: list[int] = []

    def refuse(route: Any) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(429)
            route.fulfill(status=429, headers={"Retry-After": "1"}, body="Slow down")

    page.route(asked, refuse)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert refused
    assert sent.count("POST") == 1


def test_pauses_end_by_the_clock(service: Running, visit: Visit) -> None:
    """In the background, timers fire once a minute, and each may be the end of more than one second."""
    page = visit("about:blank", may_complain=True)
    page.clock.install()
    page.goto(service.url)
    until(page, "document.querySelector('#limits').textContent !== ''")
    busy = {"type": "urn:lapsrn:problem:queue-full", "title": "Busy"}
    page.route("**/upscale?scale*", lambda route: route.fulfill(status=503, headers={"Retry-After": "300"}, json=busy))
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector(".entry[data-state=held]")
    page.unroute("**/upscale?scale*")
    page.clock.fast_forward(301_000)
    page.clock.resume()
    wait_done(page)


WATCHED = """() => {
    window.seen = [];
    const quiet = document.querySelector("#banner-quiet");
    const note = () => window.seen.push(...(quiet.textContent.match(/[0-9]+/) ?? []).map(Number));
    new MutationObserver(note).observe(quiet, { childList: true, characterData: true, subtree: true });
}"""


def test_pauses_between_retries_grow(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    page.evaluate(WATCHED)
    cut(page)
    upload(page, ("hill.png", png(20, 30)))
    for seconds in (2, 4, 8):
        until(page, f"window.seen.includes({seconds})")
        page.click("#banner-do")
    until(page, "window.seen.includes(15)")
    seen = [0, *page.evaluate("window.seen")]
    assert [later for before, later in pairwise(seen) if later > before][:4] == [2, 4, 8, 15]
    mend(page)
    try_now(page)
    wait_done(page)


def test_a_502_from_a_proxy_counts_as_an_outage(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    page.route("**/*", lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad gateway</h1>"))
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector("#banner:not([hidden])")
    mend(page)
    try_now(page)
    wait_done(page)


@pytest.mark.parametrize("asked", ["**/upscale?scale=*", "**/jobs/*", "**/upscale?level=*"])
def test_the_page_of_a_captive_portal_counts_as_an_outage(service: Running, visit: Visit, asked: str) -> None:
    page = visit(service.url, may_complain=True)
    page.route("**/jobs/*/events", lambda route: route.abort())
    page.route(asked, lambda route: route.fulfill(status=200, content_type="text/html", body="Log in!"), times=1)
    picture = png(20, 30)
    upload(page, ("hill.png", picture))
    page.wait_for_selector(".entry[data-state=held]")
    wait_done(page)
    assert page.evaluate("after.naturalWidth") == 120


def test_an_error_for_a_single_picture_is_reported(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    page.route("**/upscale*", lambda route: route.abort())
    upload(page, ("hill.png", png(20, 30)))
    while page.locator(".entry[data-state=failed]").count() == 0:
        if page.locator("#banner-do").is_visible():
            page.evaluate("document.querySelector('#banner-do').click()")
        page.wait_for_timeout(20)
    assert text(page, "#trouble-title") == "The service does not answer"
    page.unroute("**/upscale*")
    page.click("#trouble-again")
    wait_done(page)


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_file_that_is_gone_is_told_from_a_service_that_is_away(
    service: Running, visit: Visit, tmp_path: Path, looked_at: bool
) -> None:
    page = visit(service.url, may_complain=True)
    service.pace.hold()
    ahead = [tmp_path / f"{n}.png" for n in range(2)]
    gone = tmp_path / "gone.png"
    for path in (*ahead, gone):
        path.write_bytes(png(20, 30))
    page.set_input_files("#files", [*map(str, ahead), str(gone)])
    if looked_at:
        page.wait_for_selector(".entry:nth-child(3) .entry-thumb > *")
    gone.unlink()
    service.pace.go()
    page.wait_for_selector(".entry:nth-child(3)[data-state=failed]")
    page.click(".entry:nth-child(3) .entry-open")
    assert text(page, "#trouble-title") == "The file can no longer be read"
    assert page.locator("#banner").is_hidden()


READ_FAILS_ONCE = """() => {
  const read = Blob.prototype.arrayBuffer;
  Blob.prototype.arrayBuffer = function () {
    if (this.size !== 1) return read.call(this);
    Blob.prototype.arrayBuffer = read;
    return Promise.reject(new DOMException("The I/O read operation failed.", "NotReadableError"));
  };
}"""
"""As in Safari when the page is left during an upload and comes back out of the back/forward cache."""


def test_a_file_that_can_be_read_a_moment_later_is_not_given_up(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    page.evaluate(READ_FAILS_ONCE)
    page.route("**/upscale*", lambda route: route.abort(), times=1)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)


def test_all_failed_pictures_can_be_retried_at_once(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    broken = {"type": "urn:lapsrn:problem:internal-error", "title": "Internal error", "request_id": "abc123"}
    page.route("**/upscale*", lambda route: route.fulfill(status=500, json=broken))
    upload(page, *((f"{n}.png", png(20, 30)) for n in range(3)), ("notes.png", b"no picture"))
    until(page, "document.querySelectorAll('.entry[data-state=failed]').length === 4")
    assert "abc123" in text(page, "#trouble-detail")
    page.unroute("**/upscale*")
    assert text(page, "#retry-all") == "Try all 4 again"
    page.click("#retry-all")
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 3")
    page.wait_for_selector(".entry:nth-child(4)[data-state=failed]")
    assert page.locator("#retry-all").is_hidden()  # no picture at all stays no picture


def test_a_declined_key_can_be_entered_later(locked: Running, visit: Visit) -> None:
    page = visit(locked.url, may_complain=True)
    upload(page, ("hill.png", png(20, 30)), ("dale.png", png(30, 20)))
    page.wait_for_selector("#key[open]")
    page.click("#key-cancel")
    assert text(page, "#banner-words") == "This service takes pictures only with an API key. Yours are waiting."
    page.click("#banner-do")
    page.wait_for_selector("#key[open]")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".entry:nth-child(1)[data-state=done]")
    page.wait_for_selector(".entry:nth-child(2)[data-state=done]")
    assert page.locator("#banner").is_hidden()


def test_another_picture_asks_for_the_key_again(locked: Running, visit: Visit) -> None:
    page = visit(locked.url, may_complain=True)
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector("#key[open]")
    page.keyboard.press("Escape")
    upload(page, ("dale.png", png(20, 30)))
    page.wait_for_selector("#key[open]")


def test_a_page_opened_during_the_start_loads_the_models_later(several: Running, visit: Visit) -> None:
    page = visit("about:blank", may_complain=True)
    starting = {"type": "urn:lapsrn:problem:warming-up", "title": "Starting"}
    page.route("**/model", lambda route: route.fulfill(status=503, json=starting))
    page.goto(several.url)
    page.wait_for_selector("#banner:not([hidden])")
    assert "The service is starting" in text(page, "#banner-words")
    assert page.locator("#scales label:visible").count() == 3
    page.unroute("**/model")
    page.wait_for_selector("#scales label:has([value='8'])")
    assert page.locator("#banner").is_hidden()


def test_the_models_are_reloaded_after_an_outage(several: Running, visit: Visit) -> None:
    page = visit("about:blank", may_complain=True)
    answer = httpx.get(f"{several.url}model").json()
    answer["models"] = answer["models"][:1]
    page.route("**/model", lambda route: route.fulfill(json=answer))
    page.goto(several.url)
    until(page, "document.querySelector('#limits').textContent !== ''")
    page.unroute("**/model")
    cut(page)
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector("#banner:not([hidden])")
    mend(page)
    page.click("#banner-do")
    page.wait_for_selector("#scales label:has([value='8'])")


def test_a_level_that_has_expired_can_be_made_again(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    with page.expect_response(lambda answer: "level=" in answer.url) as caught:
        upload(page, ("hill.png", png(40, 60)))
    wait_done(page)
    httpx.delete(caught.value.url.replace("level=4&", "")).raise_for_status()
    choose_right(page, "×2")
    until(page, "!document.querySelector('#notice').hidden")
    assert text(page, "#notice-words") == "×2 is no longer kept by the service."
    assert page.evaluate("[after.naturalWidth, right.selectedOptions[0].text]") == [240, "×4"]
    page.click("#notice-do")
    until(page, "after.naturalWidth === 120")
    assert page.locator(".entry-what").inner_text() == "×2"
    assert page.locator("#notice").is_hidden()
