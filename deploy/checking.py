"""What every check of a deployment needs: assertions, waiting with a time limit, and timed steps.

Like all that the checks with Docker import, it needs nothing but Python's standard library.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 900
"""Seconds after which something hangs, on however busy a machine."""


class CheckFailed(Exception):
    """A promise did not hold; the text says which."""


def require(condition: bool, message: str) -> None:
    """Raises CheckFailed(message) unless `condition`."""
    if not condition:
        raise CheckFailed(message)


def poll(what: str, probe: Callable[[], bool], seconds: float) -> None:
    """Calls `probe` until it returns true; raises CheckFailed after `seconds`."""
    end = time.monotonic() + seconds
    while not probe():
        require(time.monotonic() < end, f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


@contextmanager
def step(check: str, name: str) -> Iterator[None]:
    """Prints what the check does now, and how long it took."""
    began = time.monotonic()
    print(f"{check}: {name} ...", flush=True)
    yield
    print(f"{check}: {name}: ok, {time.monotonic() - began:.1f} s", flush=True)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free at the moment, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
