"""Which network computes a picture, up to which level, and which levels are written: by its size and the options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.engine import NetworkInfo
from app.errors import BadParameter
from app.options import UpscaleOptions
from app.service import clean_up


class ReadyEngine(Protocol):
    """What a plan needs of an engine whose networks are loaded."""

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales of all networks, ascending."""

    @property
    def networks(self) -> Mapping[str, NetworkInfo]:
        """The networks by name."""

    def choose(self, scale: int, network: str | None = None) -> str:
        """The network for this scale. Raises BadParameter."""

    def levels(self, network: str, scale: int) -> tuple[int, ...]:
        """The levels of a pass, ascending."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`network` is the one asked for; app.service.choice decides which one computes, once the strength is known.

    `compute` is the level up to which to compute; `levels` are those to write, ascending.

    With `size` (height, width), there is one level, which is reduced to that size.
    """

    network: str
    compute: int
    levels: tuple[int, ...]
    size: tuple[int, int] | None = None

    @property
    def level(self) -> int:
        """The largest level that is written."""
        return self.levels[-1]


def check(engine: ReadyEngine, options: UpscaleOptions) -> str | None:
    """The network; None if it depends on the picture's size. Raises BadParameter for options that fit no picture."""
    scales = _scales(engine, options)
    if options.sized:
        if options.long_side is not None and (options.width is not None or options.height is not None):
            raise BadParameter("long_side: does not go with width or height; leave one of them out.")
        engine.choose(scales[0], options.model)
        return None
    return _network(engine, _level(options, scales), options)


def make_plan(engine: ReadyEngine, options: UpscaleOptions, height: int, width: int) -> Plan:
    """The plan for a picture of this size. Raises BadParameter."""
    check(engine, options)
    scales, size = _scales(engine, options), options.size_of(height, width)
    if options.sized:
        reaching = [scale for scale in scales if height * scale >= size[0] and width * scale >= size[1]]
        if not reaching:
            raise BadParameter(
                f"The result is to be {size[1]} x {size[0]}, and a picture of {width} x {height} can become "
                f"{width * scales[-1]} x {height * scales[-1]} at most: ask for less."
            )
        level = reaching[0]
    else:
        level = _level(options, scales)
    network = _network(engine, level, options)
    if size == (height * level, width * level):
        return Plan(network, level, engine.levels(network, level))
    return Plan(network, level, (level,), size)


def _network(engine: ReadyEngine, level: int, options: UpscaleOptions) -> str:
    """The network for this level. Raises BadParameter, also if it lacks the clean-up strength that is asked for."""
    name = engine.choose(level, options.model)
    clean_up.check(engine.networks, engine.networks[name], options.clean)
    return name


def _scales(engine: ReadyEngine, options: UpscaleOptions) -> Sequence[int]:
    """The scales of the network that `options` name, or of all."""
    named = engine.networks.get(options.model or "")
    return engine.scales if named is None else named.scales


def _level(options: UpscaleOptions, scales: Sequence[int]) -> int:
    """The smallest level that is at least the scale asked for. Raises BadParameter."""
    for level in scales:
        if level >= options.scale:
            return level
    by = f" by {options.model}" if options.model else ""
    raise BadParameter(f"scale: {options.scale:g} is not served{by}; allowed are 1 to {scales[-1]}.")
