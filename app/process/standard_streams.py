"""Standard streams that were closed when the process started."""

import os


def open_closed() -> None:
    """Opens them on the null device; otherwise the next opened file would get the descriptor of one."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
