"""A decoder process that a hostile file has taken over: what it can see, and what its answers can do to the service."""

import json
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.codec import DecodeLimits
from app.codec.decoder_answer import MAX_HEADER
from app.codec.decoder_pool import DecoderPool
from app.codec.limits import MAX_FRAMES
from app.errors import DecodersUnavailable, TooManyPixels, UndecodablePicture
from tests.codec.support import picture, saved, wanted

pytestmark = pytest.mark.slow

LIMITS = DecodeLimits(max_input_pixels=1 << 20, max_output_pixels=1 << 22)
OPTIONS = wanted(scale=2, frames="all", metadata="all")
DATA = saved(picture(2, 3, 3), "PNG")

PRELUDE = """
import json, os, struct, sys, time

def read(size):
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data))
    return data

def question():
    header = json.loads(read(*struct.unpack("<I", read(4))))
    read(header["size"])

def message(header, blobs=b"", size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(text) if size is None else size) + text + blobs

def say(*parts):
    os.write(1, message(*parts))
"""
HELLO = 'say({"gap": ""})'
GOOD: dict[str, Any] = {
    "format": "PNG",
    "shape": [2, 3, 3],
    "dtype": "uint8",
    "frames": 1,
    "durations_ms": [],
    "loop": 0,
    "truncated": False,
    "compression": None,
    "srgb": False,
    "gamma": False,
    "cicp": None,
    "mastering": None,
    "light": None,
    "dpi": None,
    "dropped": [],
    "sizes": [None, None, None, None],
}


class Losses:
    """An observer that records the events of a pool."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.waits = 0
        self.up: list[bool] = []

    def decoder_wait(self, seconds: float) -> None:
        self.waits += 1

    def decoder_lost(self, reason: str) -> None:
        self.lost.append(reason)

    def decoders_up(self, up: bool) -> None:
        self.up.append(up)


@contextmanager
def running(program: str, **how: Any) -> Iterator[DecoderPool]:
    """A pool of one process that runs `program`."""
    with closing(DecoderPool(1, LIMITS, program=program, **how)) as pool:
        yield pool


def answering(header: object, blobs: bytes = b"", size: int | None = None) -> str:
    """A program that sends this answer to every request."""
    return f"{PRELUDE}\n{HELLO}\nwhile True:\n    question()\n    say({header!r}, {blobs!r}, {size!r})\n"


def test_these_tests_use_the_real_protocol() -> None:
    with running(answering(GOOD, bytes(range(18)))) as pool:
        raster = pool.read(DATA, OPTIONS, LIMITS)
        assert raster.frames[0].ravel().tolist() == list(range(18))
        assert pool.state == "ok"


NONSENSE: dict[str, tuple[object, bytes, int | None]] = {
    "a header of 4 GiB": (b"{}", b"", 0xFFFFFFFF),
    "a header that is a little too long": (b"{}", b"", MAX_HEADER + 1),
    "no JSON": (b"{", b"", None),
    "no UTF-8": (b'{"error": "\xff"}', b"", None),
    "deep JSON": (b"[" * 60_000, b"", None),
    "deep JSON in a field": (b'{"format": ' + b"[" * 60_000 + b"]" * 60_000 + b"}", b"", None),
    "a number with many digits": (b'{"frames": ' + b"9" * 60_000 + b"}", b"", None),
    "nothing": ({}, b"", None),
    "a list": ([1], b"", None),
    "a field too many": (GOOD | {"more": 1}, b"", None),
    "more bytes than there is memory for": (GOOD | {"shape": [2**31, 2**31, 4]}, b"", None),
    "8 GiB": (GOOD | {"shape": [32768, 32768, 4], "dtype": "uint16"}, b"", None),
    "more pixels than were allowed": (GOOD | {"shape": [1025, 1024, 3]}, b"", None),
    "more frames than pixels allow": (
        GOOD | {"shape": [257, 1, 3], "frames": MAX_FRAMES, "durations_ms": [0] * MAX_FRAMES},
        b"",
        None,
    ),
    "too many frames": (GOOD | {"frames": MAX_FRAMES + 1, "durations_ms": [0] * (MAX_FRAMES + 1)}, b"", None),
    "no frames": (GOOD | {"frames": 0}, b"", None),
    "frames without durations": (GOOD | {"frames": 2}, b"", None),
    "durations without frames": (GOOD | {"durations_ms": [1]}, b"", None),
    "a negative duration": (GOOD | {"frames": 2, "durations_ms": [1, -1]}, b"", None),
    "code points without a meaning": (GOOD | {"cicp": [2, 2]}, b"", None),
    "code points of nine bits": (GOOD | {"cicp": [256, 16]}, b"", None),
    "a mastering display of nine numbers": (GOOD | {"mastering": [0] * 9}, b"", None),
    "a mastering display of wide numbers": (GOOD | {"mastering": [2**16] * 10}, b"", None),
    "light of 33 bits": (GOOD | {"light": [0, 2**32]}, b"", None),
    "no height": (GOOD | {"shape": [0, 3, 3]}, b"", None),
    "a negative width": (GOOD | {"shape": [2, -3, 3]}, b"", None),
    "no channels": (GOOD | {"shape": [2, 3, 0]}, b"", None),
    "five channels": (GOOD | {"shape": [2, 3, 5]}, b"", None),
    "two axes": (GOOD | {"shape": [2, 3]}, b"", None),
    "half a pixel": (GOOD | {"shape": [2, 1.5, 3]}, b"", None),
    "true as a height": (GOOD | {"shape": [True, 3, 3]}, b"", None),
    "objects": (GOOD | {"dtype": "object"}, b"", None),
    "floats": (GOOD | {"dtype": "float64"}, b"", None),
    "another format": (GOOD | {"format": "JPEG"}, b"", None),
    "a compression of another format": (GOOD | {"compression": {"kind": "jpeg", "quality": 75}}, b"", None),
    "a compression that pixels tell of": (GOOD | {"compression": {"kind": "grid", "quality": 75}}, b"", None),
    "a quality above 100": (GOOD | {"compression": {"kind": "jpeg", "quality": 101}}, b"", None),
    "a profile of 512 GiB": (GOOD | {"sizes": [2**39, None, None, None]}, b"", None),
    "a profile of more than a file can hold": (GOOD | {"sizes": [2**26, None, None, None]}, b"", None),
    "a profile of negative size": (GOOD | {"sizes": [-18, None, None, None]}, b"", None),
    "two sizes": (GOOD | {"sizes": [None, None]}, b"", None),
    "endless resolution": (json.dumps(GOOD).replace('"dpi": null', '"dpi": [1e999, 1]').encode(), b"", None),
    "no resolution": (GOOD | {"dpi": [0.0, 72.0]}, b"", None),
    "a note that breaks a line of HTTP": (GOOD | {"dropped": ["a\r\nSet-Cookie: b"]}, b"", None),
    "a negative loop": (GOOD | {"loop": -1}, b"", None),
    "an endless refusal": ({"error": "UndecodablePicture", "text": "x" * 1001}, b"", None),
    "a refusal without words": ({"error": "UndecodablePicture"}, b"", None),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_a_malformed_answer_is_refused_without_allocating_memory_for_it(case: str) -> None:
    observer = Losses()
    with running(answering(*NONSENSE[case]), observer=observer) as pool:
        pool.check()
        (pid,) = pool.pids
        tracemalloc.start()
        try:
            with pytest.raises(
                UndecodablePicture, match=r"^The PNG was given up: the decoder's answer made no sense\.$"
            ):
                pool.read(DATA, OPTIONS, LIMITS)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        assert pid not in pool.pids
        assert observer.lost == ["malformed"]


def test_several_frames_instead_of_one_are_refused() -> None:
    film = GOOD | {"frames": 2, "durations_ms": [1, 1]}
    with running(answering(film, bytes(36))) as pool:
        assert len(pool.read(DATA, OPTIONS, LIMITS).frames) == 2
        with pytest.raises(UndecodablePicture, match="made no sense"):
            pool.read(DATA, wanted(scale=2, frames="first"), LIMITS)


def test_an_answer_sent_before_the_request_is_discarded() -> None:
    """Otherwise a decoder could choose the next client's result before it has even received the request."""
    program = f"{PRELUDE}\nos.write(1, message({{'gap': ''}}) + message({GOOD!r}, bytes(18)))\nquestion()\n"
    observer = Losses()
    with running(program, observer=observer) as pool:
        pool.check()
        with pytest.raises(UndecodablePicture, match="made no sense"):
            pool.read(DATA, OPTIONS, LIMITS)
        assert observer.lost == ["malformed"]


def test_an_answer_that_does_not_end_is_refused_at_the_timeout() -> None:
    observer = Losses()
    with running(answering(GOOD, bytes(17)), timeout_seconds=0.2, observer=observer) as pool:
        with pytest.raises(UndecodablePicture, match="the decoder took too long on it"):
            pool.read(DATA, OPTIONS, LIMITS)
        assert observer.lost == ["timeout"]


def test_an_answer_that_breaks_off_counts_as_a_crash() -> None:
    program = f"{PRELUDE}\n{HELLO}\nquestion()\nsay({GOOD!r}, bytes(17))\n"
    with running(program) as pool, pytest.raises(UndecodablePicture, match="the decoder crashed on it"):
        pool.read(DATA, OPTIONS, LIMITS)


@pytest.mark.parametrize(
    ("name", "error"),
    [("TooManyPixels", TooManyPixels), ("UndecodablePicture", UndecodablePicture), ("SystemExit", UndecodablePicture)],
)
def test_a_decoder_can_only_raise_errors_about_the_picture(name: str, error: type[Exception]) -> None:
    with running(answering({"error": name, "text": "no"})) as pool, pytest.raises(error, match=r"^no$"):
        pool.read(DATA, OPTIONS, LIMITS)


def told(program: str) -> Any:
    """What a decoder process finds when it runs `program`, which assigns it to `found`."""
    refusal = 'say({"error": "UndecodablePicture", "text": json.dumps(found)})'
    steps = [PRELUDE, HELLO, "question()", program, refusal, "question()"]
    with running("\n".join(steps)) as pool, pytest.raises(UndecodablePicture) as refused:
        pool.read(DATA, OPTIONS, LIMITS)
    return json.loads(str(refused.value))


def test_the_environment_of_a_decoder_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPSRN_REDIS_URL", "redis://:hunter2@localhost")
    monkeypatch.setenv("SECRET", "s")
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = told("found = dict(os.environ)")
    assert found.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # set by Python itself if the locale is C
    for name in ("LC_ALL", "LD_LIBRARY_PATH"):
        assert found.pop(name, None) == os.environ.get(name)
    assert found == {"LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def test_a_decoder_does_not_inherit_the_working_directory_or_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "open").open("wb"):
        found = told("found = [os.getcwd(), sorted(os.listdir('/proc/self/fd'))[:-1], sys.flags.safe_path]")
    assert found == ["/", ["0", "1", "2"], True]


def test_modules_in_the_working_directory_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service may be started in a directory with any content."""
    for name in ("app", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(DecoderPool(1, LIMITS)) as pool:
        assert pool.state == "starting"
        pool.check()
        assert (pool.state, pool.fault) == ("ok", "")
        assert pool.read(DATA, OPTIONS, LIMITS).frames[0].shape == (2, 3, 3)


def test_a_process_that_does_not_start_is_reported_and_retried(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    missing.touch()
    program = f"import os\nif os.path.exists({str(missing)!r}): raise SystemExit('no decoder here')\n"
    observer = Losses()
    with running(program + answering(GOOD, bytes(18)), observer=observer) as pool:
        pool.check()
        assert (pool.state, pool.fault, observer.up) == ("unavailable", "no decoder here", [False])
        for _ in range(2):
            with pytest.raises(DecodersUnavailable, match="Try again in a few seconds"):
                pool.read(DATA, OPTIONS, LIMITS)
        missing.unlink()
        pool.check()
        assert (pool.state, pool.fault, observer.up) == ("ok", "", [False, False, False, True])
        assert pool.read(DATA, OPTIONS, LIMITS).frames[0].shape == (2, 3, 3)


def test_a_missing_interpreter_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(answering(GOOD, bytes(18))) as pool:
        with monkeypatch.context() as patch:
            patch.setattr("sys.executable", "/no/such/python")
            pool.check()
            assert "/no/such/python" in pool.fault
        pool.check()
        assert (pool.state, pool.fault) == ("ok", "")


def test_a_gap_in_the_isolation_is_reported() -> None:
    program = answering(GOOD, bytes(18)).replace(HELLO, 'say({"gap": "no filter here"})')
    with running(program) as pool:
        assert pool.gap is None
        pool.read(DATA, OPTIONS, LIMITS)
        assert pool.gap == "no filter here"


def test_a_picture_goes_to_a_warm_process_rather_than_one_that_is_starting(tmp_path: Path) -> None:
    """A client whose pictures hang or crash processes must not make others wait for new ones to start."""
    flag = tmp_path / "no process starts any more"
    program = f"""{PRELUDE}
while os.path.exists({str(flag)!r}):
    time.sleep(1)
{HELLO}
while True:
    header = json.loads(read(*struct.unpack("<I", read(4))))
    read(header["size"])
    while header["size"] > 1000:
        time.sleep(1)
    say({GOOD!r}, bytes(18))
"""
    large = saved(picture(60, 60, 3), "PNG")
    with closing(DecoderPool(2, LIMITS, program=program, timeout_seconds=3)) as pool:
        pool.check()
        flag.touch()
        with pytest.raises(UndecodablePicture):
            pool.read(large, OPTIONS, LIMITS, "mallory")
        pool.read(DATA, OPTIONS, LIMITS, "bob")


def test_closing_does_not_wait_for_a_process_that_never_starts() -> None:
    pool = DecoderPool(2, LIMITS, program="import time; time.sleep(600)")
    pool.start()
    (pid,) = pool.pids
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
