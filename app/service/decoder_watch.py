"""Checks the decoder processes periodically, and logs when they cannot be started."""

import asyncio
from typing import Literal, Protocol

import structlog

CHECK_SECONDS = 5.0
DecoderState = Literal["ok", "starting", "unavailable"]


class Decoders(Protocol):
    """The decoder processes."""

    @property
    def state(self) -> DecoderState:
        """Whether pictures can be decoded."""
        ...

    @property
    def fault(self) -> str:
        """Why pictures cannot be decoded; "" unless `state` is "unavailable"."""
        ...

    @property
    def gap(self) -> str | None:
        """Which part of the processes' isolation is missing; "" if none is, None if that is not known yet."""
        ...

    def start(self) -> None:
        """Starts the first process."""
        ...

    def check(self) -> None:
        """Replaces dead processes, and updates `state`; may block for long, so call it in a thread."""
        ...

    def close(self) -> None:
        """Stops all processes."""
        ...


async def watch(decoders: Decoders) -> None:
    """Checks the decoders until cancelled; logs changes."""
    log = structlog.get_logger("lapsrn")
    fault, gap = "", ""
    while True:
        try:
            await asyncio.to_thread(decoders.check)
        except Exception:  # as without memory, or a thread
            log.exception("decoder processes could not be checked; the next check is in a few seconds")
        if decoders.fault != fault:
            fault = decoders.fault
            if fault:
                log.error("decoder processes do not start; LAPSRN_DECODE=inline does without them", reason=fault)
            else:
                log.info("decoder processes start again")
        if decoders.gap and not gap:
            gap = decoders.gap
            log.warning("decoder processes are not isolated from the system", reason=gap)
        await asyncio.sleep(CHECK_SECONDS)
