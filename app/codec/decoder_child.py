"""One decoder process as the service sees it: how it is started, asked, and ended."""

import contextlib
import json
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from app.codec import decoder_answer, decoder_protocol
from app.codec.raster import Raster
from app.codec.types import DecodeLimits
from app.errors import DecodersUnavailable
from app.options import UpscaleOptions

with contextlib.suppress(ImportError):  # Windows has none, but no such process either
    import fcntl

PROGRAM = "from app.codec.decoder_process import main; main(int(sys.argv[2]), int(sys.argv[3]))"
_PATHS = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
_PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH")
POSSIBLE = hasattr(select, "poll") and hasattr(os, "readv")
"""Whether this system waits for pipes with a deadline; Windows does not."""
_START_SECONDS = 60.0
_COMPLAINT_BYTES = 65536
_PIPE_BYTES = 1 << 20  # what Linux allows everybody; its pipes begin with 64 KiB


class GoneError(Exception):
    """The process has died, or its time is up; `reason` tells which."""

    def __init__(self, reason: str) -> None:
        super().__init__({"died": "crashed", "timeout": "took too long"}[reason])
        self.reason = reason


class DecoderChild:
    """One process and the two pipes to it. For one thread at a time; `end` may be called from any."""

    def __init__(self, memory_bytes: int, seconds: float, program: str = PROGRAM) -> None:
        """Starts it, without waiting until it is warm. Raises DecodersUnavailable if the system cannot start it.

        `memory_bytes` is what it may allocate beyond its code, `seconds` the time for one picture, `program` the Python
        code that it runs, which finds these two numbers in sys.argv[2] and [3].
        """
        numbers = (str(memory_bytes), str(math.ceil(seconds) + 5))
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-c", _PATHS + program, json.dumps(_import_path()), *numbers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=_environment(),
                bufsize=0,
                start_new_session=True,  # a Ctrl-C is for the service, which still has pictures to finish
            )
        except OSError as error:
            raise _unavailable(str(error)) from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._to, self._from = self._child.stdin.fileno(), self._child.stdout.fileno()
        _widen(self._to)
        _widen(self._from)
        self._complaints = self._child.stderr
        for descriptor in (self._to, self._from, self._complaints.fileno()):
            os.set_blocking(descriptor, False)
        self._seconds = seconds
        self.warm = False
        """Whether it has said that it is ready."""
        self.gap = ""
        """What is missing of its isolation, once it is warm."""

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._child.poll() is None

    @property
    def waits(self) -> bool:
        """Whether it waits for a question, or has ended: `wait` would return at once."""
        return self.warm or _ready(self._from, select.POLLIN, 0.0)

    def wait(self) -> None:
        """Waits until it is warm. Raises DecodersUnavailable, with what it wrote on standard error, if it fails."""
        if self.warm:
            return
        try:
            self.gap = decoder_answer.parsed_hello(self._header(time.monotonic() + _START_SECONDS))
        except (GoneError, ValueError) as error:
            raise _unavailable(self._complaint() or str(error)) from error
        self.warm = True
        self._complaints.close()

    def ask(
        self,
        parts: Sequence[decoder_protocol.Part],
        name: str,
        options: UpscaleOptions,
        limits: DecodeLimits,
    ) -> Raster:
        """The answer of a warm process to a message about a file of format `name`.

        Raises what the decoder found wrong, GoneError, or ValueError where the answer makes no sense.
        """
        if _ready(self._from, select.POLLIN, 0.0):
            raise ValueError("an answer to no question") if self.alive else GoneError("died")
        deadline = time.monotonic() + self._seconds
        for part in parts:
            self._send(memoryview(part), deadline)
        header = decoder_answer.parsed_answer(self._header(deadline))
        header.check(name, options, limits)
        return header.raster(self._received(header.total_bytes, deadline))

    def _header(self, deadline: float) -> bytes:
        size = decoder_protocol.header_size(bytes(self._received(decoder_protocol.PREFIX_SIZE, deadline)))
        if size > decoder_answer.MAX_HEADER:
            raise ValueError(f"a header of {size} bytes")
        return bytes(self._received(size, deadline))

    def _send(self, part: memoryview, deadline: float) -> None:
        while part:
            try:
                part = part[os.write(self._to, part) :]
            except BlockingIOError:
                _wait(self._to, select.POLLOUT, deadline)
            except BrokenPipeError as error:
                raise GoneError("died") from error

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
                raise GoneError("died")
            rest = rest[count:]
        return whole

    def _complaint(self) -> str:
        """The last line that the process wrote on standard error."""
        with contextlib.suppress(OSError, ValueError):
            lines = (self._complaints.read(_COMPLAINT_BYTES) or b"").decode(errors="replace").strip().splitlines()
            return lines[-1][:300] if lines else ""
        return ""

    def end(self) -> None:
        """Kills the process; a thread that waits for its answer gets a GoneError."""
        self._child.kill()

    def kill(self) -> None:
        """Kills the process, waits for its end, and closes the pipes."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()


def _widen(pipe: int) -> None:
    """Lets a pipe hold most messages whole, where the system can: else both sides wait at every piece."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a user's pipes may have no more than so many pages together
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _unavailable(reason: str) -> DecodersUnavailable:
    return DecodersUnavailable("Pictures cannot be decoded at the moment. Try again in a few seconds.", reason)


def _import_path() -> list[str]:
    """The folders that this process imports from; `-I` keeps the child from adding its own."""
    path = []
    for entry in filter(None, sys.path):
        with contextlib.suppress(FileNotFoundError):  # a relative one, and the working directory has been deleted
            path.append(str(Path(entry).absolute()))
    root = str(Path(__file__).resolve().parents[2])
    return path if root in path else [root, *path]


def _environment() -> dict[str, str]:
    """What an interpreter may need to start, and nothing else: this process's environment holds secrets."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _wait(descriptor: int, event: int, deadline: float) -> None:
    if not _ready(descriptor, event, max(0.0, deadline - time.monotonic())):
        raise GoneError("timeout")


def _ready(descriptor: int, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(seconds * 1000))
