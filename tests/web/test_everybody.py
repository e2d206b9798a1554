"""For everybody: keyboard, screen reader, dark rooms, phones, little motion."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import ARGUMENTS, CHROMIUM
from tests.web.support import Running, Visit, png, until, upload, wait_done

pytestmark = pytest.mark.browser


def complaints(page: Any, axe: str) -> list[str]:
    """What axe holds for serious or critical, with the elements."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{violation['id']}: {[node['html'] for node in violation['nodes']]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_issues(service: Running, visit: Visit, axe: str, scheme: str, width: int) -> None:
    page = visit(service.url, width=width, color_scheme=scheme, may_complain=True)
    assert complaints(page, axe) == []
    service.pace.hold()
    upload(page, ("hill.png", png(150, 300)), ("bad.png", b"no"))
    page.wait_for_selector(".entry:nth-child(2)[data-state=failed]")
    page.wait_for_selector(".entry:nth-child(1)[data-state=queued], .entry:nth-child(1)[data-state=running]")
    assert complaints(page, axe) == []
    page.click(".entry:nth-child(2) .entry-open")
    assert complaints(page, axe) == []
    service.pace.go()
    page.wait_for_selector(".entry:nth-child(1)[data-state=done]")
    page.click(".entry:nth-child(1) .entry-open")
    wait_done(page)
    page.select_option("#format", "jpeg")
    page.wait_for_selector("#notice:not([hidden])")
    assert complaints(page, axe) == []
    page.click(".entry:nth-child(2) .entry-remove")
    page.wait_for_selector("#toast:not([hidden])")
    assert complaints(page, axe) == []


def test_axe_finds_no_serious_issues_with_disabled_choices(several: Running, visit: Visit, axe: str) -> None:
    page = visit(several.url)
    page.click("#scales label:has([value='8'])")
    page.wait_for_selector(".tick[data-off=true]")
    assert complaints(page, axe) == []


def test_axe_finds_no_serious_issues_in_the_key_dialog(locked: Running, visit: Visit, axe: str) -> None:
    page = visit(locked.url, may_complain=True)
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector("#key[open]")
    assert complaints(page, axe) == []
    page.keyboard.press("Escape")
    assert page.locator("#key").is_hidden()
    page.wait_for_selector("#banner:not([hidden])")
    assert complaints(page, axe) == []


def test_the_tab_key_goes_from_picture_to_tools_to_list(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    page.evaluate("document.activeElement.blur()")
    seen = []
    for _ in range(19):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if page.evaluate("document.activeElement.matches('input[type=radio]')"):
            seen[-1] = page.evaluate("document.activeElement.name")
    assert seen == [
        "language",
        "canvas",
        "knob",
        "left",
        "right",
        "zoom-out",
        "zoom-in",
        "zoom-fit",
        "zoom-one",
        "copy",
        "download",
        "files",
        "folder",
        "scale",
        "quality",
        "format",
        "entry-open",
        "entry-button entry-save",
        "entry-button entry-remove",
    ]


def test_a_picture_can_be_upscaled_twice_by_keyboard_alone(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    for _ in range(4):
        page.keyboard.press("Tab")
    until(page, "document.activeElement.name === 'scale'")
    page.keyboard.press("ArrowLeft")
    until(page, "document.activeElement.value === '2' && document.activeElement.checked")
    for _ in range(2):
        page.keyboard.press("Shift+Tab")
    until(page, "document.activeElement.id === 'files'")
    page.keyboard.press("Enter")
    deadline = time.monotonic() + 30
    while not choosers and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    choosers[0].set_files([{"name": "hill.png", "mimeType": "image/png", "buffer": png(20, 30)}])
    wait_done(page)
    assert page.evaluate("after.naturalWidth") == 60


def focused(page: Any) -> str:
    """The name of the control that has the focus."""
    control = "document.activeElement"
    return str(page.evaluate(f"{control}.id || {control}.closest('.entry')?.querySelector('.entry-name').textContent"))


def press(page: Any, selector: str) -> None:
    page.focus(selector)
    page.keyboard.press("Enter")


def test_the_focus_moves_on_when_its_control_disappears(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    service.pace.hold()
    upload(page, *((f"{n}.png", png(20, 30)) for n in range(4)), ("bad.png", b"no"))
    page.wait_for_selector(".entry:nth-child(2)[data-state=queued], .entry:nth-child(2)[data-state=running]")
    press(page, ".entry:nth-child(5) .entry-next")
    until(page, "document.querySelectorAll('.entry-name')[2].textContent === 'bad.png'")
    assert focused(page) == "bad.png"
    press(page, ".entry:nth-child(5) .entry-remove")
    press(page, "#toast-undo")
    until(page, "document.activeElement !== document.body")
    assert focused(page) == "2.png"
    press(page, "#work-cancel")
    press(page, "#toast-close")
    until(page, "document.activeElement !== document.body")
    assert focused(page) == "1.png"
    page.focus("#work-cancel")
    service.pace.go()
    wait_done(page)
    until(page, "document.activeElement !== document.body")
    assert focused(page) == "canvas"
    press(page, ".entry:has([title='bad.png']) .entry-open")
    page.wait_for_selector(".entry:has([title='bad.png'])[data-state=failed]")
    page.select_option("#format", "jpeg")
    press(page, "#again-all")
    until(page, "document.querySelector('#again-all').hidden")
    assert focused(page) == "bad.png"


def test_the_focus_does_not_return_to_a_control_that_was_left(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    service.pace.hold()
    upload(page, ("hill.png", png(20, 30)))
    page.wait_for_selector("#work:not([hidden])")
    page.focus("#work-cancel")
    page.mouse.click(640, 20)
    service.pace.go()
    wait_done(page)
    assert page.evaluate("document.activeElement === document.body")


def test_changes_are_announced_to_screen_readers(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    page.evaluate(
        """() => {
          window.heard = [];
          const listen = (part) =>
            new MutationObserver(() => heard.push(part.textContent)).observe(part, { childList: true });
          listen(said);
        }"""
    )
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    page.click(".entry-remove")
    assert page.evaluate("heard") == ["hill.png added", "hill.png is done: 120 × 80", "hill.png removed"]


def test_announcements_use_a_live_region_that_was_never_hidden(service: Running, visit: Visit) -> None:
    """Screen readers may miss a live region that appears together with its text; an alert is announced anyway."""
    page = visit(service.url)
    hidden = "each => !each.checkVisibility() && each.id !== 'stopped'"
    live = "[role=status], [role=alert], [aria-live]:not([aria-live=off])"
    assert page.evaluate(f"[...document.querySelectorAll('{live}')].map(each => each.id)") == ["said", "alarm"]
    assert page.evaluate(f"[said, alarm].filter({hidden}).length") == 0


def test_the_focused_control_is_not_covered_by_the_toast(service: Running, visit: Visit) -> None:
    page = visit(service.url, width=390, height=700)
    upload(page, *((f"{n}.png", png(10, 20)) for n in range(14)))
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 14")
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.querySelector('.entry:nth-child(6)').scrollIntoView({ block: 'end' })")
    page.focus(".entry:nth-child(5) .entry-remove")
    page.keyboard.press("Enter")
    assert focused(page) == "5.png"
    bottom, top = page.evaluate(
        "[document.activeElement, toast].map(each => each.getBoundingClientRect())"
        ".map(({ top, bottom }) => [bottom, top])"
    )
    assert bottom[0] <= top[1]


@pytest.mark.parametrize("width", [900, 1280])
def test_the_toast_covers_no_tool_nor_the_notice(service: Running, visit: Visit, width: int) -> None:
    page = visit(f"{service.url}?lang=de", width=width)
    upload(page, ("hill.png", png(20, 40)), ("dale.png", png(20, 30)))
    wait_done(page, 2)
    page.click(".entry:nth-child(2) .entry-remove")
    page.select_option("#format", "webp")
    page.wait_for_selector("#notice:visible")
    assert page.locator("#toast").is_visible()
    for control in page.locator("#notice-do, #tools .button:visible").all():
        control.click(trial=True, timeout=2000)


def test_fields_are_large_enough_not_to_be_zoomed_into(several: Running, visit: Visit) -> None:
    page = visit(f"{several.url}?width=100&format=webp", width=320, height=700, has_touch=True, is_mobile=True)
    upload(page, ("hill.png", png(60, 30)))
    wait_done(page)
    fields = page.locator("input:visible:not([type=file]), select:visible")
    assert fields.count() >= 10
    assert min(fields.evaluate_all("all => all.map((one) => parseFloat(getComputedStyle(one).fontSize))")) >= 16
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def luminance(color: str) -> float:
    red, green, blue = (int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_colours_follow_the_preferred_scheme(service: Running, visit: Visit, scheme: str, is_dark: bool) -> None:
    page = visit(service.url, color_scheme=scheme)
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (luminance(ground) < luminance(ink)) is is_dark
    assert abs(luminance(ground) - luminance(ink)) > 180


@pytest.mark.parametrize("colours", ["none", "active"])
def test_selects_have_arrows_with_forced_colours(service: Running, visit: Visit, colours: str) -> None:
    """Forced colours remove gradients."""
    page = visit(service.url, forced_colors=colours)
    upload(page, ("hill.png", png(60, 30)))
    wait_done(page)
    choices = page.locator("select:visible")
    assert choices.count() >= 5
    for choice in choices.all():
        arrow = choice.evaluate("each => [getComputedStyle(each).appearance, getComputedStyle(each).backgroundImage]")
        assert arrow != ["none", "none"]


@pytest.mark.parametrize("width", [320, 390, 640, 1280])
def test_text_of_double_size_fits(service: Running, browser: Any, tmp_path: Path, width: int) -> None:
    """As chosen in the browser's settings, not by zooming."""
    (tmp_path / "Default").mkdir()
    preferences = {"webkit": {"webprefs": {"default_font_size": 32}}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(preferences))
    context = browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=str(CHROMIUM), args=ARGUMENTS, viewport={"width": width, "height": 800}
    )
    with closing(context):
        page = context.new_page()
        page.goto(service.url)
        assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "32px"
        assert page.evaluate("document.documentElement.scrollWidth") == width
        upload(page, ("hill.png", png(60, 30)))
        wait_done(page)
        page.select_option("#quality", "best")
        page.wait_for_selector("#notice:not([hidden])")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for control in page.locator("button:visible, a.button:visible, .choice span:visible, select:visible").all():
            box = control.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width, control.inner_text()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_overflows_on_a_phone(service: Running, visit: Visit, width: int) -> None:
    page = visit(service.url, width=width, height=700, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    upload(page, ("a-name-that-is-much-longer-than-any-phone-is-wide-and-goes-on.png", png(60, 30)))
    wait_done(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for control in page.locator("button:visible, a.button:visible, .choice span:visible, select:visible").all():
        box = control.bounding_box()
        assert box["height"] >= 40 or box["width"] >= 40, control.inner_text()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    viewer, queue = page.locator("#viewer").bounding_box(), page.locator("#queue").bounding_box()
    assert viewer["y"] + viewer["height"] < queue["y"]


@pytest.mark.parametrize(("width", "height"), [(1366, 620), (1100, 700), (1280, 705), (1280, 800)])
def test_the_list_does_not_run_under_the_buttons_below_it(
    service: Running, visit: Visit, width: int, height: int
) -> None:
    """As on a laptop, with the settings that take the most room."""
    page = visit(service.url, width=width, height=height)
    upload(page, *((f"{n}.png", png(20, 30)) for n in range(6)))
    wait_done(page, 6)
    page.click("#scales label:has([value='fit'])")
    page.select_option("#format", "jpeg")
    page.wait_for_selector("#again-all")
    queue, below = page.locator("#queue").bounding_box(), page.locator(".list-do").bounding_box()
    scrolls = page.evaluate("getComputedStyle(queue).overflowY") == "auto"
    end = queue if scrolls else page.locator(".entry").last.bounding_box()
    assert end["y"] + end["height"] <= below["y"]
    assert queue["height"] > 100


def test_nothing_moves_on_a_phone_when_a_picture_is_done(service: Running, visit: Visit) -> None:
    """What is about to be touched stays under the finger."""
    page = visit(service.url, width=390, height=844, has_touch=True)
    service.pace.hold()
    upload(page, ("hill.png", png(150, 200)))
    page.wait_for_selector(".entry[data-state=queued], .entry[data-state=running]")
    until(page, "before.complete && before.naturalWidth > 0")
    boxes = "['#viewer', '#settings', '.entry'].map(each => document.querySelector(each).getBoundingClientRect().top)"
    running = page.evaluate(boxes)
    service.pace.go()
    wait_done(page)
    page.wait_for_selector("#tools")
    assert page.evaluate(boxes) == running


def test_nothing_is_under_the_notch_of_a_phone_on_its_side(service: Running, visit: Visit) -> None:
    page = visit(service.url, width=844, height=390, has_touch=True)
    insets = {"left": 59, "right": 59, "bottom": 21}
    page.context.new_cdp_session(page).send("Emulation.setSafeAreaInsetsOverride", {"insets": insets})
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    seen = page.locator("h1, h2, h3, #viewer, button, a, select, label, .entry").all()
    boxes = [box for part in seen if (box := part.bounding_box()) and box["width"] > 1]
    assert len(boxes) > 20
    assert min(box["x"] for box in boxes) >= 59
    assert max(box["x"] + box["width"] for box in boxes) <= 844 - 59


def test_the_first_button_is_in_view_on_a_phone_on_its_side(service: Running, visit: Visit) -> None:
    page = visit(service.url, width=844, height=390)
    box = page.locator("label:has(#files)").bounding_box()
    assert box["y"] + box["height"] <= 390


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_the_result_slides_in_unless_reduced_motion_is_preferred(
    service: Running, visit: Visit, motion: str, moves: bool
) -> None:
    page = visit(service.url, reduced_motion=motion)
    page.evaluate(
        """() => {
          window.shares = new Set();
          new MutationObserver(() => knob.checkVisibility() && shares.add(knob.ariaValueNow))
            .observe(knob, { attributeFilter: ["aria-valuenow", "aria-valuetext"] });
        }"""
    )
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    until(page, "shares.has('50')")
    assert (page.evaluate("shares.size") > 3) is moves


def test_forced_colours_show_edges_instead_of_shades(service: Running, visit: Visit) -> None:
    page = visit(service.url, forced_colors="active")
    upload(page, ("hill.png", png(20, 30)), ("lake.png", png(20, 30)))
    wait_done(page, 2)
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert page.evaluate(style.format(".entry[data-shown=true]", "outlineStyle")) == "solid"
    assert page.evaluate(style.format(".entry[data-shown=false]", "outlineStyle")) == "none"
    for over in ("#toast", "#trouble"):
        assert page.evaluate(style.format(over, "borderTopStyle")) == "solid"


def test_a_right_to_left_name_does_not_reorder_other_text(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, ("صورة (1).png", png(20, 30)))
    wait_done(page)
    for name in ("#stage-title", ".entry-name"):
        assert page.evaluate(f"getComputedStyle(document.querySelector('{name}')).direction") == "rtl"
    page.click(".entry-remove")
    assert page.locator("#toast-words").text_content() == "\u2068صورة (1).png\u2069 removed"


def test_printing_shows_the_whole_result_only(service: Running, visit: Visit) -> None:
    page = visit(service.url, color_scheme="dark")
    upload(page, ("hill.png", png(20, 30)))
    wait_done(page)
    page.emulate_media(media="print", color_scheme="dark")
    assert [
        page.locator(f"#{part}").is_visible() for part in ("after", "before", "knob", "tools", "left", "queue")
    ] == [
        True,
        *[False] * 5,
    ]
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert page.evaluate(style.format("#layer-after", "clipPath")) == "none"
    assert luminance(page.evaluate(style.format("body", "color"))) < 64
    seen = "document.querySelector('{}').getBoundingClientRect().width"
    assert page.evaluate(seen.format("#after")) == page.evaluate(seen.format("#viewer"))


def test_a_page_that_cannot_start_shows_a_message(service: Running, visit: Visit) -> None:
    page = visit("about:blank", may_complain=True)
    page.route("**/js/queue.js", lambda route: route.abort())
    page.goto(service.url)
    page.wait_for_selector("#stopped:not([hidden])")
    page.unroute("**/js/queue.js")
    page.reload()
    until(page, "document.querySelector('#stopped') === null")
