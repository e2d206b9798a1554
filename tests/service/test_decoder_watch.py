"""The log reports decoders that do not start, that start again, and that are not isolated, once each."""

import asyncio

import pytest
import structlog

from app.service.decoder_watch import DecoderState, watch


class Over(BaseException):
    """There are no more finds."""


class Decoders:
    """Finds one (state, fault, gap) after the other at each check, or raises an error; then it is over."""

    def __init__(self, *finds: tuple[DecoderState, str, str | None] | Exception) -> None:
        self.finds = list(finds)
        self.state: DecoderState = "starting"
        self.fault = ""
        self.gap: str | None = None

    def check(self) -> None:
        if not self.finds:
            raise Over
        found = self.finds.pop(0)
        if isinstance(found, Exception):
            raise found
        self.state, self.fault, self.gap = found

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
    with structlog.testing.capture_logs() as logs, pytest.raises(Over):
        await asyncio.wait_for(watch(decoders), 30)
    fault = "decoder processes do not start; LAPSRN_DECODE=inline does without them"
    assert [(entry["log_level"], entry["event"], entry.get("reason")) for entry in logs] == [
        ("warning", "decoder processes are not isolated from the system", "no filter"),
        ("error", fault, "no memory"),
        ("error", fault, "no numpy"),
        ("info", "decoder processes start again", None),
    ]


async def test_a_check_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.decoder_watch.CHECK_SECONDS", 0.0)
    decoders = Decoders(RuntimeError("can't start new thread"), ("unavailable", "no memory", None))
    with structlog.testing.capture_logs() as logs, pytest.raises(Over):
        await asyncio.wait_for(watch(decoders), 30)
    assert [entry["event"] for entry in logs] == [
        "decoder processes could not be checked; the next check is in a few seconds",
        "decoder processes do not start; LAPSRN_DECODE=inline does without them",
    ]
