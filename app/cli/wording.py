"""Texts from elsewhere as the command line shows them: options by their flags, control characters harmless."""

import re
from dataclasses import fields

from app.options import UpscaleOptions

_SETTING = re.compile(rf"\b({'|'.join(field.name for field in fields(UpscaleOptions))})=(\w+)")
_FLAGS = {"true": "--{}", "false": "--no-{}"}


def as_flags(text: str) -> str:
    """`text` with the parameters of a request in it, such as frames=first, as flags: --frames first."""
    return _SETTING.sub(lambda found: _FLAGS.get(found[2], "--{} " + found[2]).format(found[1]), text)


def printable(text: str) -> str:
    r"""`text` with everything that a terminal could obey, or cannot show, escaped as in Python: \x1b, \n.

    File names may hold any of it; bytes of theirs that are not UTF-8 are shown as such: \xff.
    """
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(each: str) -> str:
    undecodable = "\udc80" <= each <= "\udcff"  # see os.fsdecode
    return f"\\x{ord(each) - 0xDC00:02x}" if undecodable else each.encode("unicode_escape").decode()
