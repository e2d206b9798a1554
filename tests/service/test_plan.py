"""Which network and level a size needs, and what no network can make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.engine import networks
from app.errors import BadParameter
from app.options import UpscaleOptions
from app.service.plan import check, make_plan
from tests.fakes import FakeInfo


@dataclass(frozen=True)
class FakeEngine:
    networks: Mapping[str, Any] = field(
        default_factory=lambda: {
            name: FakeInfo(name, scales)
            for name, scales in {"four": (2, 4), "eight": (2, 4, 8), "jpeg": (2, 4)}.items()
        }
    )

    @property
    def scales(self) -> tuple[int, ...]:
        return networks.scales_of(self.networks.values())

    def choose(self, scale: int, network: str | None = None) -> str:
        if network is not None and network not in self.networks:
            raise BadParameter(f"there is no model {network!r} here")
        return network or next(name for name, each in self.networks.items() if scale in each.scales)

    def levels(self, network: str, scale: int) -> tuple[int, ...]:
        return tuple(level for level in self.networks[network].scales if level <= scale)


ENGINE = FakeEngine()


@pytest.mark.parametrize(
    ("options", "network", "levels", "size"),
    [
        ({}, "four", (2, 4), None),
        ({"scale": 8}, "eight", (2, 4, 8), None),
        ({"scale": 3}, "four", (4,), (300, 600)),
        ({"scale": 1.5}, "four", (2,), (150, 300)),
        ({"scale": 1, "model": "jpeg"}, "jpeg", (2,), (100, 200)),
        ({"scale": 4.5}, "eight", (8,), (450, 900)),
        ({"width": 400}, "four", (2,), None),
        ({"width": 401}, "four", (4,), (201, 401)),
        ({"height": 250}, "four", (4,), (250, 500)),
        ({"width": 900, "height": 300}, "four", (4,), (300, 600)),
        ({"long_side": 1600}, "eight", (2, 4, 8), None),
        ({"long_side": 1}, "four", (2,), (1, 1)),
        ({"long_side": 50}, "four", (2,), (25, 50)),
    ],
)
def test_the_smallest_level_that_reaches_the_size_is_chosen(
    options: dict[str, Any], network: str, levels: tuple[int, ...], size: tuple[int, int] | None
) -> None:
    found = make_plan(ENGINE, UpscaleOptions(**options), 100, 200)
    assert (found.network, found.size) == (network, size)
    assert found.levels == levels or (size is None and found.levels[-1] == levels[-1])
    assert found.compute == levels[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 1601}, "picture of 200 x 100 can become 1600 x 800 at most"),
        ({"width": 900, "model": "jpeg"}, "can become 800 x 400 at most"),
        ({"long_side": 300, "width": 300}, "long_side: does not go with width or height"),
        ({"scale": 8, "model": "jpeg"}, "scale: 8 is not served by jpeg; allowed are 1 to 4"),
        ({"width": 300, "model": "none"}, "there is no model"),
        ({"clean": 0.5}, "four has no clean-up"),
        ({"clean": 0.5, "width": 300}, "four has no clean-up"),
    ],
)
def test_scales_and_sizes_that_no_network_makes_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadParameter, match=words):
        make_plan(ENGINE, UpscaleOptions(**options), 100, 200)


def test_options_that_are_invalid_for_any_picture_are_refused_before_decoding() -> None:
    assert check(ENGINE, UpscaleOptions(scale=3)) == "four"
    assert check(ENGINE, UpscaleOptions(width=10**9)) is None
    with pytest.raises(BadParameter):
        check(ENGINE, UpscaleOptions(long_side=300, height=300))
    with pytest.raises(BadParameter):
        check(ENGINE, UpscaleOptions(width=300, model="none"))
    with pytest.raises(BadParameter):
        check(ENGINE, UpscaleOptions(clean=0.5))


@pytest.mark.parametrize("height", [1, 7, 99, 1000])
@pytest.mark.parametrize("width", [1, 13, 640, 999])
@pytest.mark.parametrize(
    "options", [{"scale": 1.1}, {"scale": 2.0001}, {"long_side": 777}, {"long_side": 1281}, {"width": 5}, {"height": 3}]
)
def test_the_size_never_exceeds_the_level_it_is_reduced_from(height: int, width: int, options: dict[str, Any]) -> None:
    asked = UpscaleOptions(**options)
    try:
        found = make_plan(ENGINE, asked, height, width)
    except BadParameter:
        return
    tall, wide = found.size or (height * found.compute, width * found.compute)
    assert tall <= height * found.compute
    assert wide <= width * found.compute
