"""HTTP as bytes over a socket, for what no client library would send."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

SECONDS = 20.0
"""Longer than anything here takes; a test that waits so long fails."""


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to the server at `url`."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as connection:
        yield connection


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def exchanged(url: str, *sent: bytes) -> bytes:
    """What comes back until the server closes, after all of this was sent on one connection."""
    with connected(url) as connection:
        for piece in sent:
            connection.sendall(piece)
        return received(connection)


def statuses(answers: bytes) -> list[int]:
    """Of all answers on one connection. Bodies must not look like status lines."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
