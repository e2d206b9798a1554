"""The record of results for a watched folder, kept among them, so that they are not made again after a restart."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from app.cli import files

NAME = ".lapsrn-watch.jsonl"


class Mark(NamedTuple):
    """Identifies a state of a file."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Mark":
        """The file's present state. Raises OSError."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


class Ledger:
    """For each picture, by its path in the watched folder: the path of its result, and the state it was made from.

    Each result appends a line of JSON to a file; a line that was cut off by a crash is ignored.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the ledger in a folder of results, if there is one. Raises OSError."""
        self._path = folder / NAME
        self._same = files.sameness(folder)
        self._marks: dict[str, Mark] = {}
        self._targets: dict[str, str] = {}
        self._taken: dict[str, str] = {}
        with suppress(FileNotFoundError):
            for line in self._path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    mark = entry["mark"]
                    self._note(entry["source"], entry["target"], None if mark is None else Mark(*map(int, mark)))

    def target(self, source: str, candidates: Iterable[str]) -> str:
        """The path for the result of `source`: its present one, or the first candidate that no other picture has.

        `candidates` must not run out.
        """
        if source not in self._targets:
            self._note(source, next(place for place in candidates if self._same(place) not in self._taken), None)
        return self._targets[source]

    def has(self, source: str, mark: Mark) -> bool:
        """Whether there is a result of this state."""
        return self._marks.get(source) == mark

    def knows(self, source: str) -> bool:
        """Whether there is a result of any state."""
        return source in self._marks

    def add(self, source: str, mark: Mark) -> None:
        """Records a result at the target of `source`. Raises OSError."""
        self._marks[source] = mark
        line = self._line(source, mark)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            # After a line that was cut off, start a new one.
            file.write(f"\n{line}\n" if self._is_cut_off() else f"{line}\n")

    def compact(self) -> None:
        """Rewrites the file with one line for each picture. Raises OSError."""
        lines = [self._line(source, mark) for source, mark in self._marks.items()]
        if lines:
            files.write(self._path, "".join(f"{line}\n" for line in lines).encode())

    def _line(self, source: str, mark: Mark) -> str:
        return json.dumps({"source": source, "target": self._targets[source], "mark": list(mark)})

    def _note(self, source: str, target: str, mark: Mark | None) -> None:
        self._targets[source] = target
        self._taken[self._same(target)] = source
        if mark is not None:
            self._marks[source] = mark

    def _is_cut_off(self) -> bool:
        try:
            with self._path.open("rb") as file:
                file.seek(-1, 2)
                return file.read(1) != b"\n"
        except OSError:  # empty
            return False
