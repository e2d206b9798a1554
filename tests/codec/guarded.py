"""Runs the C code with every buffer right next to an inaccessible page; exits with 0 if no access is out of bounds.

    python -m tests.codec.guarded before|behind LIBRARY

To be run in a process of its own, which any access outside a buffer kills.
"""

import sys
from dataclasses import replace
from typing import Literal
from unittest import mock

import numpy as np

from app.codec import native
from app.codec.deflate import huffman
from app.codec.history import grid
from app.codec.merge import merge
from app.codec.png_filters import ADAPTIVE, filtered
from app.codec.split import split
from app.codec.types import Picture
from tests.codec.support import FORMULAS, Array, bicubic
from tests.guarded import guarded

KINDS: list[tuple[int, Literal[8, 16]]] = [(1, 8), (3, 8), (3, 16), (4, 16)]
"""Numbers of channels, with their depth."""


def main(side: str, name: str) -> None:
    """Runs every function with sizes that fill whole vectors and sizes that do not."""

    def at_the_edge(values: Array) -> Array:
        copy = guarded(side, values.shape, values.dtype.type)
        copy[...] = values
        return copy

    def at_the_edge_all_of_it(picture: Picture) -> Picture:
        alpha = None if picture.alpha is None else at_the_edge(picture.alpha)
        chroma = None if picture.chroma is None else (at_the_edge(picture.chroma[0]), at_the_edge(picture.chroma[1]))
        return replace(picture, luma=at_the_edge(picture.luma), chroma=chroma, alpha=alpha)

    native.LIBRARIES = {name: native.LIBRARIES[name]}
    assert native.library() is not None
    edged = mock.patch.object(np, "empty", lambda shape, dtype=float: guarded(side, shape, dtype))
    random = np.random.default_rng(0)
    for height, width in [(1, 1), (1, 2), (3, 5), (2, 16), (9, 31), (33, 4)]:
        for channels, depth in KINDS:
            samples = random.integers(0, 2**depth, (height, width, channels)).astype(f"uint{depth}")
            picture = split(samples, FORMULAS)
            for scale in (1, 2, 4, 8):
                planes = [bicubic(plane, scale) for plane in picture.planes]
                for consistent in (False, True):
                    expected = merge(picture, planes, scale, depth, FORMULAS, consistent=consistent)
                    with edged:
                        careful = [at_the_edge(plane) for plane in planes]
                        mine = at_the_edge_all_of_it(picture)
                        found = merge(mine, careful, scale, depth, FORMULAS, consistent=consistent)
                    np.testing.assert_array_equal(found, expected)
        rows = random.integers(0, 256, (height, width * 3), np.uint8)
        expected = filtered(rows, rows[0], 3, ADAPTIVE)
        with edged:
            found = filtered(at_the_edge(rows), at_the_edge(rows[0]), 3, ADAPTIVE)
        np.testing.assert_array_equal(found, expected)
        for last in (True, False):
            body = huffman(rows.ravel(), last)
            with edged:
                assert huffman(at_the_edge(rows.ravel()), last) == body
    for height, width in [(8, 8), (9, 15), (24, 40), (33, 29)]:
        luma = random.uniform(0, 1, (height, width)).astype(np.float32)
        counts, quality = grid.histograms([luma]), grid.quality_of([luma])
        zeros = mock.patch.object(np, "zeros", lambda shape, dtype=float: at_the_edge(np.full(shape, 0, dtype)))
        with edged, zeros:
            np.testing.assert_array_equal(grid.histograms([at_the_edge(luma)]), counts)
            assert grid.quality_of([at_the_edge(luma)]) == quality


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
