"""Logs: one JSON line per event on standard output. A full disk or a closed pipe costs log lines, never requests."""

import logging
import sys
from typing import TextIO

import structlog


class LossyWriter:
    """A text stream that drops what it cannot write."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is written to, never closed."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or forgets."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        """Flushes, or does not."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends structlog's and the standard library's messages of at least `level` to `stream` (standard output).

    `form` is "json" or "console".
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor]
    if form == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=False)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(LossyWriter(stream or sys.stdout))
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
