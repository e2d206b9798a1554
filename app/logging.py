"""Logging to standard output, as JSON or text. Messages that cannot be written are dropped and never block requests."""

import functools
import logging
import os
import select
import stat
import sys
from contextlib import suppress
from typing import TextIO

import structlog

PATIENCE_SECONDS = 0.5
"""How long a line waits for its reader, such as a program behind a pipe that is slow for a moment."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""(minimum logging level, syslog priority)."""


class LossyWriter:
    """A text stream that drops what it cannot write: on a full disk, or if the reader does not keep up.

    A pipe whose 64 KiB are full blocks its writer, as does a terminal that was stopped with Ctrl-S, and the service
    would block with it.
    """

    def __init__(self, stream: TextIO) -> None:
        """`stream` is never closed. Nothing else should write to it."""
        self._stream = stream
        self._descriptor: _Descriptor | None = None
        if hasattr(select, "poll"):
            with suppress(OSError, ValueError, AttributeError):  # the stream has no descriptor
                self._descriptor = _Descriptor(stream.fileno())

    def write(self, text: str) -> int:
        """Writes as much as possible; returns the length of `text`, as if all of it had been written."""
        with suppress(OSError, ValueError):
            if self._descriptor is None:
                self._stream.write(text)
            else:
                self._descriptor.write(text.encode(self._stream.encoding or "utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Flushes; errors are ignored."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


class _Descriptor:
    """Writes to a descriptor; waits up to PATIENCE_SECONDS for room, but not again until there is room."""

    def __init__(self, number: int) -> None:
        self._number = _reopened(number)
        self._room = select.poll()
        self._room.register(self._number, select.POLLOUT)
        self._stuck = self._cut = False

    def write(self, data: bytes) -> None:
        if self._cut:
            data = b"\n" + data  # ends the line whose rest was dropped
        written = 0
        try:
            while written < len(data) and self._has_room():
                written += os.write(self._number, data[written : written + select.PIPE_BUF])
        finally:
            if written:
                self._cut = written < len(data)

    def _has_room(self) -> bool:
        """Whether PIPE_BUF bytes can be written without blocking."""
        room = bool(self._room.poll(0 if self._stuck else 1000 * PATIENCE_SECONDS))
        self._stuck = not room
        return room


def _reopened(number: int) -> int:
    """A new, non-blocking descriptor of a pipe or terminal; otherwise `number`.

    Even after a poll, a write may block, as other processes write to it, too. O_NONBLOCK is not set on the descriptor
    itself, which may be shared with a shell.
    """
    if stat.S_ISFIFO(os.fstat(number).st_mode) or os.isatty(number):
        with suppress(OSError):
            return os.open(f"/dev/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return number


class _JournalFormatter(structlog.stdlib.ProcessorFormatter):
    """Prefixes each message with its priority, which systemd's journal parses (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        """The message with its prefix, such as "<4>" for a warning."""
        priority = next((number for least, number in _PRIORITIES if record.levelno >= least), 7)
        return f"<{priority}>{super().format(record)}"


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream is connected to systemd's journal, by its device and inode (systemd.exec(5))."""
    with suppress(OSError, ValueError, AttributeError):
        place = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{place.st_dev}:{place.st_ino}"
    return False


def configure(level: str, form: str, stream: TextIO | None = None, replica: int | None = None) -> None:
    """Sends structlog's and the standard library's messages of at least `level` to `stream`, by default stdout.

    `form` is "json", "console" (text) or "auto": text on a terminal, JSON elsewhere. Messages to systemd's journal have
    its priorities. With `replica`, every message contains this number.
    """
    stream = stream or sys.stdout
    text = form == "console" or (form == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if text else "iso", utc=not text),
    ]
    if replica is not None:
        shared.append(functools.partial(_marked, replica))
    last: list[structlog.typing.Processor]
    if text:
        plain = structlog.dev.plain_traceback  # the default shows local variables, and thereby secrets
        renderer = structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, sort_keys=False, exception_formatter=plain
        )
        last = [_shortened, renderer]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = _JournalFormatter if _is_journal(stream) else structlog.stdlib.ProcessorFormatter
    handler = logging.StreamHandler(LossyWriter(stream))
    handler.setFormatter(
        formatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every probe and scrape at INFO


def _shortened(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Drops fields that only serve to correlate logs across systems, to keep lines on a terminal short."""
    return {name: value for name, value in event.items() if name not in ("logger", "trace_id")}


def _marked(replica: int, logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["replica"] = replica
    return event
