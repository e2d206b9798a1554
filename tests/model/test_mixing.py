"""Networks between two: their parameters, and the promises that every strength of clean-up keeps."""

import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.backends.backend import Tiles
from model.checkpoint import NetworkInfo, WeightsError, load_weights, parameters_of, save_weights
from model.mixing import Line, begins_as, mixed
from model.network import LapSRN, LapSRNConfig
from model.relations import join
from model.runtime import MOST_MIXES, Mix, Runtime, Weights, load
from model.weights import KINDS, Parameters, Waypoint
from tests.model.networks import SERVED, SHARED, luma, plane, random_network
from tests.model.test_flat import EVERY_8_BIT, flat_tiles

CONFIG = LapSRNConfig(width=8)
EIGHTHS = [step / 8 for step in range(9)]
TABLE = {kind: [(0, 1.0), (100, 0.0)] for kind in KINDS}


def weights_of(network: LapSRN, name: str, of: str = "") -> Weights:
    strengths = TABLE if of else {}
    info = NetworkInfo(name, network.config, "", full_strength_of=of, strengths=strengths)
    return Weights(parameters_of(network), info)


def pair(config: LapSRNConfig = CONFIG) -> tuple[Weights, Weights]:
    """A network and the other end of its strengths, joined."""
    found = weights_of(random_network(config), "base"), weights_of(random_network(config, seed=1), "end", "base")
    join(found)
    return found


def tiles_for(runtime: Runtime, height: int = 19, width: int = 16) -> Tiles:
    """One tile of noise, with the margin that the backend wants."""
    margin = runtime.info.window_margin
    return luma(1, height + 2 * margin, width + 2 * margin).numpy()


def extended(base: LapSRN) -> LapSRN:
    """A network of one level more whose first levels are those of `base`."""
    network = random_network(replace(base.config, scale=2 * base.config.scale), seed=2)
    network.load_state_dict(network.state_dict() | base.state_dict())
    return network


def test_weights_are_freed_without_the_garbage_collector() -> None:
    """A reload frees tens of MiB with the last reference, not when the garbage collector next runs."""
    base, end = pair()
    runtimes = [base.runtime("cpu", dtype) for dtype in ("float32", "bfloat16")]
    for runtime in runtimes:
        for strength in (0.0, 0.5):
            runtime.run(tiles_for(runtime), 4, clean=strength)
    gone = [weakref.ref(each) for each in (base, end, *runtimes)]
    gc.collect()
    gc.disable()
    try:
        del base, end, runtimes, runtime
        assert [each() for each in gone] == [None] * 4
    finally:
        gc.enable()


@pytest.fixture(scope="module")
def ends() -> tuple[Weights, Weights]:
    return pair()


def test_the_weighted_mean_is_exact_at_both_ends() -> None:
    one = {"a": np.array([0.1, -3.0, 1e-30], np.float32), "b": np.array([7.0], np.float32)}
    other = {"a": np.array([0.3, 5.0, 2e-30], np.float32)}
    for strength, wanted in ((0.0, one["a"]), (1.0, other["a"]), (0.25, [0.15, -1.0, 1.25e-30])):
        found = mixed(one, other, strength)
        assert found["a"].dtype == np.float32
        np.testing.assert_allclose(found["a"], wanted, rtol=1e-7)
        np.testing.assert_array_equal(found["b"], one["b"])
    np.testing.assert_array_equal(mixed(one, other, 0.0)["a"], one["a"])
    np.testing.assert_array_equal(mixed(one, other, 1.0)["a"], other["a"])


def test_a_strength_is_mixed_from_its_neighbours_and_a_waypoint_is_used_unmixed() -> None:
    """Where both kinds of pictures have the same network, they then share one copy of it."""
    none, some, full = ({"a": np.array([value], np.float32)} for value in (0, 1, 2))
    line = Line.through({1.0: full, 0.25: some, 0.0: none})
    for strength, wanted in {0.0: (none, none), 0.25: (some, some), 0.625: (some, full), 1.0: (full, full)}.items():
        near, far, weight = line.between(strength)
        assert near is wanted[0] and far is wanted[1]
        assert weight == (0.5 if near is not far else 0.0)
    for strength in (-0.125, 1.125):
        with pytest.raises(ValueError, match="from 0 to 1, not"):
            line.between(strength)


def test_begins_as_requires_equal_bits() -> None:
    base = {"a": np.array([1.0, 2.0], np.float32)}
    assert begins_as(base | {"b": np.zeros(1, np.float32)}, base)
    assert not begins_as({"a": np.nextafter(base["a"], np.float32(9))}, base)
    assert not begins_as({"b": base["a"]}, base)


@SERVED
def test_strengths_0_and_1_are_exactly_the_two_networks(
    ends: tuple[Weights, Weights], backend: str, dtype: str
) -> None:
    base, end = (each.runtime("cpu", dtype, backend) for each in ends)
    tiles = tiles_for(base)
    for scale in (2, 4):
        np.testing.assert_array_equal(base.run(tiles, 4, clean=0.0)[scale], base.run(tiles, 4)[scale])
        np.testing.assert_array_equal(base.run(tiles, 4, clean=1.0)[scale], end.run(tiles, 4)[scale])
    between = base.run(tiles, 4, clean=0.5)[4]
    assert not np.array_equal(between, base.run(tiles, 4)[4])
    assert not np.array_equal(between, end.run(tiles, 4)[4])


@SERVED
@pytest.mark.parametrize("strength", [0.125, 0.5, 0.875])
def test_flat_pictures_keep_their_level_at_every_strength(
    ends: tuple[Weights, Weights], strength: float, backend: str, dtype: str
) -> None:
    runtime = ends[0].runtime("cpu", dtype, backend)
    tiles = flat_tiles(EVERY_8_BIT, runtime.info.window_margin, 1, 2)
    for output in runtime.run(tiles, 4, clean=strength).values():
        np.testing.assert_array_equal(np.rint(output * 255.0)[:, 0, 0], np.arange(256))
        assert (np.rint(output * 255.0) == np.arange(256)[:, None, None]).all()


@SERVED
@pytest.mark.parametrize("strength", [0.25, 0.625, 1.0])
def test_a_core_depends_on_its_margin_only_at_every_strength(
    ends: tuple[Weights, Weights], strength: float, backend: str, dtype: str
) -> None:
    """So a picture may be cut anywhere."""
    runtime = ends[0].runtime("cpu", dtype, backend)
    margin = runtime.info.window_margin
    picture = plane(32 + 2 * margin, 48 + 2 * margin)
    whole = runtime.run(picture[None], 4, clean=strength)[4][0]
    part = runtime.run(picture[None, 16:, 16:].copy(), 4, clean=strength)[4][0]
    tolerance = 0.0 if dtype == "bfloat16" and backend == "amx" else 2e-6 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(part, whole[64:, 64:], rtol=0, atol=tolerance * max(1.0, np.abs(whole).max()))


def test_full_precision_uses_the_same_strength(ends: tuple[Weights, Weights]) -> None:
    reduced, exact = ends[0].runtime("cpu", "bfloat16", "torch"), ends[0].runtime("cpu", "float32", "torch")
    tiles = luma(1, 20, 21).numpy()
    np.testing.assert_array_equal(
        reduced.run(tiles, 4, clean=0.5, full_precision=True)[4], exact.run(tiles, 4, clean=0.5)[4]
    )


@SHARED
def test_cpu_workers_share_mixed_weights(backend: str, dtype: str) -> None:
    base, _ = pair()
    first, second = (base.runtime("cpu", dtype, backend) for _ in range(2))
    assert first._at(Mix(0.5)) is second._at(Mix(0.5))
    assert first._at(Mix(0.5)) is not first._at(Mix(0.625))


def test_concurrent_requests_for_a_strength_mix_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    base, _ = pair()
    made: list[Mix] = []
    compute, entered = Weights._compute, threading.Barrier(4)

    def counted(self: Weights, mix: Mix, *how: object) -> object:
        made.append(mix)
        return compute(self, mix, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(Weights, "_compute", counted)
    runtimes = [base.runtime("cpu", "float32", "torch") for _ in range(4)]
    made.clear()

    def ask(runtime: Runtime) -> None:
        entered.wait(30)
        runtime._at(Mix(0.375))

    threads = [threading.Thread(target=ask, args=(runtime,)) for runtime in runtimes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [Mix(0.375)]


def test_only_the_most_recently_used_mixes_are_kept() -> None:
    base, _ = pair(LapSRNConfig(depth=1, width=2))
    runtime = base.runtime("cpu", "float32", "torch")
    strengths = [step / 64 for step in range(1, MOST_MIXES + 1)]
    first, *_ = kept = [runtime._at(Mix(strength)) for strength in strengths]
    assert runtime._at(Mix(strengths[0])) is first
    runtime._at(Mix(63 / 64))  # one too many: the second is the one not used for longest
    assert runtime._at(Mix(strengths[0])) is first
    assert runtime._at(Mix(strengths[2])) is kept[2]
    assert runtime._at(Mix(strengths[1])) is not kept[1]


def test_networks_served_together_share_the_limit_on_mixes() -> None:
    base, end = (random_network(LapSRNConfig(depth=1, width=2), seed) for seed in range(2))
    weights = [weights_of(base, "base"), weights_of(extended(base), "larger"), weights_of(end, "end", "base")]
    first, second = (each.runtime("cpu", "float32", "torch") for each in join(weights)[:2])
    plain, kept = first._at(Mix()), first._at(Mix(0.5))
    strengths = [step / 64 for step in range(1, MOST_MIXES)]
    others = [second._at(Mix(strength)) for strength in strengths]
    assert first._at(Mix(0.5)) is kept
    assert [second._at(Mix(strength)) for strength in strengths] == others
    assert second._at(Mix(0.5)) is not kept  # one too many
    assert first._at(Mix(0.5)) is not kept
    assert first._at(Mix()) is plain


def test_a_network_without_clean_up_raises_an_error() -> None:
    runtime = weights_of(random_network(CONFIG), "alone").runtime("cpu", "float32", "torch")
    with pytest.raises(ValueError, match="alone has no clean-up"):
        runtime.run(luma(1, 20, 20).numpy(), 4, clean=0.5)


def test_networks_that_begin_as_the_base_share_its_clean_up_levels() -> None:
    """So a x8 pass gives the same x2 and x4 as the x4 network, at every strength."""
    base, end = (random_network(CONFIG, seed) for seed in (0, 1))
    weights = [weights_of(base, "base"), weights_of(extended(base), "larger"), weights_of(end, "end", "base")]
    weights.append(weights_of(random_network(replace(CONFIG, scale=8), seed=5), "other"))
    join(weights)
    assert [bool(each.info.strengths) for each in weights] == [True, True, True, False]
    small, large, *_ = load(weights, "cpu", "float32", backend="torch").values()
    margin = large.info.window_margin
    picture = plane(12 + 2 * margin, 9 + 2 * margin)[None]
    inner = margin - small.info.window_margin
    cropped = picture[:, inner : picture.shape[1] - inner, inner : picture.shape[2] - inner].copy()
    for strength in (0.0, 0.5, 1.0):
        levels = large.run(picture, 8, clean=strength)
        for scale, level in small.run(cropped, 4, clean=strength).items():
            np.testing.assert_allclose(levels[scale], level, rtol=0, atol=2e-6 * np.abs(level).max())
    assert not np.allclose(large.run(picture, 8)[8], large.run(picture, 8, clean=0.5)[8], atol=1e-3)


def waypoint_of(network: LapSRN, name: str, strength: float = 0.5, compressed: bool = False) -> Weights:
    info = NetworkInfo(name, network.config, "", waypoint=Waypoint("base", strength, compressed))
    return Weights(parameters_of(network), info)


@pytest.mark.parametrize("compressed", [True, False])
def test_each_kind_of_picture_uses_its_own_waypoints(compressed: bool) -> None:
    networks = [random_network(CONFIG, seed) for seed in range(4)]
    base, end = weights_of(networks[0], "base"), weights_of(networks[1], "end", "base")
    ways = [waypoint_of(networks[i], f"{i}", at, compressed) for i, at in ((2, 0.5), (3, 0.25))]
    assert join([base, *ways, end]) == [base, end]
    sooner, later = (parameters_of(networks[i]) for i in (3, 2))
    near, far = parameters_of(networks[0]), parameters_of(networks[1])
    runtime = base.runtime("cpu", "float32", "torch")
    tiles = tiles_for(runtime)

    def alone(parameters: Parameters) -> Tiles:
        return Weights(parameters, replace(base.info, strengths={})).runtime("cpu", "float32", "torch").run(tiles, 4)[4]

    for strength, wanted in {
        0.125: mixed(near, sooner, 0.5),
        0.25: sooner,
        0.375: mixed(sooner, later, 0.5),
        0.5: later,
        0.875: mixed(later, far, 0.75),
        1.0: far,
    }.items():
        np.testing.assert_array_equal(runtime.run(tiles, 4, clean=strength, compressed=compressed)[4], alone(wanted))
        straight = runtime.run(tiles, 4, clean=strength, compressed=not compressed)[4]
        np.testing.assert_array_equal(straight, alone(mixed(near, far, strength)))


def test_mixes_that_are_equal_for_both_kinds_are_made_once() -> None:
    base, _ = pair()
    runtime = base.runtime("cpu", "float32", "torch")
    assert runtime._at(Mix(0.5)) is runtime._at(Mix(0.5, compressed=False))
    base, end = weights_of(random_network(CONFIG), "base"), weights_of(random_network(CONFIG, seed=1), "end", "base")
    join([base, end, waypoint_of(random_network(CONFIG, seed=2), "way")])
    runtime = base.runtime("cpu", "float32", "torch")
    assert runtime._at(Mix(0.5)) is not runtime._at(Mix(0.5, compressed=False))
    for strength in (0.0, 1.0):
        assert runtime._at(Mix(strength)) is runtime._at(Mix(strength, compressed=False))


def test_a_waypoint_at_1_replaces_the_end_for_its_kind() -> None:
    networks = [random_network(CONFIG, seed) for seed in range(3)]
    base, end = weights_of(networks[0], "base"), weights_of(networks[1], "end", "base")
    assert join([base, end, waypoint_of(networks[2], "other", 1.0)]) == [base, end]
    runtime, tiles = base.runtime("cpu", "float32", "torch"), tiles_for(base.runtime("cpu", "float32", "torch"))
    for network, compressed in ((networks[1], True), (networks[2], False)):
        alone = Weights(parameters_of(network), base.info).runtime("cpu", "float32", "torch").run(tiles, 4)
        found = runtime.run(tiles, 4, clean=1.0, compressed=compressed)
        np.testing.assert_array_equal(found[4], alone[4])
    assert base.info.waypoints == {"other": ""}


def test_a_waypoint_applies_to_networks_that_begin_as_the_base_except_their_last_level() -> None:
    networks = [random_network(CONFIG, seed) for seed in range(3)]
    larger = extended(networks[0])
    weights = [weights_of(larger, "larger"), weights_of(networks[0], "base"), weights_of(networks[1], "end", "base")]
    join([*weights, waypoint_of(networks[2], "way")])
    runtime = weights[0].runtime("cpu", "float32", "torch")
    tiles = tiles_for(runtime)
    for strength, first in ((0.5, networks[2]), (1.0, networks[1])):
        wanted = random_network(larger.config)
        wanted.load_state_dict(larger.state_dict() | first.state_dict())
        alone = Weights(parameters_of(wanted), weights[0].info).runtime("cpu", "float32", "torch")
        found = runtime.run(tiles, 8, clean=strength, compressed=False)
        for scale, level in alone.run(tiles, 8).items():
            np.testing.assert_array_equal(found[scale], level)


def test_a_waypoint_without_its_two_networks_is_an_independent_network() -> None:
    way, base = waypoint_of(random_network(CONFIG), "way"), weights_of(random_network(CONFIG), "base")
    assert join([way]) == [way]
    assert join([base, way]) == [base, way]
    end = weights_of(random_network(CONFIG), "end", "base")
    other = waypoint_of(random_network(LapSRNConfig()), "other")
    with pytest.raises(WeightsError, match="other cleans up for base, but that is of another form"):
        join([base, end, other])


def test_an_end_whose_base_is_not_served_is_an_independent_network() -> None:
    end = weights_of(random_network(CONFIG), "end", "base")
    join([end])
    assert (end.info.full_strength_of, end.info.strengths) == ("", {})


def test_an_end_of_another_form_is_refused() -> None:
    weights = [weights_of(random_network(CONFIG), "base"), weights_of(random_network(LapSRNConfig()), "end", "base")]
    with pytest.raises(WeightsError, match="end cleans up for base, but that is of another form"):
        join(weights)


def test_a_weights_file_names_its_base_and_strengths(tmp_path: Path) -> None:
    path = tmp_path / "end.safetensors"
    save_weights(path, random_network(CONFIG), clean={"base": "base", "strengths": TABLE})
    info = load_weights(path)[1]
    assert (info.full_strength_of, info.strengths) == ("base", TABLE)
    save_weights(path, random_network(CONFIG), clean={"base": "base", "at": 0.5, "compressed": False})
    info = load_weights(path)[1]
    assert (info.full_strength_of, info.strengths, info.waypoint) == ("", {}, Waypoint("base", 0.5, False))


@pytest.mark.parametrize(
    "clean",
    [
        {"base": "base"},
        {"base": "base", "strengths": {}},
        {"base": "base", "strengths": {"film": [[50, 1.0]]}},
        {"base": "base", "strengths": TABLE | {"webp": []}},
        {"base": "base", "strengths": TABLE | {"webp": [[50, 1.5]]}},
        {"base": "base", "strengths": TABLE | {"webp": [[90, 0.1], [50, 0.5]]}},
        {"base": "base", "strengths": TABLE | {"webp": [[90]]}},
        {"base": "base", "at": 0, "compressed": True},
        {"base": "base", "at": 1.125, "compressed": True},
        {"base": "base", "at": "half", "compressed": True},
        {"base": "base", "at": 0.5},
        {"base": "base", "at": 0.5, "compressed": "no"},
        {"at": 0.5, "compressed": True},
        7,
    ],
)
def test_malformed_clean_up_metadata_is_refused(tmp_path: Path, clean: object) -> None:
    path = tmp_path / "end.safetensors"
    save_weights(path, random_network(CONFIG), clean=clean)
    with pytest.raises(WeightsError, match=r"'clean' in the metadata of .*end\.safetensors is not valid"):
        load_weights(path)


@pytest.mark.parametrize("strength", EIGHTHS)
def test_shipped_weights_keep_flat_pictures_at_every_strength(strength: float) -> None:
    folder = Path(__file__).parents[2] / "weights"
    weights = [Weights.open(path) for path in sorted(folder.glob("*.safetensors"))]
    join(weights)
    cleaning = [each for each in weights if each.info.strengths and not each.info.full_strength_of]
    assert [each.info.name for each in cleaning] == ["lapsrn_x4", "lapsrn_x4_deep", "lapsrn_x8"]
    for each in cleaning:
        runtime = each.runtime("cpu", "float32")
        tiles = flat_tiles(np.array([16, 101.3, 235]) / 255, runtime.info.window_margin, 3, 2)
        for output in runtime.run(tiles, runtime.info.scales[-1], clean=strength).values():
            assert np.abs(output - tiles[:, :1, :1]).max() < 0.5 / 65535
