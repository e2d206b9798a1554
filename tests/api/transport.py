"""A transport without a socket, for a protocol that a test feeds with bytes."""

import asyncio
from typing import Any


class Transport(asyncio.Transport):
    """Drops what is written to it; remembers whether the protocol reads, and whether it has closed the connection."""

    def __init__(self, address: str = "192.0.2.1") -> None:
        super().__init__()
        self.reading, self.closing = True, False
        self._address = address

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: Any) -> None: ...

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._address, 1) if name == "peername" else default
