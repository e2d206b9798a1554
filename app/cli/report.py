"""Reports of a run: lines and progress bars on standard error, or JSON lines for programs on standard output."""

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
from app.cli.wording import printable


class TextReport:
    """One line per picture; on a terminal also a bar for the run, and one for each picture in progress."""

    def __init__(self, total: int | None, console: Console | None = None, *, quiet: bool = False) -> None:
        """`total` is the number of pictures, None if unknown; `quiet` prints nothing but failures."""
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
        self._in_progress: dict[Work, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def loading(self) -> None:
        """Prints a line."""
        if not self._quiet:
            self._console.print("[dim]loading the network...[/]")

    def begin(self, work: Work) -> batch.Progress | None:
        """Adds a bar on a terminal; otherwise returns None, so that no requests are spent on a service's progress."""
        if self._bars.disable:
            return None
        if work in self._in_progress:  # tried again
            self._bars.remove_task(self._in_progress.pop(work))
        bar = self._in_progress[work] = self._bars.add_task(f"[dim]{_text(Path(work.name).name)}", total=None)
        return lambda done, total: self._bars.update(bar, completed=done, total=total)

    def end(self, work: Work, outcome: Outcome) -> None:
        """Prints the line of a picture, and removes its bar."""
        if work in self._in_progress:
            self._bars.remove_task(self._in_progress.pop(work))
        self._bars.advance(self._run)
        if outcome.status == "failed":
            self._console.print(f"[red]failed[/]  {_text(work.name)}: {_text(outcome.error)}")
        elif self._quiet:
            return
        elif outcome.status in ("ignored", "waiting"):
            self._console.print(f"[yellow]{outcome.status}[/] {_text(work.name)}: {_text(outcome.error)}")
        elif outcome.status == "skipped":
            self._console.print(f"[yellow]skipped[/] {_text(work.name)}: {_text(work.target)} exists")
        else:
            target = work.target or "-"
            cleaned = outcome.clean and not outcome.clean.startswith("0;") and outcome.clean != "0"
            about = f"{outcome.seconds:.1f} s" + (f", clean {outcome.clean}" if cleaned else "")
            self._console.print(f"[green]done[/]    {_text(work.name)} -> {_text(target)} ({_text(about)})")
            if outcome.truncated:
                self._console.print("        incomplete: a part of it was missing or damaged")
            if outcome.left_out:
                self._console.print(f"        {_text(outcome.left_out)}")

    def summary(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Prints the totals of several pictures, and advice on skipped ones; if quiet, only totals with failures."""
        if self._quiet and not any(outcome.status == "failed" for outcome in outcomes):
            return
        if len(outcomes) > 1:
            self._console.print(f"{_counts(outcomes)} in {seconds:.1f} s")
        if any(outcome.status == "skipped" for outcome in outcomes) and not self._quiet:
            self._console.print(
                "Results that exist are kept, whatever options they were made with; --overwrite makes them again."
            )


class JsonReport:
    """One line of JSON for each picture, and one with the totals at the end; in ASCII, which suits any encoding.

    Raises OSError if standard output cannot be written.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def loading(self) -> None:
        """Prints nothing, as programs need no such message."""

    def begin(self, work: Work) -> batch.Progress | None:
        """None: no progress is printed."""
        return None

    def end(self, work: Work, outcome: Outcome) -> None:
        """Prints the object of a picture."""
        line: dict[str, Any] = {
            "source": work.name,
            "target": str(work.target) if work.target else None,
            "status": outcome.status,
        }
        if outcome.status == "done":
            line |= {"bytes": outcome.size, "seconds": round(outcome.seconds, 3), "clean": outcome.clean or None}
            if outcome.left_out:
                line["left_out"] = outcome.left_out
            if outcome.truncated:
                line["truncated"] = True
        elif outcome.error:
            line |= {"error": outcome.error, "type": outcome.type or None}
        self._print(line)

    def summary(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Prints the object with the totals."""
        counts = Counter(outcome.status for outcome in outcomes)
        names: tuple[batch.Status, ...] = ("done", "skipped", "failed")
        self._print({"summary": {name: counts[name] for name in names} | {"seconds": round(seconds, 3)}})

    @staticmethod
    def _print(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=sys.stdout, flush=True)


def _text(value: object) -> str:
    return escape(printable(str(value)))


def _counts(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{count} {name}" for name, count in counts.items())
