"""Logs on standard output: JSON for programs, text for people. A full disk loses log lines, never requests."""

import functools
import logging
import sys
from typing import TextIO

import structlog


class LossyWriter:
    """A text stream that drops what it cannot write."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is never closed."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes as far as possible; the length of `text`, as if all of it was written."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        """Flushes as far as possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def configure(level: str, form: str, stream: TextIO | None = None, replica: int | None = None) -> None:
    """Sends structlog's and the standard library's messages of at least `level` to `stream` (standard output).

    `form` is "json", "console" (text) or "auto": text on a terminal, JSON elsewhere. With `replica` every message says
    which one of several processes it is from.
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
        plain = structlog.dev.plain_traceback  # the default shows local variables too, and so secrets
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
    handler = logging.StreamHandler(LossyWriter(stream))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
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
    logging.getLogger("httpx").setLevel(logging.WARNING)  # which tells of every probe and scrape


def _shortened(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Without what joins log lines across systems, which would fill the lines of a terminal."""
    return {name: value for name, value in event.items() if name not in ("logger", "trace_id")}


def _marked(replica: int, logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["replica"] = replica
    return event
