"""The limit on open files, connections among them."""

import contextlib
import math

from app.errors import StartupError

with contextlib.suppress(ImportError):  # Windows has no such limit
    import resource

LEAST = 64
"""Files without which the service cannot do: decoder processes, libraries, standard streams, a few connections."""


def raised_limit(wanted: int) -> float:
    """How many files may be open, after that limit has been raised towards `wanted` as far as it may."""
    if "resource" not in globals():
        return math.inf
    soft, hard = (math.inf if limit == resource.RLIM_INFINITY else limit for limit in _limits())
    if soft < wanted:
        raised = min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS has a limit that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(raised), _limits()[1]))
            return raised
    return soft


def require() -> None:
    """Raises StartupError where LEAST files may not be open."""
    if (limit := raised_limit(LEAST)) < LEAST:
        raise StartupError(f"only {limit} files may be open at once, and {LEAST} are needed: raise `ulimit -n`")


def _limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)
