"""What the processes of a pool do besides their work: they end with the process that started them."""

import multiprocessing
import os
from threading import Thread


def end_with_parent() -> None:
    """Initializer of a pool: ends this process as soon as its parent has ended, even if that was killed.

    By itself, it would wait for work forever, and keep open what it inherited, such as the pipe of `| tee log`.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
