"""How a run is told: lines and bars for people on standard error, JSON lines for programs on standard output."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from app.cli import batch
from app.cli.batch import Outcome
from app.cli.inputs import Work


class PeopleReport:
    """One line a picture; on a terminal also a bar for the run, and one for each picture under way."""

    def __init__(self, total: int, console: Console | None = None, *, quiet: bool = False) -> None:
        """`total` pictures; `quiet` leaves out the lines of those that went well."""
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._run = self._bars.add_task("pictures", total=total)
        self._under_way: dict[Work, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, work: Work) -> batch.Progress | None:
        """As Report; without a terminal nobody looks, so nothing is asked for."""
        if self._bars.disable:
            return None
        bar = self._under_way[work] = self._bars.add_task(f"[dim]{escape(Path(work.name).name)}", total=None)
        return lambda done, total: self._bars.update(bar, completed=done, total=total)

    def end(self, work: Work, outcome: Outcome) -> None:
        """As Report."""
        if work in self._under_way:
            self._bars.remove_task(self._under_way.pop(work))
        self._bars.advance(self._run)
        if outcome.status == "failed":
            self._console.print(f"[red]failed[/]  {escape(work.name)}: {escape(outcome.error)}")
        elif self._quiet:
            return
        elif outcome.status == "skipped":
            self._console.print(f"[yellow]skipped[/] {escape(work.name)}: {escape(str(work.target))} is there")
        else:
            target = str(work.target or "-")
            self._console.print(f"[green]done[/]    {escape(work.name)} -> {escape(target)} ({outcome.seconds:.1f} s)")

    def summary(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """The last line; only where there was more than one picture."""
        if len(outcomes) > 1:
            self._console.print(f"{_counts(outcomes)} in {seconds:.1f} s")
        if any(outcome.status == "skipped" for outcome in outcomes) and not self._quiet:
            self._console.print("--overwrite makes those again that are there.")


class JsonReport:
    """One JSON object a line for each picture, and one with the counts at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def begin(self, work: Work) -> batch.Progress | None:
        """As Report."""
        return None

    def end(self, work: Work, outcome: Outcome) -> None:
        """As Report."""
        line: dict[str, Any] = {
            "source": work.name,
            "target": str(work.target) if work.target else None,
            "status": outcome.status,
        }
        if outcome.status == "done":
            line |= {"bytes": outcome.size, "seconds": round(outcome.seconds, 3)}
        elif outcome.status == "failed":
            line |= {"error": outcome.error, "type": outcome.type or None}
        self._print(line)

    def summary(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """The last line."""
        counts = Counter(outcome.status for outcome in outcomes)
        names: tuple[batch.Status, ...] = ("done", "skipped", "failed")
        self._print({"summary": {name: counts[name] for name in names} | {"seconds": round(seconds, 3)}})

    @staticmethod
    def _print(line: dict[str, Any]) -> None:
        print(json.dumps(line, ensure_ascii=False), file=sys.stdout, flush=True)


def _counts(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{count} {name}" for name, count in counts.items())
