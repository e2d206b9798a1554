"""Adapts texts for the command line: options become flags, control characters are escaped."""

import re
from dataclasses import fields

from app.options import UpscaleOptions

_SETTING = re.compile(rf"\b({'|'.join(field.name for field in fields(UpscaleOptions))})=(\w+)")
_FLAGS = {"true": "--{}", "false": "--no-{}"}


def as_flags(text: str) -> str:
    """`text` with request parameters, such as frames=first, replaced by flags: --frames first."""
    return _SETTING.sub(lambda found: _FLAGS.get(found[2], "--{} " + found[2]).format(found[1]), text)


def printable(text: str) -> str:
    r"""`text` with control characters and other unprintable ones escaped as in Python: \x1b, \n.

    File names may contain any of them; their bytes that are not UTF-8 are shown in hexadecimal: \xff.
    """
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(each: str) -> str:
    undecodable = "\udc80" <= each <= "\udcff"  # see os.fsdecode
    return f"\\x{ord(each) - 0xDC00:02x}" if undecodable else each.encode("unicode_escape").decode()
