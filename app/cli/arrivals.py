"""Which files of a watched folder are pictures that are complete and not yet made. Knows no clock and no network."""

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
"""For a file that keeps changing, or that fails and changes; after that it is left alone."""
GIVEN_UP = f"it changed again and again, {MOST_TRIES} times; it is left alone until the next start"


@dataclass(slots=True)
class _Seen:
    """A file: its state, since when it is in that, how often it has been tried in vain, and in which state last."""

    mark: Mark
    since: float
    tries: int = 0
    failed: Mark | None = None
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture that is to be made, and the state that it was found in."""

    work: Work
    source: str
    mark: Mark

    def changed(self) -> str:
        """Why a result of it would not be one of the file as it is now, or ""."""
        try:
            now = Mark.of(self.work.source) if self.work.source else None
        except OSError as error:
            return f"it went away while it was worked on: {files.reason(error)}"
        return "" if now == self.mark else "it changed while it was worked on"


class Arrivals:
    """Looks at a folder again and again."""

    def __init__(
        self, folder: Path, output: Path, suffix: str, name: str, ledger: Ledger, settle: float, *, overwrite: bool
    ) -> None:
        """Results end in `suffix` and are named by the template `name`.

        A file is complete once it has not changed for `settle` seconds.
        With `overwrite`, everything is made once, whatever there is.
        """
        self._folder, self._output, self._suffix, self._name = folder, output, suffix, name
        self._ledger, self._settle, self._overwrite = ledger, settle, overwrite
        self._seen: dict[Path, _Seen] = {}
        self._told: set[Path] = set()
        self.unsettled = False
        """Whether the last look found files that are to be looked at again soon."""

    def look(self, now: float) -> Iterator[Arrival | tuple[Work, Outcome]]:
        """Pictures to make, each given out once until `ended`, and what else there is to tell. `now` in seconds.

        A folder that is gone, such as one of a drive, is reported once, and may come back.
        """
        found = set()
        self.unsettled = False
        try:
            self._folder.stat()
        except OSError as error:
            found.add(self._folder)
            yield from self._tell(self._folder, Outcome("waiting", error=f"{files.reason(error)}; it may come back"))
        for path, problem in search(self._folder, EVERYTHING, {os.path.realpath(self._output)}):
            found.add(path)
            if problem:
                yield from self._tell(path, Outcome("failed", error=f"this folder cannot be read: {problem}"))
            elif path.suffix.lower() not in SUFFIXES:
                yield from self._tell(path, Outcome("ignored", error="its ending is not that of a picture"))
            else:
                yield from self._look_at(path, now)
        for path in self._seen.keys() - found:
            if not self._seen[path].taken:
                del self._seen[path]
        self._told &= found

    def ended(self, arrival: Arrival, outcome: Outcome, now: float) -> Outcome:
        """Notes how it ended; returns what to tell of it: a file that changes is tried again. Raises OSError."""
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
        # Each time that it changed under the reader's hands it is given twice as long.
        if now - seen.since < self._settle * 2**seen.tries or mark.size == 0:
            self.unsettled = True
            return
        target = self._output / self._ledger.target(source, self._places(path))
        work = Work(str(path), path, target, files.unreadable(path))
        self._told.add(path)
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
        """Whether it has not been made yet by a command that makes everything once."""
        return self._overwrite and path not in self._told

    def _is_made(self, source: str, target: Path) -> bool:
        """Whether there is a result that another command has made."""
        return not self._ledger.knows(source) and target.exists()

    def _places(self, path: Path) -> Iterator[str]:
        """For its result, in OUT: its name; where another picture has that, with its ending; then with a number."""
        below = path.relative_to(self._folder)
        for stem in chain((path.stem, path.name), (f"{path.name}-{number}" for number in count(2))):
            yield below.with_name(self._name.format(stem=stem, suffix=self._suffix)).as_posix()

    def _tell(self, path: Path, outcome: Outcome) -> Iterator[tuple[Work, Outcome]]:
        if path not in self._told:
            self._told.add(path)
            yield Work(str(path), None, None), outcome
