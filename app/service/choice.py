"""Which network computes a picture, and in how many passes: by the network asked for, the quality, and the strength.

A network may have a deep companion among the others: one of the same scales with more convolutions. It computes what
asks for high quality, and what is cleaned up of losses of compression, where it has strengths of clean-up.
"""

from collections.abc import Mapping
from typing import NamedTuple

from app.engine import NetworkInfo
from app.options import Effort


class Work(NamedTuple):
    """What an effort is: whether the deep companion computes what needs no clean-up, and passes with it and without.

    More passes than one are over symmetries of the square, and the result is their mean; see app.engine.ensemble.
    """

    deep: bool
    passes: int
    passes_without: int


WORK: Mapping[Effort, Work] = {
    "standard": Work(deep=False, passes=1, passes_without=1),
    "medium": Work(deep=False, passes=2, passes_without=2),
    "high": Work(deep=True, passes=2, passes_without=8),
    "best": Work(deep=True, passes=8, passes_without=8),
}


class Choice(NamedTuple):
    """`name` is what answers say; `network` is what the engine runs, as the former may be a strength of it."""

    name: str
    network: str
    passes: int


def companion_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> NetworkInfo | None:
    """Its deep companion, if that is served."""
    return next((each for each in networks.values() if each.deep_of == network.name), None)


def cleaner_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo, compressed: bool) -> NetworkInfo:
    """The network that cleans up pictures of a network, with losses of compression or without.

    Its companion is for losses of compression; where either of the two has no strengths, it is the other.
    """
    companion = companion_of(networks, network)
    if companion is None or not companion.strengths:
        return network
    return companion if compressed or not network.strengths else network


def base_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> NetworkInfo:
    """The network that a network at full strength of clean-up is another name of clean=1 for, or the network itself."""
    return networks.get(network.full_strength_of, network)


def family(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> dict[str, str]:
    """The SHA-256 of every weights file that can have a part in pictures of a network, by name."""
    base = base_of(networks, network)
    companion = companion_of(networks, base)
    bases = {base.name, companion.name if companion else ""} - {""}
    return {name: each.sha256 for name, each in networks.items() if not bases.isdisjoint({name, each.full_strength_of})}


def choose(
    networks: Mapping[str, NetworkInfo], network: NetworkInfo, effort: Effort, strength: float, compressed: bool
) -> Choice:
    """For a picture of `network` with a strength of clean-up, 0 to 1, for losses of compression or others.

    Network and strength go together.
    """
    work, base = WORK[effort], base_of(networks, network)
    companion = companion_of(networks, base) if work.deep else None
    runs = cleaner_of(networks, base, compressed) if strength else companion or base
    passes = work.passes if runs.deep_of else work.passes_without
    return Choice(runs.name if base is network else network.name, runs.name, passes)
