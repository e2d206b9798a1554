"""A client of the service, once it has been identified."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` appears in logs and is what fairness is measured by; `owner` is what results and jobs are bound to."""

    name: str
    owner: str
    max_concurrent: int
    requests_per_minute: int
    admin: bool
