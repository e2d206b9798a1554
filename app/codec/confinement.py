"""Confines a warm decoder process: limited memory, and no system calls but those that decoding needs.

The filter is an allow-list, so calls added to Linux later are refused too. A process can read and write what is
already open (its two pipes), allocate memory, and start threads. It can open no file, not even for reading, and no
socket; it can start no process and signal none. The packages for this need libseccomp on the machine or are no longer
maintained, and the filter itself is a table and a loop.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from pathlib import Path

_X86_64, _AARCH64 = "x86_64", "aarch64"
_ARCHITECTURES = {_X86_64: 0xC000003E, _AARCH64: 0xC00000B7}  # AUDIT_ARCH_* of <linux/audit.h>
_ALLOWED = {  # numbers on x86-64 and on aarch64; -1 where the call does not exist
    "read": (0, 63),
    "write": (1, 64),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "futex": (202, 98),
    "readv": (19, 65),
    "writev": (20, 66),
    "madvise": (28, 233),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "brk": (12, 214),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "alarm": (37, -1),
    "setitimer": (38, 103),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_CLONE, _CLONE3, _SECCOMP = (56, 220), (435, 435), (317, 277)

_LOAD, _EQUALS, _HAS_BITS, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JSET|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the argument's lower half
_ALLOW, _REFUSE, _NOT_THERE = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_CLONE_THREAD = 0x10000
_PR_SET_NO_NEW_PRIVS, _SET_MODE_FILTER, _ALL_THREADS = 38, 1, 1


def limit_memory(extra_bytes: int) -> None:
    """Allows `extra_bytes` of address space beyond what is in use, no more than before, and no files or core dump.

    Only Linux tells how much is there, and enforces the limit.
    """
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + extra_bytes
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def die_first() -> None:
    """Has the kernel end this process, and not the service, when memory runs out."""
    with contextlib.suppress(OSError):  # no Linux, or no /proc
        Path("/proc/self/oom_score_adj").write_text("1000")


def limit_calls() -> str:
    """Installs the filter for every thread of this process, irrevocably. Returns why it could not, or ""."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _ARCHITECTURES or sys.maxsize < 2**32:
        return f"there is no filter of system calls for {platform.system()} on {machine}"
    code = b"".join(struct.pack("=HBBI", *step) for step in filter_program(machine))
    steps = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        return f"the kernel refuses no_new_privs ({os.strerror(ctypes.get_errno())})"
    arguments = (_number(_SECCOMP, machine), _SET_MODE_FILTER, _ALL_THREADS, ctypes.addressof(program))
    if libc.syscall(*map(ctypes.c_long, arguments)):
        return f"the kernel refuses the filter of system calls ({os.strerror(ctypes.get_errno())})"
    return ""


def _number(numbers: tuple[int, int], machine: str) -> int:
    return numbers[0] if machine == _X86_64 else numbers[1]


def filter_program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter in BPF: operation, steps to skip if true, steps to skip if false, operand. `machine` is as uname's."""
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _REFUSE),  # calls of another architecture, such as 32-bit ones, have other numbers
        (_LOAD, 0, 0, _NUMBER),
    ]
    for numbers in _ALLOWED.values():
        number = _number(numbers, machine)
        if number >= 0:
            steps += [(_EQUALS, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    return [
        *steps,
        # The flags of clone3 are in memory, which a filter cannot read; without clone3, libc falls back to clone.
        (_EQUALS, 0, 1, _number(_CLONE3, machine)),
        (_RETURN, 0, 0, _NOT_THERE),
        (_EQUALS, 0, 3, _number(_CLONE, machine)),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_HAS_BITS, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
