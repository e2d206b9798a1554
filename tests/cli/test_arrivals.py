"""Which files of a watched folder are made, when, how often, and where their results go; time is given."""

import os
from pathlib import Path

import pytest

from app.cli.arrivals import GIVEN_UP, MOST_TRIES, Arrival, Arrivals
from app.cli.batch import Outcome
from app.cli.ledger import NAME, Ledger, Mark

SETTLE = 2.0


class Folder:
    """A watched folder `in`, its results in `out`, and a clock."""

    def __init__(self, root: Path) -> None:
        self.source, self.output = root / "in", root / "out"
        self.source.mkdir()
        self.now = 0.0
        self.start()

    def start(self, *, overwrite: bool = False, name: str = "{stem}{suffix}") -> None:
        """As after a restart."""
        ledger = Ledger(self.output)
        ledger.compact()
        self.arrivals = Arrivals(self.source, self.output, ".png", name, ledger, SETTLE, overwrite=overwrite)

    def put(self, name: str, body: bytes = b"picture") -> Path:
        """Writes a file, whose time differs from that of the last."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        Folder.ticks += 1
        os.utime(path, ns=(Folder.ticks * 1000, Folder.ticks * 1000))
        return path

    ticks = 0

    def look(self, seconds: float = 0.0) -> tuple[list[Arrival], list[tuple[str, Outcome]]]:
        """The result of a later scan: pictures to make, and outcomes to report."""
        self.now += seconds
        found = list(self.arrivals.look(self.now))
        told = [(Path(item[0].name).name, item[1]) for item in found if isinstance(item, tuple)]
        return [item for item in found if isinstance(item, Arrival)], told

    def settled(self) -> list[Arrival]:
        """The pictures to make once nothing has changed for long enough."""
        first, _ = self.look()
        later, _ = self.look(SETTLE)
        return first + later

    def make(self, arrival: Arrival, outcome: Outcome | None = None) -> Outcome:
        """As if it had been upscaled."""
        outcome = outcome or Outcome("done")
        if outcome.status == "done" and arrival.work.target:
            arrival.work.target.parent.mkdir(parents=True, exist_ok=True)
            arrival.work.target.write_bytes(b"result")
        return self.arrivals.ended(arrival, outcome, self.now)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def targets(folder: Folder, found: list[Arrival]) -> list[str]:
    return [item.work.target.relative_to(folder.output).as_posix() for item in found if item.work.target]


def test_a_file_counts_once_it_has_not_changed_for_a_while(folder: Folder) -> None:
    folder.put("a.jpg", b"p")
    assert folder.look() == ([], [])
    folder.put("a.jpg", b"pict")
    assert folder.look(SETTLE) == ([], [])
    assert folder.arrivals.unsettled
    found, _ = folder.look(SETTLE)
    assert targets(folder, found) == ["a.png"]
    assert folder.look(SETTLE) == ([], []), "it is under way"
    assert not folder.arrivals.unsettled


def test_an_empty_file_is_not_settled(folder: Folder) -> None:
    folder.put("a.jpg", b"")
    assert folder.settled() == []
    assert folder.arrivals.unsettled


def test_subfolders_are_mirrored_and_results_are_not_taken_for_sources(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.output = folder.source / "results"
    folder.start()
    folder.put("sub/deep/a.tif")
    folder.put("b.png")
    (folder.output / "sub").mkdir(parents=True)
    (folder.output / "sub" / "c.png").write_bytes(b"result")
    assert targets(folder, folder.settled()) == ["b.png", "sub/deep/a.png"]


def test_files_that_are_not_pictures_are_reported_once(folder: Folder) -> None:
    folder.put("notes.txt")
    folder.put(".hidden.jpg")
    assert folder.look() == ([], [("notes.txt", Outcome("ignored", error="its extension is not that of a picture"))])
    assert folder.look(SETTLE) == ([], [])


def test_finished_pictures_are_not_made_again_after_a_restart(folder: Folder) -> None:
    """Also if the result has been taken away; a picture that is another by then is."""
    for name in ("a.jpg", "b.jpg"):
        folder.put(name)
    for arrival in folder.settled():
        folder.make(arrival)
    (folder.output / "a.png").unlink()
    folder.start()
    assert folder.settled() == []
    folder.put("b.jpg", b"another")
    folder.start()
    assert targets(folder, folder.settled()) == ["b.png"]


def test_a_replaced_picture_is_made_again(folder: Folder) -> None:
    folder.put("a.jpg")
    folder.make(folder.settled()[0])
    folder.put("a.jpg", b"another")
    assert targets(folder, folder.settled()) == ["a.png"]


def test_results_of_another_command_are_kept(folder: Folder) -> None:
    folder.put("a.jpg")
    folder.output.mkdir()
    (folder.output / "a.png").write_bytes(b"there")
    folder.look()
    assert folder.look(SETTLE) == ([], [("a.jpg", Outcome("skipped"))])
    folder.start()
    folder.look()
    assert folder.look(SETTLE) == ([], [])


def test_overwrite_makes_everything_once(folder: Folder) -> None:
    folder.put("a.jpg")
    folder.make(folder.settled()[0])
    folder.start(overwrite=True)
    again = folder.settled()
    assert targets(folder, again) == ["a.png"]
    folder.make(again[0])
    assert folder.settled() == []


def test_names_that_differ_only_in_the_suffix_have_separate_results_in_any_order(folder: Folder) -> None:
    folder.put("a.jpg")
    folder.make(folder.settled()[0])
    folder.put("a.tif")
    folder.put("a.jpg.bmp")
    found = folder.settled()
    assert targets(folder, found) == ["a.jpg.png", "a.tif.png"]
    for arrival in found:
        folder.make(arrival)
    folder.start()
    for name in ("a.jpg", "a.tif", "a.jpg.bmp"):
        folder.put(name, b"another")
    assert targets(folder, folder.settled()) == ["a.png", "a.jpg.png", "a.tif.png"]


def test_names_that_differ_only_in_case_have_separate_results_on_case_insensitive_systems(tmp_path: Path) -> None:
    other = tmp_path.with_name(tmp_path.name.swapcase())
    other.symlink_to(tmp_path)  # what would be found there
    folder = Folder(tmp_path)
    folder.put("a.jpg")
    folder.put("A.png")
    targets = [arrival.work.target for arrival in folder.settled()]
    assert targets == [folder.output / "A.png", folder.output / "a.jpg.png"]
    other.unlink()


def test_a_number_is_added_if_every_name_is_taken(folder: Folder) -> None:
    for name in ("a.jpg", "a.tif.bmp", "a.tif"):
        folder.put(name)
        folder.make(folder.settled()[0])
    assert sorted(path.name for path in folder.output.glob("*.png")) == ["a.png", "a.tif-2.png", "a.tif.png"]


def test_a_template_names_the_results(folder: Folder) -> None:
    folder.start(name="{stem}_x4{suffix}")
    folder.put("sub/a.jpg")
    assert targets(folder, folder.settled()) == ["sub/a_x4.png"]


def test_a_failure_is_final_until_the_file_changes(folder: Folder) -> None:
    folder.put("a.jpg")
    failed = Outcome("failed", error="damaged")
    assert folder.make(folder.settled()[0], failed) == failed
    assert folder.settled() == []
    folder.put("a.jpg", b"whole")
    folder.look()
    found, _ = folder.look(2 * SETTLE)
    assert folder.make(found[0]).status == "done"
    folder.start()
    assert folder.settled() == []


def test_failures_are_retried_after_a_restart(folder: Folder) -> None:
    folder.put("a.jpg")
    folder.make(folder.settled()[0], Outcome("failed", error="damaged"))
    folder.start()
    assert len(folder.settled()) == 1


def test_a_file_that_keeps_changing_is_given_up(folder: Folder) -> None:
    """It gets twice the time after each try."""
    folder.put("a.jpg")
    folder.look()
    for number in range(MOST_TRIES):
        pause = SETTLE * 2**number
        assert folder.look(pause - 0.1) == ([], [])
        found, _ = folder.look(0.1)
        folder.put("a.jpg", b"more")
        assert found[0].changed() == "it changed while it was worked on"
        outcome = folder.make(found[0], Outcome("failed", error="it changed"))
        folder.look()
        if number < MOST_TRIES - 1:
            assert outcome == Outcome("waiting", error="it changed; it is tried again once it is complete")
    assert outcome == Outcome("failed", error=GIVEN_UP)
    folder.put("a.jpg", b"again")
    assert folder.look(1000) == folder.look(1000) == ([], [])


def test_a_file_that_disappears_is_forgotten(folder: Folder) -> None:
    path = folder.put("a.jpg")
    arrival = folder.settled()[0]
    path.unlink()
    assert folder.look(1) == ([], [])
    assert "went away" in arrival.changed()
    folder.make(arrival, Outcome("failed", error="there is no such file"))
    folder.look(1)
    folder.put("a.jpg")
    assert len(folder.settled()) == 1


def test_a_folder_that_disappears_is_reported_once_each_time(folder: Folder) -> None:
    folder.source.rmdir()
    for _ in range(2):
        arrived, ((name, outcome),) = folder.look()
        assert (arrived, name, outcome.status) == ([], folder.source.name, "waiting")
        assert folder.look() == ([], [])
        folder.source.mkdir()
        assert folder.look() == ([], [])
        folder.source.rmdir()


def test_a_ledger_line_cut_off_by_a_crash_only_affects_its_picture(folder: Folder) -> None:
    ledger = Ledger(folder.output)
    for name in ("a", "b"):
        ledger.target(name, [f"{name}.png"])
        ledger.add(name, Mark(1, 2))
    path = folder.output / NAME
    path.write_bytes(path.read_bytes()[:-10])
    cut = Ledger(folder.output)
    assert (cut.has("a", Mark(1, 2)), cut.has("b", Mark(1, 2))) == (True, False)
    cut.target("c", ["c.png"])
    cut.add("c", Mark(3, 4))
    assert Ledger(folder.output).has("c", Mark(3, 4))


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"source": "a", "target": "a.png", "mark": [1]}', "\x00"])
def test_malformed_ledger_lines_are_ignored(tmp_path: Path, line: str) -> None:
    (tmp_path / NAME).write_text(f"{line}\n")
    assert not Ledger(tmp_path).knows("a")
