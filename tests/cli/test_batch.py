"""Many pictures through a backend: concurrently, despite bad ones, each written when it is done."""

import asyncio
from pathlib import Path

import pytest

from app.cli.batch import Outcome, PictureError, Progress, Result, run, settle
from app.cli.inputs import Work


class Backend:
    """Turns bytes round; bytes that name an error raise it. Remembers how many were under way together."""

    def __init__(self, at_once: int = 2, errors: dict[bytes, Exception] | None = None) -> None:
        self.at_once = at_once
        self.errors = errors or {}
        self.under_way = self.most = 0
        self.entered = asyncio.Event()

    async def upscale(self, data: bytes, progress: Progress | None) -> Result:
        self.under_way += 1
        self.entered.set()
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0.01)
            if data in self.errors:
                raise self.errors[data]
            if progress:
                progress(1, 1)
            return Result(data[::-1])
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        """Nothing to close."""


class Report:
    """Records what is reported to it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: dict[str, Outcome] = {}
        self.tiles: list[tuple[int, int]] = []

    def loading(self) -> None:
        """No backend here has anything to load."""

    def begin(self, work: Work) -> Progress:
        self.begun.append(work.name)
        return lambda done, total: self.tiles.append((done, total))

    def end(self, work: Work, outcome: Outcome) -> None:
        self.ended[work.name] = outcome


def works(folder: Path, *names: str) -> list[Work]:
    """Pictures whose bytes are their names."""
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [Work(name, folder / name, folder / "out" / name) for name in names]


async def whole_run(todo: list[Work], backend: Backend, report: Report, *, overwrite: bool = False) -> list[Outcome]:
    """The outcomes in the order of `todo`: first those that need no backend, then the others."""
    outcomes = settle(todo, report, overwrite=overwrite)
    outcomes |= await run([work for work in todo if work not in outcomes], backend, report)
    return [outcomes[work] for work in todo]


async def test_a_run_continues_after_bad_pictures(tmp_path: Path) -> None:
    backend = Backend(errors={b"bad": PictureError("does not decode", "urn:bad"), b"bug": ZeroDivisionError("oops")})
    todo = [
        *works(tmp_path, "one", "bad", "bug", "two"),
        Work("gone", None, tmp_path / "gone", "there is no such file"),
    ]
    (tmp_path / "two").unlink()
    report = Report()
    outcomes = await whole_run(todo, backend, report)
    assert [(it.status, it.error, it.type, it.size) for it in outcomes] == [
        ("done", "", "", 3),
        ("failed", "does not decode", "urn:bad", 0),
        ("failed", "ZeroDivisionError: oops", "", 0),
        ("failed", "No such file or directory", "", 0),
        ("failed", "there is no such file", "", 0),
    ]
    assert (tmp_path / "out" / "one").read_bytes() == b"eno"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one"]
    assert report.ended == dict(zip([work.name for work in todo], outcomes, strict=True))
    assert report.tiles == [(1, 1)]


@pytest.mark.parametrize(("at_once", "count", "most"), [(1, 5, 1), (3, 9, 3), (4, 2, 2)])
async def test_as_many_pictures_run_at_once_as_the_backend_allows(
    tmp_path: Path, at_once: int, count: int, most: int
) -> None:
    backend = Backend(at_once)
    outcomes = await whole_run(works(tmp_path, *map(str, range(count))), backend, Report())
    assert [outcome.status for outcome in outcomes] == ["done"] * count
    assert backend.most == most


@pytest.mark.parametrize(("overwrite", "status", "content"), [(False, "skipped", b"old"), (True, "done", b"eno")])
async def test_existing_results_are_skipped_unless_overwriting(
    tmp_path: Path, overwrite: bool, status: str, content: bytes
) -> None:
    todo = works(tmp_path, "one")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one").write_bytes(b"old")
    report = Report()
    assert [it.status for it in await whole_run(todo, Backend(), report, overwrite=overwrite)] == [status]
    assert (tmp_path / "out" / "one").read_bytes() == content
    assert report.begun == (["one"] if overwrite else [])


async def test_a_picture_is_read_from_stdin_and_written_to_stdout(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    await run([Work("-", None, None)], Backend(), Report(), stdin=b"abc")
    assert capfdbinary.readouterr().out == b"cba"


async def test_a_target_that_cannot_be_written_fails_only_its_picture(tmp_path: Path) -> None:
    todo = works(tmp_path, "one", "two")
    (tmp_path / "out" / "one").mkdir(parents=True)
    outcomes = await whole_run(todo, Backend(), Report(), overwrite=True)
    place = todo[0].target
    assert [(it.status, it.error) for it in outcomes] == [
        ("failed", f"{place} cannot be written: Is a directory"),
        ("done", ""),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one", "two"]


async def test_cancelling_leaves_no_partial_files(tmp_path: Path) -> None:
    backend = Backend()
    task = asyncio.create_task(run(works(tmp_path, *map(str, range(9))), backend, Report()))
    await backend.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.under_way == 0
    assert not (tmp_path / "out").exists()
