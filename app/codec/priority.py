"""Threads that compress large pictures give way to what somebody waits for."""

import os
import sys
import threading

_NICENESS = 10  # a ninth of a usual thread's share where all want the core; all of it where nobody else does


def give_way() -> None:
    """Lowers the calling thread's priority on Linux, where each thread has its own; elsewhere does nothing."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)
