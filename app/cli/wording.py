"""Texts from elsewhere as the command line shows them: options by their flags, control characters harmless."""

import re
from dataclasses import fields

from app.options import UpscaleOptions
from model.files import printable as printable

_SETTING = re.compile(rf"\b({'|'.join(field.name for field in fields(UpscaleOptions))})=(\w+)")
_FLAGS = {"true": "--{}", "false": "--no-{}"}


def as_flags(text: str) -> str:
    """`text` with the parameters of a request in it, such as frames=first, as flags: --frames first."""
    return _SETTING.sub(lambda found: _FLAGS.get(found[2], "--{} " + found[2]).format(found[1]), text)
