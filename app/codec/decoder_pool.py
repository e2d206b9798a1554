"""Decoding in separate processes, which contain a crash, a hang, a leak, or the takeover of a C decoder.

Each process decodes one picture after another, isolated (app.codec.confinement) and with limited memory. A process that
dies, exceeds its time, or gives a malformed answer is killed and replaced; only the picture it was decoding is refused.
"""

import contextlib
import time
from collections import deque
from threading import Condition
from typing import Literal, Protocol

from app.codec import decoder_protocol
from app.codec.decoder_child import PROGRAM, DecoderChild, GoneError
from app.codec.limits import accepted_format
from app.codec.raster import Raster
from app.codec.types import DecodeLimits
from app.errors import ClientError, DecodersUnavailable, UndecodablePicture
from app.options import UpscaleOptions
from app.turns import Seats

State = Literal["starting", "ok", "unavailable"]


class DecoderObserver(Protocol):
    """What a pool reports; called from any thread."""

    def decoder_wait(self, seconds: float) -> None:
        """A picture waited so long for a free process."""
        ...

    def decoder_lost(self, reason: str) -> None:
        """A process was replaced: it "died", ran into the "timeout", or its answer was "malformed"."""
        ...

    def decoders_up(self, up: bool) -> None:
        """Whether processes can be started."""
        ...


class _Unobserved:
    """Ignores what is reported."""

    def decoder_wait(self, seconds: float) -> None: ...

    def decoder_lost(self, reason: str) -> None: ...

    def decoders_up(self, up: bool) -> None: ...


class DecoderPool:
    """A pool of decoder processes; `read` is a Codec's `read`, and safe to call from several threads.

    Clients take turns, picture by picture. The last of several processes is kept for clients that have none at work.
    """

    def __init__(
        self,
        count: int,
        limits: DecodeLimits,
        *,
        timeout_seconds: float = 30.0,
        memory_bytes: int = 0,
        observer: DecoderObserver | None = None,
        program: str = PROGRAM,
    ) -> None:
        """`memory_bytes` is what one process may allocate beyond its code; 0 derives it from the limits.

        Processes are started by `start`, or else by the first pictures. `program` is the Python code that they run.
        """
        self._timeout, self._program = timeout_seconds, program
        self._observer: DecoderObserver = observer or _Unobserved()
        # Frames, their copies in other modes, colour conversion in float: at most 64 bytes per pixel were measured.
        self._memory = memory_bytes or (256 << 20) + 2 * limits.max_input_bytes + 96 * limits.max_input_pixels
        self._count = count
        self._idle: deque[DecoderChild | None] = deque([None] * count)
        self._freed = Condition()
        self._seats: Seats[object] = Seats(max(1, count - 1))
        self._called: set[object] = set()  # those who wait and have a seat: the next idle process is theirs
        self._warming: set[DecoderChild] = set()
        self._closed = False
        self._state: State = "starting"
        self._fault = ""
        self._gap: str | None = None

    @property
    def state(self) -> State:
        """Whether pictures can be decoded, as far as is known from the process that was started last."""
        return self._state

    @property
    def fault(self) -> str:
        """What a process that did not start said last; "" unless `state` is "unavailable"."""
        return self._fault

    @property
    def gap(self) -> str | None:
        """What is missing of the processes' isolation; "" is nothing, and None that no process was warm yet."""
        return self._gap

    @property
    def pids(self) -> list[int]:
        """Of the processes that are idle."""
        with self._freed:
            return [child.pid for child in self._idle if child is not None]

    def start(self) -> None:
        """Starts one process, without waiting for it; `check`, or pictures that find none, start the others.

        One is enough to begin with, and is warm sooner where it does not share the cores with others.
        """
        with self._freed:
            if any(self._idle) or not self._idle:
                return
            self._idle.pop()
        self._give_back(self._spawned())

    def check(self) -> None:
        """Replaces idle processes that died, and waits until all idle ones are warm; `state` is right afterwards."""
        for _ in range(self._count):
            with self._freed:
                doubtful = [child for child in self._idle if child is None or not (child.warm and child.alive)]
                if self._closed or not doubtful:
                    return
                child = next(filter(None, doubtful), None)
                self._idle.remove(child)
            kept = None
            try:
                with contextlib.suppress(DecodersUnavailable):
                    kept = self._warmed(self._replaced(child, "died") if child is not None and child.warm else child)
            finally:
                self._give_back(kept)

    def read(self, data: bytes, options: UpscaleOptions, limits: DecodeLimits, client: str = "") -> Raster:
        """As app.codec.reader.read, when it is the client's turn.

        UndecodablePicture also for a file on which the decoder dies or does not end; DecodersUnavailable where no
        process can be started.
        """
        name = accepted_format(data, limits).title
        message = decoder_protocol.request(data, options, limits)
        began = time.monotonic()
        kept = self._take_in_turn(client)
        self._observer.decoder_wait(time.monotonic() - began)
        old = kept is not None and kept.warm
        try:
            while True:
                taken, kept = kept, None
                child = kept = self._warmed(taken)
                try:
                    return child.ask(message, name, options, limits)
                except ClientError:  # its answer
                    raise
                except GoneError as error:
                    kept = self._replaced(child, error.reason)
                    # An idle process may have died of something else, so only a second death refuses the picture.
                    if not (old and error.reason == "died"):
                        raise UndecodablePicture(f"The {name} was given up: the decoder {error} on it.") from error
                    old = False
                except ValueError as error:
                    kept = self._replaced(child, "malformed")
                    problem = f"The {name} was given up: the decoder's answer made no sense."
                    raise UndecodablePicture(problem) from error
                except BaseException:  # as without memory: what is left of the answer must not reach the next one
                    child.kill()
                    kept = None
                    raise
        finally:
            self._give_back(kept)
            self._leave(client)

    def close(self) -> None:
        """Ends every process; those at work finish their picture first. `read` must not be called afterwards."""
        with self._freed:
            self._closed = True
            for starting in self._warming:
                starting.end()
        for child in self._take_all():
            if child is not None:
                child.kill()
            self._give_back(None)

    def _take_in_turn(self, client: str) -> DecoderChild | None:
        waiting = object()
        with self._freed:
            self._seats.wait(client, waiting)
            self._call()
            self._freed.wait_for(lambda: waiting in self._called and self._idle)
            self._called.remove(waiting)
            return self._pop()

    def _leave(self, client: str) -> None:
        with self._freed:
            self._seats.leave(client)
            self._call()

    def _call(self) -> None:
        """Gives free seats to those whose turn it is."""
        while (found := self._seats.take()) is not None:
            self._called.add(found[1])
        self._freed.notify_all()

    def _take(self) -> DecoderChild | None:
        with self._freed:
            self._freed.wait_for(lambda: self._idle)
            return self._pop()

    def _take_all(self) -> list[DecoderChild | None]:
        return [self._take() for _ in range(self._count)]

    def _give_back(self, child: DecoderChild | None) -> None:
        with self._freed:
            self._idle.append(child)
            self._freed.notify_all()

    def _pop(self) -> DecoderChild | None:
        """The one that was given back last of those that are warm, else one that is starting, else a place for one."""
        best = max(reversed(self._idle), key=lambda child: 0 if child is None else 1 + child.waits)
        self._idle.remove(best)
        return best

    def _warmed(self, child: DecoderChild | None) -> DecoderChild:
        """The process, or a new one, when it is warm. Ends it before it raises DecodersUnavailable or others."""
        try:
            if child is None:
                child = DecoderChild(self._memory, self._timeout, self._program)
            if not child.warm:
                with self._freed:
                    if self._closed:
                        child.end()
                    self._warming.add(child)
                child.wait()
        except BaseException as error:
            if child is not None:
                child.kill()
            if isinstance(error, DecodersUnavailable):
                self._tell_fault(error.reason)
            raise
        finally:
            if child is not None:
                with self._freed:
                    self._warming.discard(child)
        self._tell_up(child.gap)
        return child

    def _replaced(self, child: DecoderChild, reason: str) -> DecoderChild | None:
        """A new process in place of `child`, not warm yet; None where there can be none."""
        child.kill()
        self._observer.decoder_lost(reason)
        return None if self._closed else self._spawned()

    def _spawned(self) -> DecoderChild | None:
        try:
            return DecoderChild(self._memory, self._timeout, self._program)
        except DecodersUnavailable as error:
            self._tell_fault(error.reason)
            return None

    def _tell_fault(self, reason: str) -> None:
        with self._freed:
            if self._closed:
                return
            self._fault, self._state = reason, "unavailable"
        self._observer.decoders_up(False)

    def _tell_up(self, gap: str) -> None:
        with self._freed:
            self._gap, self._fault, self._state = gap, "", "ok"
        self._observer.decoders_up(True)
