"""The results of a measure, and the tables and JSON that are made of them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: `quick` is a smoke test whose numbers mean nothing."""

    quick: bool = False

    def pick(self, full: int, quick: int) -> int:
        """A repeat count, a side, or a number of seconds."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Row:
    """One number. `target` is the goal in words, "" for none."""

    what: str
    value: float
    unit: str
    target: str = ""


@dataclass(slots=True)
class Section:
    """The rows of one measure, how long it took, and what a reader must know about them."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, what: str, value: float, unit: str, target: str = "") -> None:
        """One more row."""
        self.rows.append(Row(what, value, unit, target))

    def markdown(self) -> str:
        """A heading, a table, and the notes."""
        lines = [f"### {self.title} (`python -m bench --only {self.name}`, {self.seconds:.0f} s)", ""]
        lines += ["| what | value | target |", "|---|---:|---|"]
        lines += [f"| {row.what} | {number(row.value)} {row.unit} | {row.target} |" for row in self.rows]
        return "\n".join([*lines, "", *self.notes])


def number(value: float) -> str:
    """Three significant digits, or whole thousands."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(times: Sequence[float]) -> float:
    """The median, in milliseconds."""
    return 1000 * statistics.median(times)
