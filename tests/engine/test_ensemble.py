"""The geometric self-ensemble in the engine: right mean, the same bytes at any load, turned in is turned out."""

import asyncio
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.engine import Plane
from app.engine.ensemble import SYMMETRIES, Mean, turned_back
from app.engine.request import Request
from app.errors import QueueFull
from model.evaluate import upscale_ensemble, upscale_twice
from model.network import LapSRN, LapSRNConfig
from tests.engine.conftest import ZERO, Start, counters
from tests.engine.fakes import FakeModel, Gate, Tiles, Worked, cutting, expected, picture
from tests.model.networks import SERVED, plane, random_network, runtime_of

Turn = Callable[[NDArray[np.float32]], NDArray[np.float32]]
TURNS: list[Turn] = [
    *(lambda x, k=k: np.rot90(x, k) for k in range(4)),
    *(lambda x, k=k: np.rot90(x, k)[:, ::-1] for k in range(4)),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network() -> LapSRN:
    return random_network(LapSRNConfig(scale=4, depth=5, width=8))


def mean_of_eight(source: Plane, scale: int = 4) -> dict[int, Plane]:
    """What `expected` gives for each turned picture, turned back, and their mean; all exact."""
    passes = []
    for k in range(4):
        turned = np.ascontiguousarray(np.rot90(source, k))
        passes.append({s: np.rot90(level, -k) for s, level in expected(turned, scale).items()})
        mirrored = np.ascontiguousarray(turned[:, ::-1])
        passes.append({s: np.rot90(level[:, ::-1], -k) for s, level in expected(mirrored, scale).items()})
    return {s: sum((one[s] for one in passes[1:]), passes[0][s]) / np.float32(8) for s in passes[0]}


async def test_two_passes_are_the_picture_and_a_quarter_turn(start: Start) -> None:
    engine = await start(FakeModel, tile_widths=(3, 7, 16))
    planes = [picture(37, 21), picture(1, 1), picture(2, 30), picture(30, 1)]
    outputs = await engine.upscale(planes, scale=4, client="me", passes=2)
    for source, levels in zip(planes, outputs, strict=True):
        turned = expected(np.ascontiguousarray(np.rot90(source)), 4)
        for level, plain in expected(source, 4).items():
            np.testing.assert_array_equal(levels[level], (plain + np.rot90(turned[level], -1)) / np.float32(2))


@pytest.mark.parametrize("edges", [(4, 8), (5,), (3, 7, 16)])
@pytest.mark.parametrize("workers", [1, 3])
async def test_an_ensemble_is_the_mean_over_eight_symmetries_wherever_tiles_are_cut(
    start: Start, edges: tuple[int, ...], workers: int
) -> None:
    engine = await start(*(FakeModel for _ in range(workers)), tile_widths=edges)
    planes = [picture(37, 21), picture(1, 1), picture(2, 30), picture(30, 1), picture(8, 16)]
    outputs = await engine.upscale(planes, scale=4, client="me", passes=8)
    for source, levels in zip(planes, outputs, strict=True):
        wanted = mean_of_eight(source)
        assert levels.keys() == wanted.keys()
        for level, whole in levels.items():
            np.testing.assert_array_equal(whole, wanted[level])
            assert source.size == 1 or (whole != expected(source, 4)[level]).any()
    assert counters(engine) == ZERO


async def test_concurrent_ensembles_and_plain_requests_get_the_same_result_as_alone(start: Start) -> None:
    engine = await start(FakeModel, FakeModel)
    planes = [picture(9 + index, 25 - index, seed=index) for index in range(12)]
    results = await asyncio.gather(
        *(engine.upscale([p], scale=4, client=str(i % 3), passes=8 if i % 2 == 0 else 1) for i, p in enumerate(planes))
    )
    for index, (source, (levels,)) in enumerate(zip(planes, results, strict=True)):
        wanted = expected(source, 4) if index % 2 else mean_of_eight(source)
        for level, whole in levels.items():
            np.testing.assert_array_equal(whole, wanted[level])


async def test_admission_progress_and_batches_count_eight_tiles_per_window(start: Start) -> None:
    gate = Gate()
    engine = await start(FakeModel(gate), tile_widths=(8,), max_tiles=16)
    seen: list[tuple[int, int]] = []
    task = asyncio.create_task(
        engine.upscale([picture(8, 8)], scale=4, client="a", passes=8, on_progress=lambda *done: seen.append(done))
    )
    await asyncio.to_thread(gate.wait_entered)
    assert engine.status().queue_tiles + engine.scheduler.in_flight == 8
    with pytest.raises(QueueFull, match="this picture's 16 tiles"):
        await engine.upscale([picture(8, 16)], scale=4, client="b", passes=8)
    fits = asyncio.create_task(engine.upscale([picture(8, 8)], scale=4, client="b", passes=8))
    gate.open()
    await asyncio.gather(task, fits)
    assert (seen[0], seen[-1]) == ((0, 8), (8, 8))
    assert counters(engine) == ZERO


async def test_a_plain_request_waits_for_one_pass_of_an_ensemble_not_for_all(start: Start) -> None:
    gate, order = Gate(), list[int]()

    def note(tiles: Tiles, scale: int, full_precision: bool) -> None:
        order.extend(int(value) for value in tiles[:, 3, 3])
        gate()

    engine = await start(FakeModel(note), tile_widths=(8,))
    flats = [np.full((8, 16), 1, np.float32), np.full((8, 8), 2, np.float32)]
    large = asyncio.create_task(engine.upscale([flats[0]], scale=4, client="a", passes=8))
    await asyncio.to_thread(gate.wait_entered)
    small = asyncio.create_task(engine.upscale([flats[1]], scale=4, client="b"))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(large, small)
    assert order.index(2) <= 2
    assert order.count(1) == 16


async def test_only_the_pass_that_is_not_finite_is_recomputed_in_full_precision(start: Start) -> None:
    def spoil(cores: dict[int, Tiles], tiles: Tiles, full_precision: bool) -> dict[int, Tiles]:
        if not full_precision:
            corner = tiles[:, 3, 3] == 1  # the turned windows in which the one pixel is top left
            cores[4][corner] = np.nan
        return cores

    model = FakeModel(after=spoil)
    engine = await start(model, tile_widths=(8,))
    source = picture(8, 8) + 1
    source[0, 0] = 1
    (levels,) = await engine.upscale([source], scale=4, client="me", passes=8)
    np.testing.assert_array_equal(levels[4], mean_of_eight(source)[4])
    assert sum(shape[0] for shape, _, full in model.calls if full) == 2


def test_the_mean_does_not_depend_on_the_order_of_its_passes() -> None:
    rng = np.random.default_rng(0)
    cores = rng.random((8, 5, 6)).astype(np.float32)

    def mean(order: list[int]) -> NDArray[np.float32]:
        mean, out = Mean(), np.zeros((5, 6), np.float32)
        for symmetry in order:
            mean.add(2, symmetry, cores[symmetry], out)
        return out

    wanted = mean(list(SYMMETRIES))
    np.testing.assert_allclose(wanted, cores.mean(axis=0, dtype=np.float64), rtol=1e-6)
    plain_sums = set()
    for _ in range(200):
        order = rng.permutation(8).tolist()
        np.testing.assert_array_equal(mean(order), wanted)
        plain_sums.add(sum((cores[symmetry] for symmetry in order), np.float32(0)).tobytes())
    assert len(plain_sums) > 1, "sums as they come would differ"


def test_a_core_that_is_added_twice_counts_once() -> None:
    """At every point of the way: a worker that was given up may have written what another then computes again."""
    cores = np.random.default_rng(0).random((8, 3, 4)).astype(np.float32)
    wanted = np.zeros((3, 4), np.float32)
    once = Mean()
    for symmetry in SYMMETRIES:
        once.add(2, symmetry, cores[symmetry], wanted)
    for position, again in itertools.product(range(1, 9), range(8)):
        mean, out = Mean(), np.zeros((3, 4), np.float32)
        order = [*range(position), *(range(again + 1) if again < position else ()), *range(position, 8)]
        for symmetry in order:
            mean.add(2, symmetry, cores[symmetry], out)
        np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 0.7, 200 / 255, 1.0])
def test_the_mean_of_eight_equal_passes_is_exact(value: float) -> None:
    mean, out = Mean(), np.zeros((2, 2), np.float32)
    for symmetry in SYMMETRIES:
        mean.add(4, symmetry, np.full((2, 2), value, np.float32), out)
    np.testing.assert_array_equal(out, np.float32(value))


def test_the_symmetries_are_all_eight_of_the_square() -> None:
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    assert {turned_back(square, symmetry).tobytes() for symmetry in SYMMETRIES} == {
        turn(square).tobytes() for turn in TURNS
    }


def test_only_a_few_cores_wait_for_their_other_passes() -> None:
    """Windows that are not square have their transposes computed much later: meanwhile the half waits in its place."""

    class Deaf:
        def progressed(self, done: int, total: int, rows: int) -> None: ...
        def settled(self, error: Exception | None) -> None: ...

    request = Request.cut(
        [picture(4, 80)], Worked(scales=(2,)), cutting(4, 8), client="me", scale=2, listener=Deaf(), passes=8
    )
    wide = [tile for tile in request.tiles if tile.symmetry < 4]
    assert {(tile.shape.height, tile.shape.width) for tile in wide} == {(4, 8)}
    for tile in wide:
        tile.write(2, np.ones((8, 16), np.float32))
    whole = request.outputs[0][2]
    for tile in wide:
        assert tile.mean is not None
        assert all(np.shares_memory(kept, whole) for kept in tile.mean._sums.values())


@pytest.mark.parametrize(("passes", "reference_of"), [(2, upscale_twice), (8, upscale_ensemble)])
@SERVED
async def test_an_ensemble_of_the_real_network_equals_the_whole_picture_reference(
    start: Start, network: LapSRN, backend: str, dtype: str, passes: int, reference_of: Callable[..., list[Plane]]
) -> None:
    engine = await start(lambda: runtime_of(network, dtype, backend), tile_widths=(8, 16))
    source = plane(29, 21)
    (levels,) = await engine.upscale([source], scale=4, client="me", passes=passes)
    (plain,) = await engine.upscale([source], scale=4, client="me")
    with torch.no_grad():
        wanted = reference_of(network.fold(), source)
    tolerance = 2e-6 if dtype == "float32" else 0.02
    for whole, reference, single in zip(levels.values(), wanted, plain.values(), strict=True):
        np.testing.assert_allclose(whole, reference, rtol=0, atol=tolerance)
        assert np.abs(whole - single).max() > 0.05, "the passes differ"


@SERVED
async def test_the_ensemble_of_a_turned_picture_is_the_turned_result(
    start: Start, network: LapSRN, backend: str, dtype: str
) -> None:
    """To the last bit where the picture is cut alike from both ends, else to rounding."""
    engine = await start(lambda: runtime_of(network, dtype, backend), tile_widths=(8, 16))
    for source, tolerance in ((plane(16, 16), 0.0), (plane(11, 19), 2e-6 if dtype == "float32" else 0.01)):
        (upright,) = await engine.upscale([source], scale=4, client="me", passes=8)
        for turn in (TURNS[1], TURNS[4]):  # which generate the others
            turned = np.ascontiguousarray(turn(source))
            (levels,) = await engine.upscale([turned], scale=4, client="me", passes=8)
            for level, whole in levels.items():
                np.testing.assert_allclose(whole, turn(upright[level]), rtol=0, atol=tolerance)


@SERVED
async def test_an_ensemble_keeps_flat_planes_exact_and_does_not_depend_on_load(
    start: Start, network: LapSRN, backend: str, dtype: str
) -> None:
    engine = await start(*[lambda: runtime_of(network, dtype, backend)] * 2, tile_widths=(8, 16), max_batch_pixels=1024)
    flat, source = np.full((20, 13), 200 / 255, np.float32), plane(17, 8)
    (alone,) = await engine.upscale([source], scale=4, client="me", passes=8)
    crowd = [plane(8, 16, seed=seed) for seed in range(4)]
    (levels,), (among,), *_ = await asyncio.gather(
        engine.upscale([flat], scale=4, client="flat", passes=8),
        engine.upscale([source], scale=4, client="me", passes=8),
        *(
            engine.upscale([other], scale=4, client="crowd", passes=8 if i % 2 == 0 else 1)
            for i, other in enumerate(crowd)
        ),
    )
    for level, whole in levels.items():
        for codes in (255, 65535):
            np.testing.assert_array_equal(np.rint(whole * codes), codes * 200 // 255)
        np.testing.assert_array_equal(among[level], alone[level])
