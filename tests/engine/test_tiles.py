"""Cuts cover every pixel once, and windows are those of the padded picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.tiles import CutPlane, Cutting, Span, TileSizes, cut_axes, cut_axis
from tests.engine.fakes import cutting, expected, pad, picture, upsample

EDGES = (16, 32, 48, 64, 96, 128)


@pytest.mark.parametrize(
    ("length", "edges"),
    [
        (1, [16]),
        (16, [16]),
        (17, [32]),
        (33, [48]),
        (65, [64, 16]),
        (90, [96]),
        (128, [128]),
        (129, [128, 16]),
        (160, [128, 32]),
        (256, [128, 128]),
        (300, [128, 128, 48]),
        (1024, [128] * 8),
    ],
)
def test_a_length_is_cut_into_few_tiles_with_little_surplus(length: int, edges: list[int]) -> None:
    assert [span.size for span in cut_axis(length, EDGES, 9)] == edges


@pytest.mark.parametrize(
    ("overhead", "edges"), [(0, [108, 64, 32]), (9, [108, 64, 32]), (22, [108, 108])], ids=["free", "a margin", "dear"]
)
def test_the_more_a_tile_costs_the_more_surplus_is_accepted_for_fewer_tiles(overhead: int, edges: list[int]) -> None:
    assert [span.size for span in cut_axis(200, (32, 48, 64, 108), overhead)] == edges


@given(st.integers(1, 700), st.sets(st.integers(3, 90), min_size=1, max_size=5), st.integers(0, 12))
def test_spans_cover_every_pixel_once_and_fit_their_edges(length: int, edges: set[int], margin: int) -> None:
    spans = cut_axis(length, tuple(sorted(edges)), margin)
    assert [pixel for span in spans for pixel in range(span.start, span.start + span.length)] == list(range(length))
    assert all(0 < span.length <= span.size and span.size in edges for span in spans)


ALIKE, APART = TileSizes(EDGES, EDGES), TileSizes((32, 64, 128), (40, 64, 108))


@pytest.mark.parametrize(
    ("edges", "height", "width", "workers", "core"),
    [
        (ALIKE, 128, 128, 1, (128, 128)),
        (ALIKE, 128, 128, 2, (64, 128)),
        (ALIKE, 128, 128, 3, (64, 64)),
        (ALIKE, 64, 64, 2, (64, 64)),
        (ALIKE, 256, 256, 4, (128, 128)),
        (ALIKE, 256, 256, 5, (96, 128)),
        (ALIKE, 256, 256, 9, (96, 96)),
        (ALIKE, 1, 129, 2, (16, 128)),
        (ALIKE, 200, 20, 3, (128, 32)),
        (APART, 128, 108, 1, (128, 108)),
        (APART, 128, 108, 2, (64, 108)),
        (APART, 64, 108, 2, (64, 64)),
        (APART, 64, 64, 3, (64, 64)),
        (APART, 128, 216, 2, (128, 108)),
        (APART, 70, 30, 2, (64, 40)),
    ],
)
def test_a_small_picture_is_cut_finer_so_that_every_worker_gets_tiles(
    edges: TileSizes, height: int, width: int, workers: int, core: tuple[int, int]
) -> None:
    rows, columns = cut_axes(height, width, Cutting(edges, 9, 9, workers, split_above=66))
    assert (rows[0].size, columns[0].size) == core


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 9), st.sampled_from([16, 34, 66, 128]))
def test_there_are_tiles_for_every_worker_unless_they_are_small(
    height: int, width: int, workers: int, split_above: int
) -> None:
    cuts = cut_axes(height, width, Cutting(ALIKE, 9, 9, workers, split_above))
    assert len(cuts[0]) * len(cuts[1]) >= workers or all(cut[0].size <= split_above for cut in cuts)


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 16, 33])
@pytest.mark.parametrize("width", [1, 3, 4, 17, 40])
@pytest.mark.parametrize("margin", [0, 1, 3, 5, 9])
@pytest.mark.parametrize("extra", [0, 7])
def test_a_window_is_a_section_of_the_padded_picture(height: int, width: int, margin: int, extra: int) -> None:
    """Whatever is in it past the network's margin."""
    plane = picture(height, width)
    padded = pad(plane, margin)
    cut = CutPlane.cut(plane, cutting(4, 16, margin=margin, extra=extra))
    for row in cut.rows:
        for column in cut.columns:
            sides = row.size + 2 * (margin + extra), column.size + 2 * (margin + extra)
            whole = np.full(sides, np.nan, np.float32)
            cut.read(row, column, whole)
            assert np.isfinite(whole).all(), "every pixel is written, past the picture too"
            window = whole[extra : sides[0] - extra, extra : sides[1] - extra]
            inside = padded[row.start :, column.start :][: row.length + 2 * margin, : column.length + 2 * margin]
            np.testing.assert_array_equal(window[: inside.shape[0], : inside.shape[1]], inside)


@settings(max_examples=60)
@given(
    st.one_of(st.tuples(st.just(1), st.integers(1, 40)), st.tuples(st.integers(1, 40), st.integers(1, 40))),
    st.sets(st.integers(2, 24), min_size=1, max_size=4),
    st.sets(st.integers(2, 24), min_size=1, max_size=4),
    st.integers(0, 5),
    st.integers(0, 9),
)
def test_cores_put_together_are_the_whole_picture_wherever_it_is_cut(
    size: tuple[int, int], heights: set[int], widths: set[int], margin: int, extra: int
) -> None:
    """Everything in a window belongs to its place in the picture, whatever the cut: past the network's margin too."""
    plane = picture(*size)
    sizes = TileSizes(tuple(sorted(heights)), tuple(sorted(widths)))
    cut = CutPlane.cut(plane, Cutting(sizes, margin + extra, margin))
    uncut = CutPlane.cut(plane, cutting(40, margin=margin, extra=extra))
    border, seen = margin + extra, []
    for one in (cut, uncut):
        whole = np.full((size[0] * 2, size[1] * 2), np.nan, np.float32)
        for row in one.rows:
            for column in one.columns:
                window = np.empty((1, row.size + 2 * border, column.size + 2 * border), np.float32)
                one.read(row, column, window[0])
                core = upsample(window, border, 2)[0][: row.length * 2, : column.length * 2]
                whole[row.start * 2 :, column.start * 2 :][: core.shape[0], : core.shape[1]] = core
        seen.append(whole)
    np.testing.assert_array_equal(seen[0], seen[1])
    if not extra:
        np.testing.assert_array_equal(seen[0], expected(plane, 2, margin)[2])


def test_a_plane_shorter_than_the_margin_is_mirrored_over_and_over() -> None:
    plane = np.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]], np.float32)
    cut = CutPlane.cut(plane, cutting(8))
    window = np.empty((14, 14), np.float32)
    cut.read(Span(0, 2, 8), Span(0, 5, 8), window)
    np.testing.assert_array_equal(window[:8, 3], [6, 6, 1, 1, 6, 6, 1, 1])
    np.testing.assert_array_equal(window[3, :11], [3, 2, 1, 1, 2, 3, 4, 5, 5, 4, 3])
