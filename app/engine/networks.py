"""The networks of an engine: choosing one for a request, and checking that all workers have the same ones."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from app.engine.ports import NetworkInfo
from app.errors import BadParameter, StartupError

Networks: TypeAlias = Mapping[str, NetworkInfo]
"""By name, in order: a request that names none gets the first one with its scale."""


def scales_of(networks: Iterable[NetworkInfo]) -> tuple[int, ...]:
    """The scales that any of them has, ascending."""
    return tuple(sorted({scale for network in networks for scale in network.scales}))


def levels_of(network: NetworkInfo, scale: int) -> tuple[int, ...]:
    """The levels of a pass up to `scale`, ascending."""
    return tuple(level for level in network.scales if level <= scale)


def choose(networks: Networks, scale: int, name: str | None) -> NetworkInfo:
    """The network called `name`, else the first that has this scale. Raises BadParameter."""
    if name is not None and name not in networks:
        raise BadParameter(f"there is no model {name!r} here; there are {', '.join(networks)}")
    among = list(networks.values()) if name is None else [networks[name]]
    for network in among:
        if scale in network.scales:
            return network
    whose = "" if name is None else f" of {name}"
    allowed = ", ".join(map(str, scales_of(among)))
    raise BadParameter(f"scale {scale}{whose} is not available; allowed: {allowed}")


def require_same(mine: Networks, ours: Networks) -> None:
    """Raises StartupError unless two workers' networks have the same names, margins and scales."""
    for name in mine.keys() | ours.keys():
        its, known = _described(mine.get(name)), _described(ours.get(name))
        if its != known:
            raise StartupError(
                f"{_owner(mine)}: {name} has {its}, but of {_owner(ours)} it has {known}; give all workers one model"
            )


def _described(network: NetworkInfo | None) -> str:
    if network is None:
        return "no place"
    return f"margin {network.margin}, windows with {network.window_margin} and scales {tuple(network.scales)}"


def _owner(networks: Networks) -> str:
    first = next(iter(networks.values()))
    return f"{first.name} on {first.device}"
