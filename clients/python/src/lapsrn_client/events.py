"""Parses server-sent events from the lines of a stream (HTML standard, section 9.2.6)."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is the last one that the stream has set, "" if none."""

    kind: str
    data: str
    id: str


async def events(lines: AsyncIterator[str]) -> AsyncGenerator[Event, None]:
    """The events of a stream. An incomplete one at its end is dropped."""
    kind, last = "", ""
    data: list[str] = []
    async for line in lines:
        if not line:
            if data:
                yield Event(kind or "message", "\n".join(data), last)
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            last = value
