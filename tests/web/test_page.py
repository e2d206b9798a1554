"""The page, used as a person uses it: pictures in, progress, comparison, download, trouble."""

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.web.support import KEY, Running, Visit, choose_right, png, text, until, upload, wait_done

pytestmark = pytest.mark.browser

HEIGHT, WIDTH = 150, 300  # cut into several tiles of at most 128


def natural_size(page: Any) -> list[int]:
    return list(page.evaluate("[after.naturalHeight, after.naturalWidth]"))


def test_a_chosen_picture_is_upscaled_four_times(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(HEIGHT, WIDTH)))
    wait_done(page)
    assert natural_size(page) == [4 * HEIGHT, 4 * WIDTH]
    facts = text(page, "#facts")
    assert f"{WIDTH} × {HEIGHT}" in facts
    assert f"{4 * WIDTH} × {4 * HEIGHT}" in facts
    assert text(page, "#facts div:last-child dd").endswith(" s")
    assert page.locator("#said").text_content() == "hill.png is done: 1200 × 600"


def test_at_x2_there_is_only_one_level(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    page.check("#scales input[value='2']", force=True)
    upload(page, ("hill.png", png(40, 60)))
    wait_done(page)
    assert natural_size(page) == [80, 120]
    assert page.locator("#right option").all_inner_texts() == ["×2"]


def test_progress_is_shown_in_percent(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url)
    upload(page, ("hill.png", png(HEIGHT, WIDTH)))
    page.wait_for_selector(".entry[data-state=queued], .entry[data-state=running]")
    service.pace.step()
    until(page, r"/^[1-9][\d.]*%/.test(document.querySelector('#work-text').textContent)")
    done = float(text(page, "#work-text").split("%")[0]) / 100
    assert 0 < done < 1
    share = float(page.locator("#work-bar").evaluate("bar => bar.value"))
    assert share == pytest.approx(0.1 + 0.8 * done, abs=0.01)
    assert page.locator("#tools").is_hidden()
    service.pace.go()
    wait_done(page)
    assert page.locator("#work").is_hidden()
    assert page.locator("#tile-overlay").is_hidden()


@pytest.mark.parametrize("key", ["“quoted”", "broken\u200bkey", "鍵"])
def test_an_invalid_key_is_refused_in_the_dialog(locked: Running, visit: Visit, key: str) -> None:
    page = visit(locked.url, may_complain=True)
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector("#key[open]")
    page.fill("#key-value", key)
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('#key').open")
    words = "The service did not accept this key. Check it for typing errors, or ask for another."
    assert page.evaluate("document.querySelector('#key-value').validationMessage") == words
    page.fill("#key-value", f" {KEY}\u00a0")
    page.keyboard.press("Enter")
    wait_done(page)


HELD_HALFWAY = """() => {
  const real = window.fetch;
  window.fetch = async (url, options) => {
    const answer = await real(url, options);
    if (!String(url).includes("level=")) return answer;
    const whole = new Uint8Array(await answer.arrayBuffer());
    const half = Math.round(whole.length / 2);
    const start = async (out) => {
      out.enqueue(whole.slice(0, half));
      await new Promise((go) => (window.go = go));
      out.enqueue(whole.slice(half));
      out.close();
    };
    return new Response(new ReadableStream({ start }), { headers: answer.headers });
  };
}"""
"""Lets half of a result through, and the rest after `go()`."""


def test_the_progress_of_the_download_is_shown_in_percent(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    page.evaluate(HELD_HALFWAY)
    picture = png(40, 60)
    upload(page, ("hill.png", picture))
    until(page, "document.querySelector('#work-text').textContent === 'Fetching the result, 50%'")
    assert float(page.locator("#work-bar").evaluate("bar => bar.value")) == pytest.approx(0.95, abs=0.001)
    page.evaluate("go()")
    wait_done(page)
    with page.expect_download() as caught:
        page.click("#download")
    assert Path(caught.value.path()).read_bytes() == service.upscale(picture, 4)


def test_several_pictures_are_processed_and_each_can_be_viewed(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, *((f"{n}.png", png(20 + n, 30)) for n in range(4)))
    for nth in range(1, 5):
        page.wait_for_selector(f".entry:nth-child({nth})[data-state=done]")
    page.click(".entry:nth-child(3) .entry-open")
    assert text(page, "#stage-title") == "2.png"
    assert page.locator(".entry-open[aria-current=true] .entry-name").inner_text() == "2.png"
    until(page, "after.naturalHeight === 88")
    assert text(page, "#count") == "4 of 4 done"


@pytest.mark.parametrize("level", [4, 2])
def test_the_download_has_the_bytes_of_the_api(service: Running, visit: Visit, level: int) -> None:
    picture = png(HEIGHT, WIDTH, seed=level)
    page = visit(service.url)
    upload(page, ("my hill.jpeg", picture))
    wait_done(page)
    choose_right(page, f"×{level}")
    page.wait_for_selector(f"#download:has-text('×{level}')")
    with page.expect_download() as caught:
        page.click("#download")
    assert caught.value.suggested_filename == f"my hill-x{level}.png"
    assert Path(caught.value.path()).read_bytes() == service.upscale(picture, level)


def test_switching_the_level_keeps_the_view(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(HEIGHT, WIDTH)))
    wait_done(page)
    before = page.locator("#after").bounding_box()
    choose_right(page, "×2")
    until(page, f"after.naturalWidth === {2 * WIDTH}")
    assert page.locator("#after").bounding_box() == before
    assert f"{2 * WIDTH} × {2 * HEIGHT}" in text(page, "#facts")
    assert page.locator("#after").get_attribute("alt") == "hill.png, ×2"


def test_a_file_that_is_not_a_picture_is_reported_with_the_accepted_formats(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    upload(page, ("notes.png", b"these are notes"))
    page.wait_for_selector(".entry[data-state=failed]")
    title, detail = "This kind of file is not supported", text(page, "#trouble-detail")
    assert text(page, "#trouble-title") == title
    assert detail == "Save the picture as PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL, and add it again."
    assert page.locator("#trouble-again").is_hidden()  # the same file would fail again
    assert page.locator("#alarm").text_content() == f"notes.png: {title}. {detail}"


def test_an_animation_offers_its_first_frame(service: Running, visit: Visit) -> None:
    frames = [Image.new("L", (16, 12), shade) for shade in (0, 90, 200)]
    body = io.BytesIO()
    frames[0].save(body, "GIF", save_all=True, append_images=frames[1:])
    page = visit(service.url, may_complain=True)
    upload(page, ("film.gif", body.getvalue()), media_type="image/gif")
    page.click("#trouble-remedies button:has-text('first frame')")
    wait_done(page)
    assert natural_size(page) == [48, 64]


def test_one_bad_picture_does_not_stop_the_others(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    upload(page, ("bad.png", b"no"), ("good.png", png(20, 30)))
    page.wait_for_selector(".entry:nth-child(1)[data-state=failed]")
    page.wait_for_selector(".entry:nth-child(2)[data-state=done]")


def test_a_file_beyond_the_limit_is_not_sent(service: Running, visit: Visit) -> None:
    page = visit("about:blank")
    model = httpx.get(f"{service.url}model").json()
    model["limits"]["max_input_bytes"] = 2000
    page.route("**/model", lambda route: route.fulfill(json=model))
    page.goto(service.url)
    until(page, "document.querySelector('#limits').textContent.includes('up to 2 kB')")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    upload(page, ("huge.png", bytes(3000)))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-detail").startswith("It is 3 kB, and this service takes up to 2 kB.")
    assert "POST" not in sent


def test_a_busy_service_is_retried_after_its_retry_time(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    refusals = [{"status": 503, "headers": {"Retry-After": "3"}, "body": '{"type": "urn:lapsrn:problem:queue-full"}'}]

    def refuse_once(route: Any) -> None:
        if route.request.method == "POST" and refusals:
            route.fulfill(**refusals.pop())
        else:
            route.continue_()

    page.route("**/upscale*", refuse_once)
    upload(page, ("hill.png", png(20, 30)))
    until(page, "document.querySelector('#work-text').textContent === 'The service is busy. Trying again in 2 s'")
    wait_done(page)
    assert not refusals


def test_a_job_that_fails_for_lack_of_room_is_retried(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    error = {"type": "urn:lapsrn:problem:queue-full", "title": "Busy", "detail": "Queue full.", "status": 503}
    job = {"id": "x", "state": "failed", "progress": {"done": 0, "total": 0}, "results": {}, "error": error}
    page.route("**/jobs/*/events", lambda route: route.abort())
    page.route("**/jobs/*", lambda route: route.fulfill(json=job))
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector(".entry[data-state=held]")
    page.unroute("**/jobs/*")
    wait_done(page)


def test_without_event_streams_the_page_polls(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    page.route("**/events", lambda route: route.abort())
    service.pace.hold()
    upload(page, ("hill.png", png(20, 30)))
    for _ in range(2):
        with page.expect_response(lambda answer: "/jobs/" in answer.url):
            pass
    service.pace.go()
    wait_done(page)


def test_a_key_is_requested_only_when_needed_and_kept_for_the_tab(locked: Running, visit: Visit) -> None:
    picture = png(20, 30)
    page = visit(locked.url, may_complain=True)
    assert page.locator("#key").is_hidden()
    upload(page, ("hill.png", picture))
    page.wait_for_selector("#key[open]")
    assert page.evaluate("document.activeElement.id") == "key-value"
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key[open]")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    wait_done(page)
    with page.expect_download() as caught:
        page.click("#download")
    assert Path(caught.value.path()).read_bytes() == locked.upscale(picture, 4, {"X-API-Key": KEY})
    page.reload()
    upload(page, ("again.png", picture))
    wait_done(page)
    assert page.evaluate(f"Object.values(localStorage).join().includes('{KEY}')") is False


def test_removing_a_running_picture_cancels_its_job(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url)
    upload(page, ("hill.png", png(HEIGHT, WIDTH)))
    page.wait_for_selector(".entry[data-state=queued], .entry[data-state=running]")
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as caught:
        page.click(".entry-remove")
    assert caught.value.status == 204
    assert "/jobs/" in caught.value.url
    assert page.locator(".entry").count() == 0
    assert page.evaluate("document.activeElement.id") == "files"
    assert page.locator("#page").get_attribute("data-empty") == "true"


def test_removing_a_result_deletes_it_from_the_service(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as caught:
        page.click(".entry-remove")
        page.click("#toast-close")
    assert caught.value.status == 204
    assert httpx.get(caught.value.url + "&level=4").status_code == 404


def test_pasted_pictures_are_accepted(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    for _ in range(2):
        page.evaluate(
            """bytes => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
              const event = { clipboardData: data, bubbles: true, cancelable: true };
              document.dispatchEvent(new ClipboardEvent("paste", event));
            }""",
            list(png(20, 30)),
        )
    page.wait_for_selector(".entry:nth-child(2)[data-state=done]")
    assert page.locator(".entry-name").all_inner_texts() == ["pasted-1.png", "pasted-2.png"]


def dragged(page: Any) -> Any:
    """A picture as its file system would hand it over."""
    return page.evaluate_handle(
        """bytes => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
          return data;
        }""",
        list(png(20, 30)),
    )


def test_dropped_pictures_are_accepted_and_an_overlay_shows_where(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    data = dragged(page)
    page.dispatch_event("body", "dragenter", {"dataTransfer": data})
    assert page.locator("#drop").is_visible()
    page.dispatch_event("body", "dragleave", {"dataTransfer": data})
    page.wait_for_selector("#drop", state="hidden")
    page.dispatch_event("body", "dragenter", {"dataTransfer": data})
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    assert page.locator("#drop").is_hidden()
    wait_done(page)
    assert page.locator(".entry-name").all_inner_texts() == ["dropped.png"]


def test_the_overlay_goes_away_though_what_was_dragged_over_has_been_replaced(service: Running, visit: Visit) -> None:
    """Nobody hears that a file leaves an element that is no longer in the page."""
    page = visit(service.url)
    data = dragged(page)
    page.dispatch_event("#limits", "dragenter", {"dataTransfer": data})
    page.evaluate("document.querySelector('#limits').replaceWith(document.querySelector('#limits').cloneNode())")
    page.dispatch_event("body", "dragenter", {"dataTransfer": data})
    page.dispatch_event("body", "dragleave", {"dataTransfer": data})
    page.wait_for_selector("#drop", state="hidden")


DROPPED = """([target, type, body]) => {
    const data = new DataTransfer();
    data.setData(type, body);
    const event = { dataTransfer: data, bubbles: true, cancelable: true };
    const send = (name) => document.querySelector(target).dispatchEvent(new DragEvent(name, event));
    return [send("dragover"), send("drop")];
}"""


def test_a_dropped_link_does_not_replace_the_page(service: Running, visit: Visit) -> None:
    """Browsers open links, Firefox also pictures of other pages, where nobody prevents it."""
    page = visit(service.url)
    assert page.evaluate(DROPPED, ["h2", "text/plain", "http://a.test/"]) == [False, False]
    assert page.locator("#toast").is_hidden()
    assert page.evaluate(DROPPED, ["h2", "text/uri-list", "http://a.test/hill.png"]) == [False, False]
    assert text(page, "#toast-words").startswith("That was a link. Copy the picture")
    page.click("#scales label:has([value='fit'])")
    assert page.evaluate(DROPPED, ["#amount", "text/plain", "1920"]) == [True, True]


def test_a_picture_that_the_browser_cannot_read_is_shown_once_upscaled(service: Running, visit: Visit) -> None:
    body = io.BytesIO()
    Image.open(io.BytesIO(png(40, 60))).save(body, "TIFF")
    page = visit(service.url)
    upload(page, ("scan.tif", body.getvalue()), media_type="image/tiff")
    wait_done(page)
    assert natural_size(page) == [160, 240]
    assert page.locator("#knob").is_hidden()
    assert text(page, "#left option:checked") == "Compare with…"
    box = page.locator("#after").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1.5)
    page.select_option("#left", label="×2")
    page.wait_for_selector("#knob")
    page.select_option("#left", label="Compare with…")
    page.wait_for_selector("#knob", state="hidden")


def test_an_empty_file_is_called_empty(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", b""))
    page.wait_for_selector(".entry[data-state=failed]")
    assert text(page, "#trouble-title") == "The file is empty"
    assert page.locator("#trouble-again").is_hidden()


def test_the_page_works_behind_a_path_prefix(prefixed: Running, visit: Visit) -> None:
    page = visit(prefixed.url)
    upload(page, ("hill.png", png(40, 60)))
    wait_done(page)
    choose_right(page, "×2")
    until(page, "after.naturalWidth === 120")


def test_the_page_contacts_only_the_service_and_violates_no_policy(service: Running, visit: Visit) -> None:
    page = visit("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(service.url)
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((service.url, f"blob:{service.url}"))] == []
