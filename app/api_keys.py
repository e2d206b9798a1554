"""API keys, and reading secrets from files."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.setting_errors import NAME, SHA256, complaint


class ApiKey(BaseModel):
    """One client's key. Only its SHA-256 is stored, so that the settings reveal no key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=NAME, description="Shown in logs, never secret.")]
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
