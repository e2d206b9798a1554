"""API keys, and reading secrets from files."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

SHA256 = r"^[0-9a-f]{64}$"
PREFIX = r"^(/[A-Za-z0-9._~-]+)*$"
_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
_IN_WORDS = {
    SHA256: "give 64 hex digits in lower case, as sha256sum prints them",
    PREFIX: "give a path that begins with /, such as /sr, of letters, digits and . _ ~ -",
    _NAME: "give 1 to 64 letters, digits and _ . -",
}
"""Readable error messages for patterns."""
_WHOLE = "give a whole number, without a unit or quotes"
_NUMBER = "give a number, without a unit or quotes"
_SHOWN = {
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_parsing": _NUMBER,
    "bool_parsing": "give true or false, without quotes",
}
"""Readable error messages for pydantic's types of errors, of settings that hold no secrets."""


class ApiKey(BaseModel):
    """One client's key. Only its SHA-256 is stored, so that the settings reveal no key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=_NAME, description="Shown in logs, never secret.")]
    sha256: Annotated[str, Field(pattern=SHA256, description="Hex SHA-256 of the key.")]
    max_concurrent: Annotated[int | None, Field(ge=1, description="Overrides LAPSRN_CLIENT_MAX_CONCURRENT.")] = None
    requests_per_minute: Annotated[int | None, Field(ge=1, description="Overrides the general rate.")] = None
    admin: Annotated[bool, Field(description="May call POST /admin/reload.")] = False


_LIST = TypeAdapter(tuple[ApiKey, ...])


def text_of(file: Path, variable: str) -> str:
    """The file's text, without a byte order mark. Raises ValueError."""
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise ValueError(f"{variable}: {file} cannot be read ({reason})") from None


def keys_in(file: Path) -> tuple[ApiKey, ...]:
    """The keys in a file. Raises a one-line ValueError that reveals nothing of the file's contents."""
    variable = "LAPSRN_API_KEYS_FILE"
    text = text_of(file, variable)
    try:
        return _LIST.validate_json(text)
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False)
        raise ValueError("; ".join(complaint(dict(item), variable) for item in items)) from None


def complaint(item: dict[str, object], variable: str = "") -> str:
    """'LAPSRN_PORT: Input should be ...' for one of pydantic's errors, without echoing secrets.

    The variable is the first part of the error's location, unless it is given.
    """
    location = item["loc"]
    path = [str(part) for part in location] if isinstance(location, tuple) else []
    context = item.get("ctx")
    pattern = str(context.get("pattern")) if isinstance(context, dict) else ""
    message = _IN_WORDS.get(pattern) or str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "tuple_type":
        message = "give a list in square brackets"
    if (advice := _SHOWN.get(str(item["type"]))) is not None:
        message = advice if len(path) > 1 or variable else f"{repr(item.get('input'))[:50]} was given; {advice}"
    if not variable and path:
        variable = f"LAPSRN_{path.pop(0).upper()}"
    return f"{variable}{''.join(f'[{part}]' for part in path)}: {message}" if variable else message
