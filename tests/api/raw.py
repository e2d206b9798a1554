"""An ASGI client for what httpx cannot do: bodies that come in pieces, stall, or break off."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI


@dataclass
class Exchange:
    """One request. `pieces` are sent one by one; then the client waits, or leaves once `leave` is set."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterable[bytes] = ()
    stall: bool = False
    """Never sends the last piece."""
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0
    body: bytes = b""
    taken: int = 0
    """Pieces that the application asked for."""

    def __post_init__(self) -> None:
        self._queue = list(self.pieces)
        self._total = len(self._queue)

    async def run(self, app: FastAPI) -> "Exchange":
        path, _, query = self.path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in self.headers.items()],
            "client": ("192.0.2.1", 1),
            "server": ("test", 80),
            "state": {},
        }
        await app(scope, self._receive, self._send)
        return self

    async def _receive(self) -> dict[str, Any]:
        if self.taken < self._total:
            piece = self._queue[self.taken]
            self.taken += 1
            more = self.stall or self.taken < self._total
            return {"type": "http.request", "body": piece, "more_body": more}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
