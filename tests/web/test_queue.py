"""A queue of many pictures: order, folders, undo, and the title of the tab."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.web.support import Running, Visit, png, text, until, upload, wait_done

pytestmark = pytest.mark.browser


def names(page: Any) -> list[str]:
    return list(page.locator(".entry-name").all_inner_texts())


def test_a_waiting_picture_can_be_moved_to_the_front(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url)
    upload(page, *((f"{n}.png", png(10, 20)) for n in range(5)))
    until(page, "document.querySelectorAll('.entry[data-state=waiting]').length === 3")
    assert page.locator(".entry-next:visible").count() == 2  # the first that waits is the next already
    page.click(".entry:nth-child(5) .entry-next")
    assert names(page) == ["0.png", "1.png", "4.png", "2.png", "3.png"]
    service.pace.go()
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 5")


def test_cancelling_a_picture_can_be_undone(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url)
    upload(page, *((f"{n}.png", png(10, 20)) for n in range(3)))
    page.wait_for_selector(".entry:nth-child(1)[data-state=queued], .entry:nth-child(1)[data-state=running]")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.click("#work-cancel")
    assert names(page) == ["1.png", "2.png"]
    assert text(page, "#toast-words") == "0.png cancelled"
    page.click("#toast-undo")
    assert names(page) == ["0.png", "1.png", "2.png"]
    assert page.locator("#toast").is_hidden()
    service.pace.go()
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 3")


def test_clearing_finished_pictures_can_be_undone(service: Running, visit: Visit) -> None:
    page = visit(service.url, may_complain=True)
    upload(page, ("a.png", png(10, 20)), ("bad.png", b"no"), ("b.png", png(20, 10)))
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 2")
    page.wait_for_selector(".entry:nth-child(2)[data-state=failed]")
    forgotten: list[str] = []
    page.on("request", lambda request: forgotten.append(request.url) if request.method == "DELETE" else None)
    page.click("#clear")
    assert names(page) == ["bad.png"]
    assert text(page, "#toast-words") == "2 pictures cleared"
    page.click("#toast-undo")
    assert names(page) == ["a.png", "bad.png", "b.png"]
    page.click(".entry:nth-child(1) .entry-open")
    page.select_option("#right", label="×2")
    until(page, "after.naturalWidth === 40")  # fetched now, so the service still had it
    assert forgotten == []


def test_a_chosen_folder_adds_its_pictures_with_their_paths(service: Running, visit: Visit, tmp_path: Path) -> None:
    album = tmp_path / "album"
    (album / "sea").mkdir(parents=True)
    (album / "1.png").write_bytes(png(10, 20))
    (album / "sea" / "2.png").write_bytes(png(20, 10))
    (album / "notes.txt").write_text("not a picture")
    page = visit(service.url)
    page.set_input_files("#folder", album)
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 2")
    assert sorted(names(page)) == ["1.png", "2.png"]
    with page.expect_download() as caught:
        page.click("#download-all")
    listed = Path(caught.value.path()).read_bytes()
    assert b"album/1-x4.png" in listed
    assert b"album/sea/2-x4.png" in listed


def test_a_dropped_folder_adds_its_pictures(service: Running, visit: Visit) -> None:
    """A script cannot drop a real folder: the entries of one are handed to the page's own event instead."""
    page = visit(service.url)
    page.evaluate(
        """bytes => {
          const file = (name) => ({
            isFile: true, isDirectory: false, name,
            file: (done) => done(new File([new Uint8Array(bytes)], name, { type: "image/png" })),
          });
          const folder = (name, children) => ({
            isFile: false, isDirectory: true, name,
            createReader: () => {
              const batches = [children.slice(0, 1), children.slice(1), []];
              return { readEntries: (done) => done(batches.shift()) };
            },
          });
          const text = { ...file("notes.txt"), file: (done) => done(new File(["no"], "notes.txt")) };
          const root = folder("album", [file("10.png"), file("2.png"), text, folder("sea", [file("1.png")])]);
          const event = new Event("drop", { bubbles: true, cancelable: true });
          event.dataTransfer = { types: ["Files"], files: [], items: [{ webkitGetAsEntry: () => root }] };
          document.body.dispatchEvent(event);
        }""",
        list(png(10, 20)),
    )
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 3")
    assert names(page) == ["2.png", "10.png", "1.png"]


def test_a_folder_without_pictures_is_reported(service: Running, visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a picture")
    page = visit(service.url)
    page.set_input_files("#folder", tmp_path)
    until(page, "!document.querySelector('#toast').hidden")
    assert text(page, "#toast-words") == "There are no pictures in this folder."


ANSWER_FOR_OLDER_BROWSERS = """() => {
  const event = document.createEvent("BeforeUnloadEvent");
  event.initEvent("beforeunload", false, true);
  dispatchEvent(event);
  return event.returnValue;
}"""


@pytest.mark.parametrize("busy", [True, False])
def test_leaving_the_page_warns_only_during_work(service: Running, visit: Visit, busy: bool) -> None:
    page = visit(service.url)
    if busy:
        service.pace.hold()
    upload(page, ("hill.png", png(20, 30)))
    page.click("#canvas", force=True)  # browsers ask only where the page has been used
    if busy:
        page.wait_for_selector(".entry[data-state=queued], .entry[data-state=running]")
    else:
        wait_done(page)
    asked: list[str] = []

    def accept(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", accept)
    assert (page.evaluate(ANSWER_FOR_OLDER_BROWSERS) != "") == busy
    page.reload()
    assert asked == (["beforeunload"] if busy else [])


def test_the_title_of_the_tab_shows_that_all_is_done_until_it_is_visited(service: Running, visit: Visit) -> None:
    service.pace.hold()
    page = visit(service.url)
    plain = page.title()
    upload(page, ("a.png", png(10, 20)), ("b.png", png(10, 20)))
    until(page, "document.title === '0 of 2 done · LapSRN'")
    hide = """hidden => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    service.pace.go()
    until(page, "document.title === '✓ 2 pictures done · LapSRN'")
    assert page.evaluate("icon.href").endswith("icon-done.svg")
    page.evaluate(hide, False)
    assert page.title() == plain
    assert page.evaluate("icon.href").endswith("icon.svg")


def test_on_a_phone_selecting_a_row_scrolls_to_its_picture(service: Running, visit: Visit) -> None:
    page = visit(service.url, width=390, height=700, has_touch=True)
    upload(page, *((f"{n}.png", png(20, 30)) for n in range(8)))
    until(page, "document.querySelectorAll('.entry[data-state=done]').length === 8")
    page.tap(".entry:nth-child(8) .entry-open")
    until(page, "stage.getBoundingClientRect().top >= -1 && scrollY < 200")
    assert text(page, "#stage-title") == "7.png"


def test_three_busy_tabs_leave_connections_for_a_fourth(service: Running, visit: Visit) -> None:
    service.pace.hold()
    first = visit(service.url)
    tabs = [first, first.context.new_page(), first.context.new_page()]
    for tab in tabs:
        tab.goto(service.url)
        upload(tab, *((f"{n}.png", png(20, 30)) for n in range(2)))
        busy = "document.querySelectorAll('.entry:is([data-state=queued], [data-state=running])').length"
        until(tab, f"{busy} === 2")
    fourth = first.context.new_page()
    fourth.goto(service.url)
    service.pace.go()
    upload(fourth, ("hill.png", png(20, 30)))
    wait_done(fourth)
    for tab in tabs:
        wait_done(tab, 1)
        wait_done(tab, 2)


def test_thirty_five_pictures_are_processed_in_order(service: Running, visit: Visit) -> None:
    page = visit(service.url)
    upload(page, *((f"{n}.png", png(8, 12)) for n in range(35)))
    deadline = time.monotonic() + 120
    while page.locator(".entry[data-state=done]").count() < 35:
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
    assert text(page, "#count") == "35 of 35 done"
    height = page.evaluate("innerHeight")
    assert page.evaluate("document.documentElement.scrollHeight") == height
    box = page.locator("#download-all").bounding_box()
    assert box["y"] + box["height"] < height
