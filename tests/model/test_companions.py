"""Deep companions of networks: what a file says of itself, and what is checked where networks are joined."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import NetworkInfo, WeightsError, load_weights, parameters_of, save_weights
from model.network import LapSRN, LapSRNConfig
from model.relations import join
from model.runtime import Runtime, Weights
from model.weights import KINDS, Waypoint
from tests.model.networks import luma, random_network
from tests.model.test_flat import EVERY_8_BIT, flat_tiles

PLAIN = LapSRNConfig(depth=1, width=4)
DEEP = LapSRNConfig(depths=(5, 3), skips=True, width=4)
TABLE = {kind: [(0, 1.0), (100, 0.0)] for kind in KINDS}
EIGHTHS = [step / 8 for step in range(9)]


def weights_of(network: LapSRN, name: str, **about: object) -> Weights:
    return Weights(parameters_of(network), replace(NetworkInfo(name, network.config, ""), **about))  # type: ignore[arg-type]


def larger(base: LapSRN) -> LapSRN:
    """A network of x8 whose first levels are those of `base`."""
    network = random_network(replace(base.config, scale=8, depths=(*base.config.depth_of_levels, 1)), seed=7)
    network.load_state_dict(network.state_dict() | base.state_dict())
    return network


def line() -> dict[str, Weights]:
    """A plain and a deep network for x4 and for x8, with a line of clean-up of the deep ones, joined, by name."""
    deep, end, way = (random_network(DEEP, seed) for seed in range(3))
    weights = [
        weights_of(random_network(PLAIN), "x4"),
        weights_of(random_network(replace(PLAIN, scale=8)), "x8"),
        weights_of(deep, "x4_deep", deep_of="x4"),
        weights_of(larger(deep), "x8_deep", deep_of="x8"),
        weights_of(end, "x4_end", full_strength_of="x4_deep", strengths=TABLE),
        weights_of(way, "x4_way", waypoint=Waypoint("x4_deep", 0.5, False)),
    ]
    return {each.info.name: each for each in join(weights)}


def runtime_of(weights: Weights) -> Runtime:
    return weights.runtime("cpu", "float32", "torch")


def test_a_companion_keeps_its_relation_and_has_its_own_clean_up_line() -> None:
    found = line()
    assert list(found) == ["x4", "x8", "x4_deep", "x8_deep", "x4_end"]
    assert {name: each.info.deep_of for name, each in found.items() if each.info.deep_of} == {
        "x4_deep": "x4",
        "x8_deep": "x8",
    }
    assert {name for name, each in found.items() if each.info.strengths} == {"x4_deep", "x8_deep", "x4_end"}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("strength", EIGHTHS)
def test_flat_pictures_and_levels_are_exact_at_every_strength_of_a_companion(strength: float, compressed: bool) -> None:
    found = line()
    small, large = runtime_of(found["x4_deep"]), runtime_of(found["x8_deep"])
    tiles = flat_tiles(EVERY_8_BIT, large.info.window_margin, 1, 2)
    for output in large.run(tiles, 8, clean=strength, compressed=compressed).values():
        assert (np.rint(output * 255.0) == np.arange(256)[:, None, None]).all()
    inner, margin = large.info.window_margin - small.info.window_margin, large.info.window_margin
    picture = luma(1, 9 + 2 * margin, 12 + 2 * margin).numpy()
    cropped = picture[:, inner : picture.shape[1] - inner, inner : picture.shape[2] - inner].copy()
    levels = large.run(picture, 8, clean=strength, compressed=compressed)
    for scale, level in small.run(cropped, 4, clean=strength, compressed=compressed).items():
        np.testing.assert_allclose(levels[scale], level, rtol=0, atol=2e-6 * np.abs(level).max())


@pytest.mark.parametrize("info", [{}, {"waypoint": Waypoint("deep", 0.5, True)}], ids=["missing", "a waypoint"])
def test_a_companion_whose_network_is_not_served_is_an_independent_network(info: dict[str, Waypoint]) -> None:
    deep = weights_of(random_network(DEEP), "deep", deep_of="plain")
    others = [weights_of(random_network(DEEP, 1), "end", full_strength_of="deep", strengths=TABLE)]
    others += [weights_of(random_network(DEEP, 2), "plain", **info)] if info else []
    assert join([deep, *others]) == [deep, others[0]]
    assert (deep.info.deep_of, deep.info.strengths) == ("", TABLE)


@pytest.mark.parametrize(
    ("networks", "complaint"),
    [
        ([("plain", 4, {}), ("deep", 8, {"deep_of": "plain"})], r"they have the scales \(2, 4\) and \(2, 4, 8\)"),
        ([("plain", 4, {}), ("deep", 4, {"deep_of": "plain"}), ("deeper", 4, {"deep_of": "deep"})], "of its own"),
        ([("plain", 4, {}), ("deep", 4, {"deep_of": "plain"}), ("other", 4, {"deep_of": "plain"})], "deep is that al"),
        (
            [("a", 4, {}), ("b", 4, {"full_strength_of": "a", "strengths": TABLE}), ("deep", 4, {"deep_of": "b"})],
            "of its own",
        ),
        (
            [("a", 4, {}), ("b", 4, {}), ("c", 4, {"full_strength_of": "a", "strengths": TABLE, "deep_of": "b"})],
            "at no strength of clean-up",
        ),
    ],
    ids=["scales", "of a companion", "two of one", "of an end", "an end"],
)
def test_companions_that_do_not_fit_are_refused(
    networks: list[tuple[str, int, dict[str, str]]], complaint: str
) -> None:
    weights = [weights_of(random_network(replace(PLAIN, scale=scale)), name, **info) for name, scale, info in networks]
    with pytest.raises(WeightsError, match=f"is the deep companion of .*{complaint}"):
        join(weights)


def test_a_weights_file_names_the_network_it_is_a_companion_of(tmp_path: Path) -> None:
    path = tmp_path / "deep.safetensors"
    save_weights(path, random_network(DEEP), deep={"of": "plain"})
    assert load_weights(path)[1].deep_of == "plain"


@pytest.mark.parametrize("told", [{}, {"of": ""}, {"of": 7}, {"of": "deep"}, "plain", ["plain"]])
def test_malformed_companion_metadata_is_refused(tmp_path: Path, told: object) -> None:
    path = tmp_path / "deep.safetensors"
    save_weights(path, random_network(DEEP), deep=told)
    with pytest.raises(WeightsError, match=r"'deep' in the metadata of .*deep\.safetensors is not valid"):
        load_weights(path)
