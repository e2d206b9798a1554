"""Takes from this process what only POSIX or Linux has, then runs `lapsrn` with the arguments.

A stand-in for Windows and macOS, where nothing here is tried: no module, attribute, file or signal of POSIX is left
that the standard library of Windows lacks, numbers of the CPU's kind are spelled as there, and uvloop is not installed.
"""

import asyncio
import ctypes
import importlib
import mmap
import os
import platform
import select
import signal
import socket
import sys
from fcntl import LOCK_EX, LOCK_NB, flock
from types import SimpleNamespace
from typing import Any, NoReturn

MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "uvloop")
ATTRIBUTES = {
    os: "fork getgid geteuid getpgrp getpriority getuid killpg mkfifo nice pread preadv pwrite readv sched_getaffinity "
    "setpgrp setpriority setsid statvfs sysconf uname wait writev",
    select: "poll epoll",
    signal: "SIGALRM SIGCHLD SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 alarm pthread_sigmask setitimer",
    socket: "AF_UNIX SCM_RIGHTS SO_REUSEPORT",
}
FOLDERS = ("/proc/", "/sys/")
MEMORY_BYTES = 3 << 30
EXCLUSIVE_NOW = LOCK_EX | LOCK_NB


class Memory(mmap.mmap):
    """A mapping without madvise."""

    @property
    def madvise(self) -> NoReturn:
        raise AttributeError("madvise")


def tell_memory(status: Any) -> int:
    """As Windows' GlobalMemoryStatusEx: the physical memory stands 8 bytes into the structure, which says its size."""
    address = ctypes.addressof(status._obj)
    assert ctypes.c_uint32.from_address(address).value == 64
    ctypes.c_uint64.from_address(address + 8).value = MEMORY_BYTES
    return 1


def hold(descriptor: int, mode: int, size: int) -> None:
    """As Windows' msvcrt.locking, from the file's position, here with the lock of POSIX."""
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    assert (mode, size) == (2, 1)
    flock(descriptor, EXCLUSIVE_NOW)


def no_signals(*_: object) -> NoReturn:
    raise NotImplementedError


def no_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).startswith(FOLDERS):
        raise FileNotFoundError(arguments[0])


def main() -> None:
    used = "concurrent.futures.thread logging multiprocessing.context ssl subprocess tempfile uuid webbrowser zoneinfo"
    for name in used.split():
        importlib.import_module(name)  # the standard library chooses by what there is when it is imported
    kind, pair, unix = platform.machine(), socket.socketpair, socket.AF_UNIX
    socket.socketpair = lambda: pair(unix)  # type: ignore[misc,assignment]  # asyncio's own, for which Windows has others
    ctypes.windll = SimpleNamespace(  # type: ignore[attr-defined]
        kernel32=SimpleNamespace(GlobalMemoryStatusEx=tell_memory)
    )
    platform.machine = lambda: {"x86_64": "AMD64", "aarch64": "arm64"}.get(kind, kind)
    for module, names in ATTRIBUTES.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    if hasattr(os, "process_cpu_count"):
        os.process_cpu_count = os.cpu_count  # which it is where a process cannot be bound to cores
    sys.modules["msvcrt"] = SimpleNamespace(locking=hold, LK_NBLCK=2)  # type: ignore[assignment]
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    mmap.mmap = Memory  # type: ignore[misc]
    asyncio.SelectorEventLoop.add_signal_handler = no_signals  # type: ignore[assignment,method-assign]
    sys.addaudithook(no_files)
    sys.platform = "elsewhere"

    from app.cli import main as lapsrn

    lapsrn()


if __name__ == "__main__":
    main()
