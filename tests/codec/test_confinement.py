"""A confined decoder process: hostile code running in it cannot reach files, the network or other processes."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from app.codec import confinement

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the filter is for x86-64 and aarch64"),
]

HOSTILE = """
import ctypes, os, socket, threading
from app.codec import confinement
inside = os.open({inside!r}, os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)
print("gap:", repr(confinement.limit_calls()), flush=True)

def attempt(name, deed):
    try:
        deed()
        print(f"{{name}}: succeeded", flush=True)
    except OSError as error:
        print(f"{{name}}: {{error.strerror}}", flush=True)

def call(number, *arguments):
    if libc.syscall(*map(ctypes.c_long, (number, *arguments))) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

attempt("socket", lambda: socket.socket())
attempt("pair", lambda: socket.socketpair())
attempt("write", lambda: os.open({outside!r}, os.O_WRONLY | os.O_CREAT))
attempt("read", lambda: os.open({inside!r}, os.O_RDONLY))
attempt("secrets", lambda: os.open("/proc/%d/environ" % os.getppid(), os.O_RDONLY))
attempt("unlink", lambda: os.unlink({inside!r}))
attempt("list", lambda: os.listdir("/"))
attempt("execute", lambda: os.execv("/bin/true", ["true"]))
attempt("fork", os.fork)
attempt("kill", lambda: os.kill(os.getppid(), 0))
attempt("ptrace", lambda: call({ptrace}, 0, 0, 0, 0))
attempt("io_uring", lambda: call(425, 1, 0))
attempt("bpf", lambda: call({bpf}, 0, 0, 0))
attempt("more memory", lambda: call({prlimit64}, 0, 9, 0, 0))
threads = []
attempt("thread", lambda: (threads.append(threading.Thread(target=lambda: attempt("socket in it", socket.socket))),
                           threads[0].start(), threads[0].join()))
attempt("what was open", lambda: os.read(inside, 1))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What hostile code in a confined process printed: attempt -> outcome."""
    folder = tmp_path_factory.mktemp("confined")
    inside, outside = folder / "inside", folder / "outside"
    inside.write_text("x")
    x86_64 = platform.machine() == "x86_64"
    numbers = {"ptrace": 101, "bpf": 321, "prlimit64": 302} if x86_64 else {"ptrace": 117, "bpf": 280, "prlimit64": 261}
    code = HOSTILE.format(inside=str(inside), outside=str(outside), **numbers)
    root = str(Path(confinement.__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); exec({code!r})"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert inside.exists()
    assert not outside.exists()
    return dict(line.split(": ") for line in done.stdout.splitlines())


def test_the_filter_is_complete(found: dict[str, str]) -> None:
    assert found["gap"] == "''"


def test_system_calls_that_decoding_does_not_need_are_refused(found: dict[str, str]) -> None:
    deeds = found.keys() - {"gap", "thread", "what was open"}
    assert len(deeds) == 15
    assert {deed: found[deed] for deed in deeds} == dict.fromkeys(deeds, "Operation not permitted")


def test_system_calls_that_decoding_needs_are_allowed(found: dict[str, str]) -> None:
    assert (found["thread"], found["what was open"]) == ("succeeded", "succeeded")


def test_a_system_without_a_filter_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert confinement.limit_calls() == "there is no filter of system calls for Linux on riscv64"


ALLOWED, REFUSED, NOT_THERE = "allowed", "refused", "not there"
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
THREAD, FORK = 0x3D0F00, 0x1200011


def verdict(machine: str, architecture: int, number: int, argument: int = 0) -> str:
    """What the kernel would do with a call, by interpreting the filter."""
    memory = {0: number, 4: architecture, 16: argument}
    program, at, value = confinement.filter_program(machine), 0, 0
    while True:
        operation, if_true, if_false, operand = program[at]
        at += 1
        if operation == 0x20:
            value = memory[operand]
        elif operation == 0x06:
            return {0x7FFF0000: ALLOWED, 0x50001: REFUSED, 0x50026: NOT_THERE}[operand]
        else:
            holds = value == operand if operation == 0x15 else bool(value & operand)
            at += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "architecture", "calls"),
    [
        ("x86_64", X86_64, {"read": 0, "openat": 257, "socket": 41, "execve": 59, "clone": 56, "clone3": 435}),
        ("aarch64", AARCH64, {"read": 63, "openat": 56, "socket": 198, "execve": 221, "clone": 220, "clone3": 435}),
    ],
)
def test_the_filter_covers_both_architectures(machine: str, architecture: int, calls: dict[str, int]) -> None:
    found = {name: verdict(machine, architecture, number) for name, number in calls.items()}
    assert found == {
        "read": ALLOWED,
        "openat": REFUSED,
        "socket": REFUSED,
        "execve": REFUSED,
        "clone": REFUSED,
        "clone3": NOT_THERE,
    }
    assert verdict(machine, architecture, calls["clone"], THREAD) == ALLOWED
    assert verdict(machine, architecture, calls["clone"], FORK) == REFUSED
    assert verdict(machine, I386, calls["read"]) == REFUSED
    assert verdict(machine, architecture, calls["read"] | 0x40000000) == REFUSED  # the x32 calls of x86-64


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces it")
def test_a_lower_existing_limit_is_kept() -> None:
    """Such as one set by `ulimit -v`."""
    lines = [
        "import resource",
        "from app.codec.confinement import limit_memory",
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))",
        "limit_memory(1 << 40)",
        "assert resource.getrlimit(resource.RLIMIT_AS) == (1 << 30, 1 << 30)",
        "limit_memory(1 << 20)",
        "assert resource.getrlimit(resource.RLIMIT_AS)[1] < 1 << 30",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=60)
