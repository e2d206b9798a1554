"""XMP packets as this service writes them: one property per line, placeholders for what depends on the result.

A placeholder is a letter and the source's value between two NUL bytes, which XML cannot contain. The decoder process
leaves them, so that only simple text is replaced outside of it.
"""

import hashlib
from collections.abc import Sequence
from fractions import Fraction

_HEAD = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
)
_TAIL = b'</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
_INSTRUCTION = b"?>\n"  # ends the xpacket header, which an extension does not have
_NOTE = b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%b"/>\n'
_SRGB = b"1"
WIDTH, HEIGHT, DENSITY, COLOR_SPACE = "W", "H", "D", "C"


def placeholder(letter: str, value: str = "") -> str:
    """Stands in a packet for a value that depends on the result."""
    return f"\0{letter}{value}\0"


def packet(lines: Sequence[str]) -> bytes | None:
    """The packet with these properties, one per line; None if there are none."""
    return b"".join((_HEAD, *(line.encode() + b"\n" for line in lines), _TAIL)) if lines else None


def filled(opened: bytes, scale: int | Fraction, height: int, width: int, srgb: bool) -> bytes:
    """The packet with its placeholders replaced for a result of `height` x `width`, `scale` times the source."""
    parts = opened.split(b"\0")
    for index in range(1, len(parts), 2):
        letter, value = parts[index][:1].decode(), parts[index][1:]
        if letter == DENSITY:
            above, _, below = value.partition(b"/")
            density = Fraction(int(above), int(below or b"1")) * scale
            parts[index] = b"%d/%d" % (density.numerator, density.denominator)
        elif letter == COLOR_SPACE:
            parts[index] = _SRGB if srgb else value
        else:
            parts[index] = b"%d" % (width if letter == WIDTH else height)
    return b"".join(parts)


def split(whole: bytes, most: int) -> tuple[bytes, bytes, bytes]:
    """A packet of at most `most` bytes, the extension with the rest, and its GUID; the last two may be empty.

    The largest properties go into the extension. (XMP specification, part 3, section 1.1.3.1.)
    """
    if len(whole) <= most:
        return whole, b"", b""
    lines = whole[len(_HEAD) : -len(_TAIL)].splitlines(keepends=True)
    room = most - len(_HEAD) - len(_NOTE) - 32 - len(_TAIL)
    kept: set[int] = set()
    for index in sorted(range(len(lines)), key=lambda index: len(lines[index])):
        room -= len(lines[index])
        if room < 0:
            break
        kept.add(index)
    head = _HEAD[_HEAD.index(_INSTRUCTION) + len(_INSTRUCTION) :]
    tail = _TAIL[: _TAIL.index(b"<?")]
    extension = b"".join((head, *(line for index, line in enumerate(lines) if index not in kept), tail))
    name = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    main = (_HEAD, _NOTE % name, *(line for index, line in enumerate(lines) if index in kept), _TAIL)
    return b"".join(main), extension, name
