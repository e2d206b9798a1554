"""Finds complete pictures without a result in a watched folder. Independent of clocks and of the network."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from app.cli import files
from app.cli.batch import Outcome
from app.cli.inputs import SUFFIXES, Work
from app.cli.ledger import Ledger, Mark
from app.cli.search import EVERYTHING, search

MOST_TRIES = 5
"""Maximum number of attempts for a file that keeps changing; after that it is left alone."""
GIVEN_UP = f"it changed again and again, {MOST_TRIES} times; it is left alone until the next start"


@dataclass(slots=True)
class _Seen:
    """A file: its state, since when it has been unchanged, its failed attempts, and the state at the last of them."""

    mark: Mark
    since: float
    tries: int = 0
    failed: Mark | None = None
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture to upscale, and the state in which its file was found."""

    work: Work
    source: str
    mark: Mark

    def changed(self) -> str:
        """Why a result would not belong to the file's present state; "" if it would."""
        try:
            now = Mark.of(self.work.source) if self.work.source else None
        except OSError as error:
            return f"it went away while it was worked on: {files.reason(error)}"
        return "" if now == self.mark else "it changed while it was worked on"


class Arrivals:
    """Repeatedly scans a folder."""

    def __init__(
        self, folder: Path, output: Path, suffix: str, name: str, ledger: Ledger, settle: float, *, overwrite: bool
    ) -> None:
        """Results have the extension `suffix` and are named by the template `name`.

        A file is complete once it has not changed for `settle` seconds. With `overwrite`, everything is upscaled once,
        whether or not results exist.
        """
        self._folder, self._output, self._suffix, self._name = folder, output, suffix, name
        self._ledger, self._settle, self._overwrite = ledger, settle, overwrite
        self._seen: dict[Path, _Seen] = {}
        self._reported: set[Path] = set()
        self.unsettled = False
        """Whether the last scan found files that must be checked again soon."""

    def look(self, now: float) -> Iterator[Arrival | tuple[Work, Outcome]]:
        """Scans the folder: yields pictures to upscale, each once until `ended`, and other outcomes to report.

        `now` is in seconds. A missing folder, such as that of a removed drive, is reported once, and may come back.
        """
        found = set()
        self.unsettled = False
        try:
            self._folder.stat()
        except OSError as error:
            found.add(self._folder)
            yield from self._report(self._folder, Outcome("waiting", error=f"{files.reason(error)}; it may come back"))
        for path, problem in search(self._folder, EVERYTHING, {os.path.realpath(self._output)}):
            found.add(path)
            if problem:
                yield from self._report(path, Outcome("failed", error=f"this folder cannot be read: {problem}"))
            elif path.suffix.lower() not in SUFFIXES:
                yield from self._report(path, Outcome("ignored", error="its extension is not that of a picture"))
            else:
                yield from self._look_at(path, now)
        for path in self._seen.keys() - found:
            if not self._seen[path].taken:
                del self._seen[path]
        self._reported &= found

    def ended(self, arrival: Arrival, outcome: Outcome, now: float) -> Outcome:
        """Records the outcome; returns the one to report, as a file that changed is tried again. Raises OSError."""
        path = self._folder / arrival.source
        seen = self._seen[path]
        seen.taken = False
        if outcome.status == "done":
            seen.tries, seen.failed = 0, None
            self._ledger.add(arrival.source, arrival.mark)
            return outcome
        seen.tries += 1
        if arrival.changed() and seen.tries < MOST_TRIES:
            seen.since = now
            return Outcome("waiting", error=f"{outcome.error}; it is tried again once it is complete")
        seen.failed = arrival.mark
        return Outcome("failed", error=GIVEN_UP) if seen.tries >= MOST_TRIES else outcome

    def _look_at(self, path: Path, now: float) -> Iterator[Arrival | tuple[Work, Outcome]]:
        try:
            mark = Mark.of(path)
        except OSError:  # gone, or a link to nowhere
            return
        seen = self._seen.setdefault(path, _Seen(mark, now))
        if seen.taken or seen.tries >= MOST_TRIES:
            return
        if seen.mark != mark:
            seen.mark, seen.since = mark, now
        source = path.relative_to(self._folder).as_posix()
        if mark == seen.failed or (self._ledger.has(source, mark) and not self._is_wanted_again(path)):
            return
        # The settle time doubles each time that the file changed while it was worked on.
        if now - seen.since < self._settle * 2**seen.tries or mark.size == 0:
            self.unsettled = True
            return
        target = self._output / self._ledger.target(source, self._places(path))
        work = Work(str(path), path, target, files.unreadable(path))
        self._reported.add(path)
        if work.problem:
            seen.failed = mark
            yield work, Outcome("failed", error=work.problem)
        elif seen.failed is None and not self._overwrite and self._is_made(source, target):
            self._ledger.add(source, mark)
            yield work, Outcome("skipped")
        else:
            seen.taken = True
            yield Arrival(work, source, mark)

    def _is_wanted_again(self, path: Path) -> bool:
        """Whether `overwrite` still requires this file to be upscaled once."""
        return self._overwrite and path not in self._reported

    def _is_made(self, source: str, target: Path) -> bool:
        """Whether another command has made a result."""
        return not self._ledger.knows(source) and target.exists()

    def _places(self, path: Path) -> Iterator[str]:
        """Candidates for the result's path in OUT: the file's name without extension, with it, then numbered."""
        below = path.relative_to(self._folder)
        for stem in chain((path.stem, path.name), (f"{path.name}-{number}" for number in count(2))):
            yield below.with_name(self._name.format(stem=stem, suffix=self._suffix)).as_posix()

    def _report(self, path: Path, outcome: Outcome) -> Iterator[tuple[Work, Outcome]]:
        """Yields the outcome, once for each path."""
        if path not in self._reported:
            self._reported.add(path)
            yield Work(str(path), None, None), outcome
