"""Explains what is wrong with a parameter, in terms of HTTP instead of pydantic's."""

from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = {
    "missing": "is missing",
    "repeated": "may be given only once",
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_pattern_mismatch": "may have letters, digits, hyphens and underscores only",
    "string_too_short": "must not be empty",
    "string_too_long": "may have at most {max_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "literal_error": "must be {expected}",
}
"""Messages by pydantic's error type, with placeholders for its context. They do not repeat values that were sent."""

_MAX_NAME = 100


def complaint(error: Mapping[str, Any], known: Sequence[str]) -> dict[str, str]:
    """One of pydantic's errors as an item of a problem's `parameters`; `known` are the existing parameters."""
    location = error["loc"]
    where = [str(part) for part in location] if isinstance(location, tuple) else []
    return {
        "in": where[0] if where else "",
        "name": ".".join(where[1:])[:_MAX_NAME],
        "message": _message(error, known),
    }


def _message(error: Mapping[str, Any], known: Sequence[str]) -> str:
    kind = str(error.get("type", ""))
    if kind == "extra_forbidden":
        return f"is not a parameter of this request; there are {_listed(known)}"
    context = {name: _shown(value) for name, value in error.get("ctx", {}).items()}
    return _WORDS[kind].format(**context) if kind in _WORDS else str(error["msg"])


def _shown(value: object) -> str:
    """A limit, or the choices, as readable text."""
    return f"{value:g}" if isinstance(value, float) else str(value).replace("'", "")


def _listed(names: Sequence[str]) -> str:
    *others, last = names or ["none"]
    return f"{', '.join(others)} and {last}" if others else last
