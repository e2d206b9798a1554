"""The fair queue of tiles: round-robin over clients, then over a client's requests, tile by tile. Not thread-safe.

The work of tiles differs by three orders of magnitude, depending on size, scale and network. A client's turn is as much
work as the most expensive waiting tile, so that clients get equal parts of the workers' time, whatever they send
(deficit round robin: Shreedhar and Varghese, SIGCOMM 1995).

While the service drains, the oldest request comes first instead.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from app.engine.request import Request, Tile
from app.engine.tiles import Shape
from app.turns import RoundRobin


class _Client:
    """The requests of one client that have waiting tiles."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: RoundRobin[Request] = RoundRobin()
        self.waiting: Counter[Shape] = Counter()
        self.spent = 0
        """Work done in its current turn, including the excess over its previous turns."""

    def next_request(self, shape: Shape | None = None) -> Request:
        """The request whose turn it is, among those with tiles of `shape`; there must be one."""
        return next(request for request in self.requests.order() if shape is None or shape in request.pending)

    def take(self, shape: Shape, request: Request) -> Tile:
        """Removes and returns a request's next tile of `shape`; there must be one."""
        tile = request.pending[shape].popleft()
        self.requests.served(request)
        if not request.pending[shape]:
            del request.pending[shape]
        if not request.pending:
            self.requests.remove(request)
        _subtract(self.waiting, shape, 1)
        return tile


class FairQueue:
    """Waiting tiles, by client and request."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._turns: RoundRobin[_Client] = RoundRobin()
        self._waiting: Counter[Shape] = Counter()
        self.tiles = 0
        self.oldest_first = False
        """Whether requests are finished one after the other, in order of admission, instead of in turns.

        When time is limited, requests that cannot be finished then take none of it from those that can.
        """

    def add(self, tiles: Iterable[Tile]) -> None:
        """Queues tiles in order of their index within a request: tiles that are given back go before later ones."""
        for tile in tiles:
            request, shape = tile.request, tile.shape
            client = self._clients.get(request.client)
            if client is None:
                client = self._clients[request.client] = _Client(request.client)
                self._turns.add(client)
            if not request.pending:
                client.requests.add(request)
            waiting = request.pending.setdefault(shape, deque())
            if waiting and waiting[-1].index > tile.index:
                waiting.insert(bisect_left(waiting, tile.index, key=lambda each: each.index), tile)
            else:
                waiting.append(tile)
            client.waiting[shape] += 1
            self._waiting[shape] += 1
            self.tiles += 1

    def take(self, limit: Callable[[Shape], int], takers: int = 1) -> list[Tile]:
        """Removes and returns the next batch: tiles of one shape; [] if nothing waits.

        The client whose turn it is decides the shape, and keeps its turn until it has used up its quantum of work. All
        clients with tiles of that shape contribute one each in turn, up to `limit(shape)` tiles. With `oldest_first`
        the oldest request decides, and contributes all its tiles before the next one does. The tiles are divided among
        `takers` idle workers. Batch sizes are powers of two, so that devices see few different ones.
        """
        if not self.tiles:
            return []
        _, first = next(self._contributors())
        pending = first.pending
        shape = min(pending, key=lambda shape: pending[shape][0].index)
        size = min(max(1, limit(shape)), -(-self._waiting[shape] // takers))
        size = 1 << (size.bit_length() - 1)
        turn = max(each.work for each in self._waiting)
        batch: list[Tile] = []
        while len(batch) < size:
            for client, request in list(islice(self._contributors(shape), size - len(batch))):
                batch.append(client.take(shape, request))
                client.spent += shape.work
                if client.spent >= turn:
                    client.spent %= turn
                    self._turns.served(client)
                self._drop_if_empty(client)
        self.tiles -= len(batch)
        _subtract(self._waiting, shape, len(batch))
        return batch

    def _contributors(self, shape: Shape | None = None) -> Iterator[tuple[_Client, Request]]:
        """The sources of the next tiles, of `shape` or any, one each: the clients in turn, or the oldest request."""
        clients = (client for client in self._turns.order() if shape is None or shape in client.waiting)
        if not self.oldest_first:
            yield from ((client, client.next_request(shape)) for client in clients)
            return
        waiting = (
            (client, request)
            for client in clients
            for request in client.requests.order()
            if shape is None or shape in request.pending
        )
        yield min(waiting, key=lambda entry: entry[1].admitted_at)

    def discard(self, request: Request) -> None:
        """Removes all tiles of a request."""
        if not request.pending:
            return
        client = self._clients[request.client]
        for shape, tiles in request.pending.items():
            _subtract(client.waiting, shape, len(tiles))
            _subtract(self._waiting, shape, len(tiles))
            self.tiles -= len(tiles)
        request.pending.clear()
        client.requests.remove(request)
        self._drop_if_empty(client)

    def _drop_if_empty(self, client: _Client) -> None:
        if not client.requests:
            self._turns.remove(client)
            del self._clients[client.name]


def _subtract(counter: Counter[Shape], shape: Shape, count: int) -> None:
    """Subtracts, and deletes the shape at zero."""
    counter[shape] -= count
    if not counter[shape]:
        del counter[shape]
