"""A real Redis for chaos and for tests, on loopback, kept in memory only."""

import shutil
import socket
import subprocess
import time
from pathlib import Path


class RedisServer:
    """One redis-server; the data is gone with a stop."""

    def __init__(self, port: int, folder: Path, *options: str) -> None:
        """Not started yet; `folder` is its working directory, and `options` are for its command line."""
        self.port, self._folder, self._options = port, folder, options
        self.url = f"redis://127.0.0.1:{port}/0"
        self.socket_url = f"unix://{folder}/redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> int:
        """The number of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it answers. Raises RuntimeError if it does not, or is not installed."""
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("redis-server is not installed: apt-get install redis-server")
        self._process = subprocess.Popen(
            [
                binary,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", "redis.sock"),
                *("--save", "", "--appendonly", "no"),
                *self._options,
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"redis-server did not start on port {self.port}")

    def stop(self) -> None:
        """Ends it; does nothing if it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None
