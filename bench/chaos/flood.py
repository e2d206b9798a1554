"""Sends bodies on many connections as fast as they are taken, in a process of its own: for bench.chaos.attacks.

`python -m bench.chaos.flood PORT CLIENT` runs until it is killed and prints the status of every answer, 0 for a
connection that broke.
"""

import selectors
import socket
import sys
import time
from dataclasses import dataclass

from bench.chaos.wire import HOST, head, source_address

CONNECTIONS = 200
BODY_BYTES = 30 * 1024 * 1024
BYTES_PER_SECOND = 400 * 1024 * 1024
_PIECE = bytes(65536)
_PAUSE = 0.05
"""Seconds from an answer to the next request."""


@dataclass
class Upload:
    """What is left to send on one connection."""

    head: bytes
    body: int = BODY_BYTES


class Flood:
    """From one address."""

    def __init__(self, port: int, client: int) -> None:
        self._port, self._address = port, source_address(client)
        self._ready = selectors.DefaultSelector()
        self._again = [0.0] * CONNECTIONS  # when the connections that are not open begin
        self._sent, self._began = 0, time.monotonic()

    def run(self) -> None:
        """Without end."""
        while True:
            now = time.monotonic()
            while self._again and self._again[0] <= now:
                self._again.pop(0)
                self._open()
            for key, events in self._ready.select(_PAUSE):
                assert isinstance(key.fileobj, socket.socket)
                self._go_on(key.fileobj, key.data, events)
                time.sleep(max(0.0, self._sent / BYTES_PER_SECOND - (time.monotonic() - self._began)))

    def _open(self) -> None:
        connection = socket.socket()
        connection.bind((self._address, 0))
        connection.setblocking(False)
        connection.connect_ex((HOST, self._port))
        upload = Upload(head("POST", "/upscale?scale=4", BODY_BYTES))
        self._ready.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, upload)

    def _go_on(self, connection: socket.socket, upload: Upload, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                status = connection.recv(65536)[9:12]
                self._close(connection, int(status or b"0"))
            elif upload.head:
                upload.head = upload.head[connection.send(upload.head) :]
            else:
                count = connection.send(_PIECE[: upload.body])
                upload.body -= count
                self._sent += count
                if not upload.body:
                    self._ready.modify(connection, selectors.EVENT_READ, upload)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection, 0)

    def _close(self, connection: socket.socket, status: int) -> None:
        print(status, flush=True)
        self._ready.unregister(connection)
        connection.close()
        self._again.append(time.monotonic() + _PAUSE)


if __name__ == "__main__":
    Flood(int(sys.argv[1]), int(sys.argv[2])).run()
