"""Which network computes a picture, and in how many passes: by the network asked for, the quality, and the strength.

A network may have a deep companion among the others: one of the same scales with more convolutions. It computes what
asks for high quality, and what is cleaned up, where it has strengths of clean-up.
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


def cleaner_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> NetworkInfo:
    """The network that cleans up pictures of a network: its companion if that has strengths, or else itself."""
    companion = companion_of(networks, network)
    return companion if companion is not None and companion.strengths else network


def base_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> NetworkInfo:
    """The network that a network at full strength of clean-up is another name of clean=1 for, or the network itself."""
    return networks.get(network.full_strength_of, network)


def family(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> dict[str, str]:
    """The SHA-256 of every weights file that can have a part in pictures of a network, by name."""
    base = base_of(networks, network)
    companion = companion_of(networks, base)
    bases = {base.name, companion.name if companion else ""} - {""}
    found = {
        name: each.sha256 for name, each in networks.items() if not bases.isdisjoint({name, each.full_strength_of})
    }
    return found | {way: digest for name in bases for way, digest in networks[name].waypoints.items()}


def choose(networks: Mapping[str, NetworkInfo], network: NetworkInfo, effort: Effort, strength: float) -> Choice:
    """For a picture of `network` with a strength of clean-up, 0 to 1. Network and strength go together."""
    work, base = WORK[effort], base_of(networks, network)
    companion = companion_of(networks, base) if work.deep else None
    runs = cleaner_of(networks, base) if strength else companion or base
    passes = work.passes if runs.deep_of else work.passes_without
    return Choice(runs.name if base is network else network.name, runs.name, passes)
