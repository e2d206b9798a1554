"""The comparison: divider, zoom and place, by mouse, touch and keys."""

from typing import Any

import pytest

from tests.web.support import Running, Visit, png, until, upload, wait_done

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shown(running: Running, visit_long: Visit) -> Any:
    """A page that shows a picture, 300 wide and 150 high, with its result."""
    page = visit_long(running.url)
    upload(page, ("hill.png", png(150, 300)))
    wait_done(page)
    return page


@pytest.fixture
def page(shown: Any) -> Any:
    """The same page for every test, fitted and divided in the middle."""
    shown.set_viewport_size({"width": 1280, "height": 800})
    shown.focus("#knob")
    for key in ["Home", "PageUp", "PageUp", "PageUp", "PageUp", "PageUp", "0"]:
        shown.keyboard.press(key)
    place(shown)  # waits until all of that is drawn
    return shown


def share(page: Any) -> int:
    """Percent of the original, as announced to a screen reader; after the next frame."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return int(page.locator("#knob").get_attribute("aria-valuenow"))


def place(page: Any) -> dict[str, float]:
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return dict(page.locator("#after").bounding_box())


def test_both_pictures_are_aligned(page: Any) -> None:
    assert page.locator("#before").bounding_box() == place(page)
    assert page.evaluate("[before.naturalHeight, before.naturalWidth]") == [150, 300]


def test_a_finished_picture_starts_with_the_divider_in_the_middle(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    assert share(page) == 50


@pytest.mark.parametrize(
    ("keys", "percent"),
    [
        (["ArrowRight"], 52),
        (["ArrowUp"], 52),
        (["ArrowLeft"], 48),
        (["ArrowDown"], 48),
        (["Shift+ArrowRight"], 60),
        (["PageUp"], 60),
        (["PageDown"], 40),
        (["Home"], 0),
        (["End"], 100),
        (["Home", "ArrowLeft"], 0),
        (["End", "ArrowRight", "ArrowLeft"], 98),
    ],
)
def test_keys_move_the_divider(page: Any, keys: list[str], percent: int) -> None:
    page.focus("#knob")
    for key in keys:
        page.keyboard.press(key)
    assert share(page) == percent
    assert page.locator("#knob").get_attribute("aria-valuetext") == (f"{percent}% Original, {100 - percent}% ×4")


@pytest.mark.parametrize("target", [0.1, 0.75])
def test_the_mouse_drags_the_divider(page: Any, target: float) -> None:
    box, knob = place(page), page.locator("#knob").bounding_box()
    y = knob["y"] + knob["height"] / 2
    page.mouse.move(knob["x"] + knob["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], y, steps=3)
    page.mouse.move(box["x"] + target * box["width"], y, steps=3)
    page.mouse.up()
    assert share(page) == round(100 * target)
    clip = page.locator("#layer-after").evaluate("layer => layer.style.clipPath")
    view = page.locator("#canvas").bounding_box()
    assert float(clip.split()[-1].rstrip("px)")) == pytest.approx(box["x"] - view["x"] + target * box["width"], abs=1.5)


def test_clicking_a_fitted_picture_moves_the_divider_there(page: Any) -> None:
    box = place(page)
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 10)
    assert share(page) == 20


def test_one_to_one_maps_result_pixels_to_screen_pixels(page: Any) -> None:
    page.click("#zoom-one")
    box = place(page)
    assert (box["width"], box["height"]) == (1200, 600)
    assert page.locator("#zoom-value").inner_text() == "100%"


def test_one_to_one_maps_to_device_pixels_on_dense_screens(service: Running, visit: Visit) -> None:
    page = visit(service.url, device_scale_factor=2)
    upload(page, ("hill.png", png(150, 300)))
    wait_done(page)
    page.click("#zoom-one")
    box = place(page)
    assert (box["width"], box["height"]) == (600, 300)


def test_dragging_a_zoomed_picture_never_leaves_a_gap(page: Any) -> None:
    page.click("#zoom-one")
    page.click("#zoom-in")
    view, before = page.locator("#canvas").bounding_box(), place(page)
    x, y = view["x"] + 50, view["y"] + 50
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y - 20)
    after = place(page)
    assert (after["x"] - before["x"], after["y"] - before["y"]) == (-30, -20)
    page.mouse.move(x + 3000, y + 3000)
    page.mouse.up()
    corner = place(page)
    assert (corner["x"], corner["y"]) == (view["x"], view["y"])
    assert share(page) == 50


@pytest.mark.parametrize(
    ("key", "dx", "dy"), [("ArrowLeft", 60, 0), ("ArrowRight", -60, 0), ("ArrowUp", 0, 60), ("ArrowDown", 0, -60)]
)
def test_keys_move_the_picture(page: Any, key: str, dx: int, dy: int) -> None:
    page.focus("#canvas")
    page.keyboard.press("1")
    for _ in range(3):
        page.keyboard.press("+")
    before = place(page)
    page.keyboard.press(key)
    after = place(page)
    assert (after["x"] - before["x"], after["y"] - before["y"]) == (dx, dy)


def test_plus_minus_1_and_0_zoom(page: Any) -> None:
    fitted = place(page)
    page.focus("#canvas")
    page.keyboard.press("1")
    page.keyboard.press("+")
    assert place(page)["width"] == pytest.approx(1200 * 1.25)
    page.keyboard.press("-")
    assert place(page)["width"] == pytest.approx(1200)
    page.keyboard.press("0")
    assert place(page) == fitted


def test_the_wheel_zooms_around_the_pointer(page: Any) -> None:
    page.click("#zoom-one")
    page.click("#zoom-in")
    before = place(page)
    x, y = 400.0, 300.0
    page.mouse.move(x, y)
    page.mouse.wheel(0, -200)
    after = place(page)
    assert after["width"] > before["width"]
    for at, start, length in ((x, "x", "width"), (y, "y", "height")):
        there = (at - before[start]) / before[length]
        assert (at - after[start]) / after[length] == pytest.approx(there, abs=0.002)


def test_a_double_click_toggles_one_to_one(page: Any) -> None:
    fitted = place(page)
    x, y = fitted["x"] + fitted["width"] / 2, fitted["y"] + fitted["height"] / 2 + 80
    page.mouse.dblclick(x, y)
    assert place(page)["width"] == 1200
    page.mouse.dblclick(x, y)
    assert place(page) == fitted


def test_two_fingers_zoom(service: Running, visit: Visit) -> None:
    page = visit(service.url, width=390, height=844, has_touch=True)
    upload(page, ("hill.png", png(150, 300)))
    wait_done(page)
    before = place(page)
    middle_x, middle_y = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind: str, apart: float) -> None:
        points = [{"x": middle_x + side * apart, "y": middle_y, "id": side + 2} for side in (-1, 1)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if kind != "touchEnd" else []})

    touch("touchStart", 30)
    for apart in (45, 60, 75, 90):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert place(page)["width"] / before["width"] == pytest.approx(3, rel=0.1)


GESTURE = """([name, scale, at]) => {
  const event = new Event(name, { bubbles: true, cancelable: true });
  canvas.dispatchEvent(Object.assign(event, { scale, clientX: at.x, clientY: at.y }));
  return event.defaultPrevented;
}"""
"""What Safari tells of two fingers on a Mac's trackpad."""


def test_two_fingers_on_the_trackpad_zoom_in_safari(page: Any) -> None:
    before = place(page)
    at = {"x": before["x"] + before["width"] / 4, "y": before["y"] + before["height"] / 2}
    for name, scale in (("gesturestart", 1), ("gesturechange", 1.5), ("gesturechange", 3)):
        assert page.evaluate(GESTURE, [name, scale, at])
    after = place(page)
    assert after["width"] / before["width"] == pytest.approx(3, rel=0.01)
    assert after["x"] + after["width"] / 4 == pytest.approx(at["x"], abs=1)


def test_one_finger_scrolls_the_page_or_moves_the_divider(service: Running, visit: Visit) -> None:
    page = visit(service.url, width=390, height=844, has_touch=True, is_mobile=True)
    upload(page, ("hill.png", png(300, 300)))
    wait_done(page)
    box = place(page)
    x, y = box["x"] + 0.2 * box["width"], box["y"] + 0.9 * box["height"]
    session = page.context.new_cdp_session(page)

    def touch(*points: tuple[float, float]) -> None:
        for kind, at in [("touchStart", points[0]), *[("touchMove", at) for at in points[1:]], ("touchEnd", None)]:
            touched = [{"x": at[0], "y": at[1]}] if at else []
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})

    touch(*[(x, y - 15 * step) for step in range(10)])
    until(page, "scrollY > 20")
    assert share(page) == 50
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    touch((x, y))
    until(page, "knob.ariaValueNow === '20'")
    touch(*[(x + 0.05 * box["width"] * step, y) for step in range(10)])
    until(page, "knob.ariaValueNow === '65'")


def test_the_zoom_is_announced_only_when_it_changes(page: Any) -> None:
    """It is a live region, which a screen reader reads whenever something is written to it."""
    page.evaluate(
        """() => {
          window.written = [];
          const value = document.querySelector("#zoom-value");
          new MutationObserver(() => written.push(value.textContent)).observe(value, { childList: true });
        }"""
    )
    for _ in range(3):
        page.keyboard.press("PageUp")
        share(page)
    page.click("#zoom-one")
    share(page)
    assert page.evaluate("written") == ["100%"]


def test_a_fitted_picture_still_fits_after_resizing_the_window(page: Any) -> None:
    page.set_viewport_size({"width": 1000, "height": 600})
    view, box = page.locator("#canvas").bounding_box(), place(page)
    assert view["x"] < box["x"]
    assert box["x"] + box["width"] < view["x"] + view["width"]
    assert box["y"] + box["height"] <= view["y"] + view["height"]
