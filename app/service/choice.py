"""Which network computes a picture, and in how many passes: by the network asked for, the effort, and the strength.

A network may have a deep companion: another network with the same scales and more convolutions. The companion computes
pictures for which high effort is asked, and pictures that are cleaned up, if it has clean-up strengths.
"""

from collections.abc import Mapping
from typing import NamedTuple

from app.engine import NetworkInfo
from app.options import Effort


class Work(NamedTuple):
    """What an effort stands for.

    `deep`: the deep companion also computes pictures that need no clean-up. `passes` is for deep companions,
    `passes_without` for all other networks; several passes run over symmetries of the square and are averaged, see
    app.engine.ensemble.
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
    """`name` is the network's name in responses; `network` is what the engine runs: `name` may be a strength of it."""

    name: str
    network: str
    passes: int


def companion_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> NetworkInfo | None:
    """The network's deep companion; None if none is served."""
    return next((each for each in networks.values() if each.deep_of == network.name), None)


def cleaner_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> NetworkInfo:
    """The network that cleans up pictures for `network`: its companion if that has strengths, otherwise itself."""
    companion = companion_of(networks, network)
    return companion if companion is not None and companion.strengths else network


def base_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> NetworkInfo:
    """If `network` is another name for clean=1 of some network, that network; otherwise `network` itself."""
    return networks.get(network.full_strength_of, network)


def family(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> dict[str, str]:
    """Name -> SHA-256 of every weights file that may be used for pictures of `network`."""
    base = base_of(networks, network)
    companion = companion_of(networks, base)
    bases = {base.name, companion.name if companion else ""} - {""}
    found = {
        name: each.sha256 for name, each in networks.items() if not bases.isdisjoint({name, each.full_strength_of})
    }
    return found | {waypoint: digest for name in bases for waypoint, digest in networks[name].waypoints.items()}


def choose(networks: Mapping[str, NetworkInfo], network: NetworkInfo, effort: Effort, strength: float) -> Choice:
    """What computes a picture of `network` at a clean-up strength in 0..1, which must be one that the network has."""
    work, base = WORK[effort], base_of(networks, network)
    companion = companion_of(networks, base) if work.deep else None
    runs = cleaner_of(networks, base) if strength else companion or base
    passes = work.passes if runs.deep_of else work.passes_without
    return Choice(runs.name if base is network else network.name, runs.name, passes)
