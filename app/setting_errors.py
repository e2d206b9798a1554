"""Explains what is wrong with a setting, in one line, in terms of the environment instead of pydantic's."""

SHA256 = r"^[0-9a-f]{64}$"
PREFIX = r"^(/[A-Za-z0-9._~-]+)*$"
NAME = r"^[A-Za-z0-9_.-]{1,64}$"
_IN_WORDS = {
    SHA256: "give 64 hex digits in lower case, as sha256sum prints them",
    PREFIX: "give a path that begins with /, such as /sr, of letters, digits and . _ ~ -",
    NAME: "give 1 to 64 letters, digits and _ . -",
}
"""What to give instead of a value that does not match a pattern."""
_WHOLE = "give a whole number, without a unit or quotes"
_NUMBER = "give a number, without a unit or quotes"
_ADVICE = {
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_parsing": _NUMBER,
    "bool_parsing": "give true or false, without quotes",
}
"""What to give instead, by pydantic's type of error, of settings that hold no secrets."""


def complaint(item: dict[str, object], variable: str = "") -> str:
    """'LAPSRN_PORT: Input should be ...' for one of pydantic's errors (an item of `errors()`), without echoing secrets.

    The variable is the first part of the error's location, unless it is given.
    """
    location = item["loc"]
    path = [str(part) for part in location] if isinstance(location, tuple) else []
    context = item.get("ctx")
    pattern = str(context.get("pattern")) if isinstance(context, dict) else ""
    message = _IN_WORDS.get(pattern) or str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "tuple_type":
        message = "give a list in square brackets"
    if (advice := _ADVICE.get(str(item["type"]))) is not None:
        message = advice if len(path) > 1 or variable else f"{repr(item.get('input'))[:50]} was given; {advice}"
    if not variable and path:
        variable = f"LAPSRN_{path.pop(0).upper()}"
    return f"{variable}{''.join(f'[{part}]' for part in path)}: {message}" if variable else message
