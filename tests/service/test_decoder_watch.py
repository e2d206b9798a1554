"""The log reports decoders that do not start, that start again, and that are not isolated, once each."""

import asyncio

import pytest
import structlog

from app.service.decoder_watch import DecoderState, watch


class Decoders:
    """Finds one (state, fault, gap) after the other at each check, and is cancelled then."""

    def __init__(self, *finds: tuple[DecoderState, str, str | None]) -> None:
        self.finds = list(finds)
        self.state: DecoderState = "starting"
        self.fault = ""
        self.gap: str | None = None

    def check(self) -> None:
        if not self.finds:
            raise EOFError
        self.state, self.fault, self.gap = self.finds.pop(0)

    def start(self) -> None: ...

    def close(self) -> None: ...


async def test_each_change_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.decoder_watch.CHECK_SECONDS", 0.0)
    decoders = Decoders(
        ("ok", "", "no filter"),
        ("ok", "", "no filter"),
        ("unavailable", "no memory", "no filter"),
        ("unavailable", "no memory", "no filter"),
        ("unavailable", "no numpy", "no filter"),
        ("ok", "", "no filter"),
        ("ok", "", "no filter"),
    )
    with structlog.testing.capture_logs() as logs, pytest.raises(EOFError):
        await asyncio.wait_for(watch(decoders), 30)
    fault = "decoder processes do not start; LAPSRN_DECODE=inline does without them"
    assert [(entry["log_level"], entry["event"], entry.get("reason")) for entry in logs] == [
        ("warning", "decoder processes are not isolated from the system", "no filter"),
        ("error", fault, "no memory"),
        ("error", fault, "no numpy"),
        ("info", "decoder processes start again", None),
    ]
