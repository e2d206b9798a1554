"""What a scenario saw, and how it is shown."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.chaos.server import Vitals


@dataclass
class Finding:
    """What one scenario saw; `times` are in seconds, of the answers with 200, and `after` is of the idle service."""

    name: str
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    after: Vitals | None = None

    @property
    def latency(self) -> tuple[float, float, float]:
        """(median, 99th percentile, worst) in seconds."""
        times = sorted(self.times) or [0.0]
        return statistics.median(times), times[int(0.99 * (len(times) - 1))], times[-1]

    def document(self) -> dict[str, object]:
        """For JSON."""
        vitals = self.after or Vitals(0.0, 0, 0)
        return {
            "name": self.name,
            "seconds": round(self.seconds, 1),
            "statuses": self.statuses,
            "latency": [round(value, 3) for value in self.latency],
            "memory_mib": round(vitals.memory_mib),
            "threads": vitals.threads,
            "files": vitals.files,
            "broken": self.broken,
        }


def row(finding: Finding) -> str:
    """One row of the table."""
    vitals = finding.after or Vitals(0.0, 0, 0)
    answers = ", ".join(f"{n} × {s or 'left'}" for s, n in sorted(finding.statuses.items()))
    times = " / ".join(f"{value:.2f}" for value in finding.latency) if finding.times else ""
    return (
        f"| {finding.name} | {finding.seconds:.0f} | {answers} | {times} | {vitals.memory_mib:.0f} "
        f"| {vitals.threads} | {vitals.files} | {len(finding.broken)} |"
    )


def table(findings: Sequence[Finding]) -> str:
    """The findings in Markdown."""
    top = [
        "| scenario | seconds | answers | median / p99 / worst s | memory MiB | threads | files | promises broken |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(top + [row(finding) for finding in findings])
