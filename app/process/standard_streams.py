"""Standard streams that were closed when the process began."""

import os


def open_closed() -> None:
    """Opens them on the null device, or the file opened next would be taken for one of them."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
