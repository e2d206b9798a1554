"""Slow readers are waited for, clients that read nothing are not; with a fake clock and a fake transport."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from app.api import transport as client_transport
from app.api.transport import ClientTransport
from tests.api.transport import Transport


class Clock:
    """The part of an event loop that ClientTransport uses, with time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> "Handle":
        entry = (self.now + seconds, callback)
        self._due.append(entry)
        return Handle(lambda: self._due.remove(entry))

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while (entry := min(self._due, key=lambda due: due[0], default=None)) and entry[0] <= end:
            self._due.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = end

    @property
    def idle(self) -> bool:
        return not self._due


class Handle:
    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel


class Pipe(Transport):
    """Takes bytes; the test says how many of them wait, here or in the system."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.takes_eof, self.eof = True, False

    def write(self, data: Any) -> None:
        self.waiting += len(data)

    def can_write_eof(self) -> bool:
        return self.takes_eof

    def write_eof(self) -> None:
        assert self.takes_eof
        self.eof = True

    def get_write_buffer_size(self) -> int:
        return self.waiting


class Rig:
    def __init__(self) -> None:
        self.clock, self.pipe = Clock(), Pipe()
        self.unread = 0
        self.transport = ClientTransport(self.pipe, self.clock, 8.0, on_close=lambda: None, on_unread=self._note)  # type: ignore[arg-type]

    def _note(self) -> None:
        self.unread += 1


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_client_that_reads_nothing_is_given_up_after_the_timeout(rig: Rig) -> None:
    rig.transport.write(bytes(100))
    rig.clock.pass_by(7.9)
    assert rig.unread == 0
    rig.clock.pass_by(0.2)
    assert rig.unread == 1
    assert rig.clock.idle


def test_a_client_that_reads_slowly_is_waited_for(rig: Rig) -> None:
    rig.transport.write(bytes(100))
    for _ in range(50):
        rig.clock.pass_by(7.9)
        rig.pipe.waiting -= 1
    rig.clock.pass_by(2.0)
    assert rig.unread == 0


def test_bytes_acknowledged_from_the_kernels_buffer_count_as_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel accepts new bytes only when much of its buffer is free, which takes minutes with a slow reader."""
    held = 1000
    monkeypatch.setattr(client_transport, "_unacknowledged", lambda socket: held)
    rig.transport.write(bytes(5000))
    for _ in range(50):
        rig.clock.pass_by(7.9)
        held -= 1
    assert rig.unread == 0
    rig.clock.pass_by(12.0)
    assert rig.unread == 1


def test_an_idle_connection_is_not_checked(rig: Rig) -> None:
    rig.transport.write(bytes(100))
    rig.pipe.waiting = 0
    rig.clock.pass_by(2.0)
    assert rig.clock.idle
    rig.clock.pass_by(1000.0)
    rig.transport.write(bytes(100))  # the time counts from here
    rig.clock.pass_by(7.9)
    assert rig.unread == 0
    rig.clock.pass_by(0.2)
    assert rig.unread == 1


def test_cutting_off_a_lost_connection_is_harmless() -> None:
    """A connection may be chosen to be cut off just as its client disconnects."""

    async def cut_off() -> int:
        here, there = socket.socketpair()
        with there:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=here)
            wrapper = ClientTransport(transport, asyncio.get_running_loop(), 8.0, on_close=print, on_unread=print)
            transport.abort()
            await asyncio.sleep(0.01)
            wrapper.abort()
            return wrapper.taken_so_far()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(cut_off()) == 0


def test_a_lost_connection_is_not_checked(rig: Rig) -> None:
    rig.transport.write(bytes(100))
    rig.transport.lost()
    rig.clock.pass_by(100.0)
    assert (rig.unread, rig.clock.idle) == (0, True)


def test_a_held_connection_resumes_reading_only_when_released_and_unpaused(rig: Rig) -> None:
    transport, pipe = rig.transport, rig.pipe
    transport.hold()
    transport.pause_reading()
    transport.resume_reading()
    assert not pipe.reading
    assert transport.unhold()
    assert pipe.reading
    transport.hold()
    transport.pause_reading()
    assert transport.unhold()
    assert not pipe.reading
    transport.resume_reading()
    assert pipe.reading


def test_a_closing_connection_does_not_resume_reading(rig: Rig) -> None:
    transport, pipe = rig.transport, rig.pipe
    transport.hold()
    pipe.closing = True
    assert not transport.unhold()
    assert not pipe.reading


@pytest.mark.parametrize("takes_eof", [True, False], ids=["plain", "TLS"])
def test_a_half_closed_connection_sends_nothing_more_but_reads_on(rig: Rig, takes_eof: bool) -> None:
    rig.pipe.takes_eof = takes_eof
    assert not rig.transport.is_closing()
    rig.transport.half_close()
    assert rig.transport.is_closing()
    assert (rig.pipe.eof, rig.pipe.closing, rig.pipe.reading) == (takes_eof, False, True)


def test_uvicorn_can_pause_reading(rig: Rig) -> None:
    rig.transport.pause_reading()
    assert not rig.pipe.reading
    rig.transport.resume_reading()
    assert rig.pipe.reading


def test_unread_bytes_are_dropped_when_a_connection_is_cut_off() -> None:
    """A client that is cut off must not take an incomplete answer without a length for a whole one."""

    async def cut_off() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            there = socket.create_connection(listener.getsockname())
            here, _ = listener.accept()
        loop = asyncio.get_running_loop()
        with there:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
            wrapper = ClientTransport(transport, loop, 8.0, on_close=print, on_unread=print)
            wrapper.write(b"incomplete")
            wrapper.abort()
            await asyncio.sleep(0.01)
            there.settimeout(5.0)
            with pytest.raises(ConnectionResetError):
                while there.recv(100):
                    pass
                raise AssertionError("the answer ended as if it were complete")
            wrapper.lost()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cut_off())
