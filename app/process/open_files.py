"""The limit on open files, which include connections."""

import contextlib
import math

from app.errors import StartupError

with contextlib.suppress(ImportError):  # Windows has no such limit
    import resource

LEAST = 64
"""Files that the service needs at least: decoder processes, libraries, standard streams, a few connections."""


def raised_limit(wanted: int) -> float:
    """The limit on open files, after raising it towards `wanted` as far as permitted."""
    if "resource" not in globals():
        return math.inf
    soft, hard = (math.inf if limit == resource.RLIM_INFINITY else limit for limit in _limits())
    if soft < wanted:
        raised = min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS has another limit, which it does not report
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(raised), _limits()[1]))
            return raised
    return soft


def require() -> None:
    """Raises StartupError if fewer than LEAST files may be open."""
    if (limit := raised_limit(LEAST)) < LEAST:
        raise StartupError(f"only {limit} files may be open at once, and {LEAST} are needed: raise `ulimit -n`")


def _limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)
