"""One request inside the engine: its planes, its tiles, and their progress."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.engine.ensemble import PASSES, Mean, turned_back
from app.engine.networks import levels_of
from app.engine.planes import Outputs, new_plane
from app.engine.ports import NetworkInfo, Plane
from app.engine.tiles import CutPlane, Cutting, Shape, Span


class Listener(Protocol):
    """Is notified of a request's progress and end, on worker threads."""

    def progressed(self, done: int, total: int, rows: int) -> None:
        """`done` of `total` tiles are written, and source rows [0, rows) of every plane are complete."""

    def settled(self, error: Exception | None) -> None:
        """The request has ended: every tile is written, or `error` says why not. Called once."""


@dataclass(eq=False, slots=True)
class Tile:
    """One window of one plane of a request; with a `mean`, one symmetry of that window."""

    request: "Request"
    source: CutPlane
    outputs: dict[int, Plane]
    row: Span
    column: Span
    shape: Shape
    symmetry: int = 0
    mean: Mean | None = None
    index: int = 0
    """Its place in the request, whose tiles are computed in this order as far as batches of one shape allow."""
    failed_attempts: int = 0
    """Workers that died or hung while they held this tile."""

    def read(self, out: NDArray[np.float32]) -> None:
        """Copies the window, including margins and transformed by the symmetry, to `out`."""
        self.source.read(self.row, self.column, turned_back(out, self.symmetry))

    def write(self, level: int, core: NDArray[np.float32]) -> None:
        """Copies the part of `core` (height level, width level) inside the picture to its place in the output.

        With a `mean`, the place is complete once all symmetries are written.
        """
        row, column = self.row, self.column
        height, width = row.length * level, column.length * level
        top, left = row.start * level, column.start * level
        place = self.outputs[level][top : top + height, left : left + width]
        core = turned_back(core, self.symmetry)[:height, :width]
        if self.mean is None:
            place[...] = core
        else:
            self.mean.add(level, self.symmetry, core, place)


@dataclass(eq=False, slots=True)
class Request:
    """Planes to upscale together. Its counters belong to the scheduler and change only under its lock."""

    client: str
    listener: Listener
    outputs: Outputs
    tiles: list[Tile] = field(default_factory=list)
    height: int = 0
    """Source rows of the tallest plane."""
    bytes: int = 0
    """Size of the input planes and of every output level."""
    pending: dict[Shape, deque[Tile]] = field(default_factory=dict)
    """Tiles in the queue."""
    total: int = 0
    """All tiles."""
    remaining: int = 0
    """Tiles not written yet."""
    unwritten: dict[int, int] = field(default_factory=dict)
    """First source row -> tiles not written yet that begin there, from the top down."""
    held: int = 0
    """Tiles that workers hold."""
    closed: bool = False
    """Settled or withdrawn: tiles that workers still hold need not be written."""
    admitted_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None

    @classmethod
    def cut(
        cls,
        planes: Sequence[Plane],
        network: NetworkInfo,
        cutting: Cutting,
        *,
        client: str,
        scale: int,
        listener: Listener,
        clean: Sequence[float] = (),
        compressed: bool = True,
        passes: int = 1,
    ) -> "Request":
        """Cuts planes of at least one pixel each into tiles for a network; allocates the outputs without touching them.

        `clean` has the clean-up strength of each plane; empty means none. `compressed` is whether the picture has
        compression losses. `passes` is a key of PASSES; every window becomes that many consecutive tiles.
        """
        request, symmetries = cls(client, listener, Outputs()), PASSES[passes]
        for plane, strength in zip(planes, clean or [0.0] * len(planes), strict=True):
            height, width = plane.shape
            outputs = {level: new_plane(height * level, width * level) for level in levels_of(network, scale)}
            source = CutPlane.cut(plane, cutting)
            request.outputs.append(outputs)
            request.height = max(request.height, height)
            request.bytes += plane.nbytes + sum(output.nbytes for output in outputs.values())
            for row, column in product(source.rows, source.columns):
                work = network.work(row.size, column.size, scale)
                shape = Shape(row.size, column.size, scale, network.name, strength, compressed or not strength, work)
                transposed = shape._replace(height=column.size, width=row.size)
                mean = Mean(symmetries) if passes > 1 else None
                for symmetry in symmetries:
                    turned = transposed if symmetry & 4 else shape
                    request.tiles.append(Tile(request, source, outputs, row, column, turned, symmetry, mean))
        request.tiles.sort(key=lambda tile: tile.row.start)  # all planes from the top down
        for index, tile in enumerate(request.tiles):
            tile.index = index
            request.unwritten[tile.row.start] = request.unwritten.get(tile.row.start, 0) + 1
        request.total = request.remaining = len(request.tiles)
        return request

    def wrote(self, tile: Tile) -> None:
        """Counts a tile as written."""
        self.remaining -= 1
        self.unwritten[tile.row.start] -= 1
        while self.unwritten and not next(iter(self.unwritten.values())):
            del self.unwritten[next(iter(self.unwritten))]

    @property
    def waiting(self) -> Iterable[Tile]:
        """Tiles in the queue."""
        return chain.from_iterable(self.pending.values())

    @property
    def rows(self) -> int:
        """Source rows [0, rows) of every plane are written."""
        return next(iter(self.unwritten), self.height)
