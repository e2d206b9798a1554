"""The networks of an engine: chooses one for a request, and checks that all workers have the same ones."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from app.engine.ports import NetworkInfo
from app.errors import BadParameter, StartupError

Networks: TypeAlias = Mapping[str, NetworkInfo]
"""By name, in order of preference: a request that names none gets the first one with its scale."""


def scales_of(networks: Iterable[NetworkInfo]) -> tuple[int, ...]:
    """All scales of the networks, ascending."""
    return tuple(sorted({scale for network in networks for scale in network.scales}))


def levels_of(network: NetworkInfo, scale: int) -> tuple[int, ...]:
    """The levels of a pass up to `scale`, ascending."""
    return tuple(level for level in network.scales if level <= scale)


def choose(networks: Networks, scale: int, name: str | None) -> NetworkInfo:
    """The network called `name`, or the first one with this scale. Raises BadParameter."""
    if name is not None and name not in networks:
        raise BadParameter(f"there is no model {name!r} here; there are {', '.join(networks)}")
    candidates = list(networks.values()) if name is None else [networks[name]]
    for network in candidates:
        if scale in network.scales:
            return network
    whose = "" if name is None else f" of {name}"
    allowed = ", ".join(map(str, scales_of(candidates)))
    raise BadParameter(f"scale {scale}{whose} is not available; allowed: {allowed}")


def require_same(new: Networks, known: Networks) -> None:
    """Raises StartupError unless two workers' networks have the same names, margins and scales."""
    for name in new.keys() | known.keys():
        new_form, known_form = _described(new.get(name)), _described(known.get(name))
        if new_form != known_form:
            raise StartupError(
                f"workers differ: {name} is {new_form} for {_owner(new)}, but {known_form} for {_owner(known)}; "
                "give all workers one model"
            )


def _described(network: NetworkInfo | None) -> str:
    if network is None:
        return "missing"
    return f"a network with margin {network.margin}, window margin {network.window_margin}, scales {network.scales}"


def _owner(networks: Networks) -> str:
    first = next(iter(networks.values()))
    return f"{first.name} on {first.device}"
