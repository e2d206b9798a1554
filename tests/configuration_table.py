"""docs/configuration.md as made from Settings and the backends; `python -m tests.configuration_table` rewrites it."""

import json
from pathlib import Path, PosixPath
from typing import Any

from app.api_keys import ApiKey
from app.settings import MOST, Settings
from model.backends.registry import BACKENDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
ROOT = PAGE.parent.parent

INTRODUCTION = """# Configuration

Every setting of the service is an environment variable, read and checked once at the start; an invalid value prevents
the start, with one line that names the variable. `make serve`, `lapsrn serve` and docker-compose read the same
variables. Limits marked (M) become smaller if memory is scarce and they are not set
([memory](operations.md#memory)).
This page is generated from `app/settings.py` and `model/backends/registry.py` by
`python -m tests.configuration_table`, and a test fails when they differ.

"""

ABOUT_BACKENDS = """
## Backends

A backend is a way to compute the networks. `auto` takes the first in this list that can; `LAPSRN_BACKEND` forces one.
`lapsrn doctor` says which of them can on this machine, and why the others cannot.

| `LAPSRN_BACKEND` | what it is | for |
|---|---|---|
"""


def shown(value: Any) -> str:
    """A default as one would write it in the environment."""
    if value is None or value == ():
        return ""
    if isinstance(value, PosixPath):
        return f"`{value.relative_to(ROOT)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ",".join(shown(each) for each in value).replace("`,`", ",")
    return f"`{value}`"


def limits(schema: dict[str, Any]) -> str:
    """What a setting may be, from its JSON schema."""
    for part in schema.get("anyOf", [schema]):
        if part.get("type") != "null":
            schema = part
            break
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("type") == "boolean":
        return "`true`, `false`"
    kind = {"integer": "whole number", "number": "number", "array": "list", "string": "text"}.get(
        schema["type"], "text"
    )
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high not in (None, MOST):
        return f"{kind}, {low} to {high:.0f}"
    if low is not None:
        return f"{kind}, from {low}"
    if "exclusiveMinimum" in schema and high is not None:
        return f"{kind}, above 0, at most {high:.0f}"
    return f"{kind}, above 0" if "exclusiveMinimum" in schema else kind


def page() -> str:
    """The whole page."""
    properties = Settings.model_json_schema()["properties"]
    lines = ["| variable | default | allowed values | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = shown(field.default)
        lines.append(f"| `LAPSRN_{name.upper()}` | {default} | {limits(properties[name])} | {field.description} |")
    keys = [f"| `{name}` | {field.description} |" for name, field in ApiKey.model_fields.items()]
    backends = [f"| `{each.name}` | {each.description} | {each.needs} |" for each in BACKENDS]
    example = json.dumps([{"name": "shop", "sha256": "...", "requests_per_minute": 60}])
    return (
        INTRODUCTION
        + "\n".join(lines)
        + "\n\n## API keys\n\n`LAPSRN_API_KEYS`, or the file that `LAPSRN_API_KEYS_FILE` names, is a JSON list; "
        + "each entry has these fields:\n\n"
        + "| field | meaning |\n|---|---|\n"
        + "\n".join(keys)
        + f"\n\nFor example `LAPSRN_API_KEYS='{example}'`; `printf %s \"$KEY\" | sha256sum` computes the hash.\n"
        + "Clients send `Authorization: Bearer KEY` or `X-API-Key: KEY`.\n"
        + ABOUT_BACKENDS
        + "\n".join(backends)
        + "\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
