"""Decoding in processes of its own, so that a crash, a hang or a leak of a C decoder stays in there.

Each process serves one picture after another over two pipes, under a limit on its address space. One that dies, or
takes longer than it may, is killed and replaced; only the picture it was at is refused.
"""

import math
import os
import queue
import select
import subprocess
import sys
import time
from collections.abc import Sequence

from app.codec import decoder_protocol
from app.codec.limits import accepted_format
from app.codec.raster import Raster
from app.codec.types import DecodeLimits
from app.errors import UndecodablePicture
from app.options import UpscaleOptions

READY = b"r"
_START_SECONDS = 60.0


class _GoneError(Exception):
    """The process has died, or its time is up; `died` tells which."""

    def __init__(self, died: bool) -> None:
        super().__init__("crashed" if died else "took too long")
        self.died = died


class _Process:
    """One decoder process and the two pipes to it."""

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        numbers = (str(memory_bytes), str(math.ceil(seconds) + 5))
        command = [sys.executable, "-m", "app.codec.decoder_process", *numbers]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C is for the service, which still has pictures to finish
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._to, self._from = self._child.stdin.fileno(), self._child.stdout.fileno()
        for descriptor in (self._to, self._from):
            os.set_blocking(descriptor, False)
        self._ready = False

    def ask(self, parts: Sequence[decoder_protocol.Part], seconds: float) -> Raster:
        """The answer to a message. Raises what the decoder found wrong, or _GoneError."""
        if not self._ready:
            if bytes(self._received(1, time.monotonic() + _START_SECONDS)) != READY:
                raise RuntimeError("the decoder process does not start; set LAPSRN_DECODE=inline to do without")
            self._ready = True
        deadline = time.monotonic() + seconds
        for part in parts:
            self._send(memoryview(part), deadline)
        header, blobs = decoder_protocol.sizes(bytes(self._received(decoder_protocol.PREFIX_SIZE, deadline)))
        return decoder_protocol.parsed_answer(bytes(self._received(header, deadline)), self._received(blobs, deadline))

    def _send(self, part: memoryview, deadline: float) -> None:
        while part:
            try:
                part = part[os.write(self._to, part) :]
            except BlockingIOError:
                _wait(self._to, select.POLLOUT, deadline)
            except BrokenPipeError as error:
                raise _GoneError(died=True) from error

    def _received(self, size: int, deadline: float) -> memoryview:
        whole = memoryview(bytearray(size))
        rest = whole
        while rest:
            try:
                count = os.readv(self._from, [rest])
            except BlockingIOError:
                _wait(self._from, select.POLLIN, deadline)
                continue
            if count == 0:
                raise _GoneError(died=True)
            rest = rest[count:]
        return whole

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    def kill(self) -> None:
        """Ends the process, whatever it is doing."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()


def _wait(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise _GoneError(died=False)


class DecoderPool:
    """A pool of decoder processes; `read` is a Codec's `read`, and safe to call from several threads."""

    def __init__(
        self, count: int, limits: DecodeLimits, *, timeout_seconds: float = 30.0, memory_bytes: int = 0
    ) -> None:
        """`memory_bytes` is what one process may take on top of its code; 0 reckons it from the limits.

        Call `start` to have the processes at once; they are started by the first pictures otherwise.
        """
        self._count, self._timeout = count, timeout_seconds
        # Frames, their copies in other modes, colour conversion in float: at most 64 bytes a pixel were seen.
        self._memory = memory_bytes or (256 << 20) + 2 * limits.max_input_bytes + 96 * limits.max_input_pixels
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        self._closed = False

    def start(self) -> None:
        """Starts every process, without waiting for them."""
        for process in [self._idle.get() for _ in range(self._count)]:
            self._idle.put(process or _Process(self._memory, self._timeout))

    def read(self, data: bytes, options: UpscaleOptions, limits: DecodeLimits) -> Raster:
        """As app.codec.reader.read; a file on which the decoder dies or does not end is an UndecodablePicture."""
        name = accepted_format(data, limits).title
        process = self._idle.get()
        old = process is not None
        try:
            process = process or _Process(self._memory, self._timeout)
            message = decoder_protocol.request(data, options, limits)
            try:
                return process.ask(message, self._timeout)
            except _GoneError as error:
                # It may have died before, of something else: a picture is refused when a second one dies on it.
                process = self._replaced(process)
                if not (old and error.died and process is not None):
                    raise
                return process.ask(message, self._timeout)
        except _GoneError as error:
            process = self._replaced(process)
            raise UndecodablePicture(f"The {name} was given up: the decoder {error} on it.") from error
        except (ValueError, KeyError, TypeError) as error:
            process = self._replaced(process)
            raise UndecodablePicture(f"The {name} was given up: the decoder's answer made no sense.") from error
        finally:
            self._idle.put(process)

    def _replaced(self, process: _Process | None) -> _Process | None:
        if process is not None:
            process.kill()
        return None if self._closed else _Process(self._memory, self._timeout)

    def close(self) -> None:
        """Ends every process; those at work finish their picture first."""
        self._closed = True
        for process in [self._idle.get() for _ in range(self._count)]:
            if process is not None:
                process.kill()
        for _ in range(self._count):
            self._idle.put(None)
