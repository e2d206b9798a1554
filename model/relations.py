"""Networks that belong together: ends of clean-up, waypoints and deep companions find the network that they are for."""

from collections.abc import Sequence
from dataclasses import replace

from model.runtime import Weights
from model.weights import WeightsError


def join(weights: Sequence[Weights]) -> list[Weights]:
    """Gives networks the clean-up that others are for, and returns those that are served, all but waypoints.

    A network that is another at full strength of clean-up becomes the far end for that one, and for every network whose
    first levels are the same. If the other network is not among `weights`, an end, a waypoint or a deep companion is
    served as a network of its own. Raises WeightsError if networks to be mixed differ in architecture, or a companion
    does not fit.
    """
    waypoints = _join_clean_up(weights)
    served = [each for each in weights if each not in waypoints]
    for each in served[1:]:
        each.share_mixes(served[0])
    _join_companions(served)
    return served


def _join_clean_up(weights: Sequence[Weights]) -> list[Weights]:
    """Gives networks their full strength of clean-up; returns the waypoints on the way. Raises WeightsError."""
    named = {each.info.name: each for each in weights}
    waypoints: list[Weights] = []
    for end in [each for each in weights if each.info.full_strength_of]:
        base = named.get(end.info.full_strength_of)
        if base is None:
            end.info = replace(end.info, full_strength_of="", strengths={})
            continue
        between = [each for each in weights if each.info.waypoint and each.info.waypoint.base == base.info.name]
        for each in (end, *between):
            _check_form(each, base)
        waypoints += between
        for each in weights:
            if each is base or (each not in (end, *between) and each.begins_as(base)):
                each.clean_with(end, between)
    return waypoints


def _join_companions(weights: Sequence[Weights]) -> None:
    """Checks deep companions; without their network, they become networks of their own. Raises WeightsError."""
    named = {each.info.name: each.info for each in weights}
    companions: dict[str, str] = {}
    for companion in [each for each in weights if each.info.deep_of]:
        deep = companion.info
        base = named.get(deep.deep_of)
        if base is None:
            companion.info = replace(deep, deep_of="")
            continue
        if base.scales != deep.scales:
            wrong = f"they have the scales {base.scales} and {deep.scales}"
        elif base.deep_of or base.full_strength_of or deep.full_strength_of:
            wrong = "a deep companion is of a network of its own, and at no strength of clean-up"
        elif base.name in companions:
            wrong = f"{companions[base.name]} is that already"
        else:
            companions[base.name] = deep.name
            continue
        raise WeightsError(
            f"{deep.name} is the deep companion of {base.name}, but {wrong}; serve them apart, or export {deep.name} "
            "again"
        )


def _check_form(end: Weights, base: Weights) -> None:
    """Raises WeightsError if two networks cannot be mixed, as they differ in architecture."""
    if base.info.config != end.info.config:
        raise WeightsError(
            f"{end.info.name} cleans up for {base.info.name}, but that is of another form: {base.info.config} and "
            f"{end.info.config}; serve them apart, or train {end.info.name} from {base.info.name}"
        )
