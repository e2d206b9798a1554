"""Looks after the processes that pictures are decoded in, so that readiness and the log tell how they are."""

import asyncio
from typing import Literal, Protocol

import structlog

CHECK_SECONDS = 5.0
DecoderState = Literal["ok", "starting", "unavailable"]


class Decoders(Protocol):
    """Processes to decode in, beside the service."""

    @property
    def state(self) -> DecoderState:
        """Whether pictures can be decoded."""
        ...

    @property
    def fault(self) -> str:
        """Why they cannot; "" unless `state` is "unavailable"."""
        ...

    @property
    def gap(self) -> str | None:
        """What is missing of the processes' isolation; "" is nothing, and None that it is not known yet."""
        ...

    def start(self) -> None:
        """Begins."""
        ...

    def check(self) -> None:
        """Brings `state` up to date, and tries to mend what is amiss; may take long, so call it in a thread."""
        ...

    def close(self) -> None:
        """Ends."""
        ...


async def watch(decoders: Decoders) -> None:
    """Checks again and again until it is cancelled; logs what changes."""
    log = structlog.get_logger("lapsrn")
    fault, gap = "", ""
    while True:
        await asyncio.to_thread(decoders.check)
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
