"""XMP: parses a packet, with entities refused, and writes what is kept of it."""

from dataclasses import dataclass, field
from fractions import Fraction
from html import escape
from typing import Literal, NoReturn
from xml.parsers import expat

from app.codec.metadata import xmp_packet
from app.codec.metadata.directories import Unreadable
from app.codec.metadata.exif import Choice
from app.codec.metadata.xmp_names import (
    DIMENSIONS,
    KEPT,
    NAMESPACES,
    ORIENTATION,
    PLACEHOLDERS,
    QUARTER_TURNED,
    RDF,
    REGIONS,
    XML,
    Name,
    goes_stale,
)
from app.codec.metadata.xmp_packet import COLOR_SPACE, DENSITY

MAX_BYTES = 1 << 20
_MAX_NODES = 50_000  # elements and attributes: a few bytes each, but many microseconds
_MAX_DEPTH = 64
_RDF, _DESCRIPTION = Name(RDF, "RDF"), Name(RDF, "Description")
_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}


class TooLarge(ValueError):
    """The packet is larger than what is parsed."""


@dataclass(frozen=True, slots=True)
class Xmp:
    """The kept properties, one per line and with placeholders, and the orientation, if one was stated."""

    lines: list[str]
    orientation: int | None


def read(packet: bytes, choice: Choice, orientation: int) -> Xmp:
    """Filters a packet of a picture with this orientation. Raises Unreadable or TooLarge."""
    reader = _Reader(choice, orientation)
    reader.parse(_text(packet))
    return Xmp(reader.lines, reader.orientation)


def _text(packet: bytes) -> bytes:
    """The packet in UTF-8, starting at its first tag."""
    if len(packet) > MAX_BYTES:
        raise TooLarge(f"{len(packet):,} bytes; at most {MAX_BYTES:,} are read")
    coding = next((name for mark, name in _MARKS.items() if packet.startswith(mark)), "utf-8")
    try:
        text = packet.decode(coding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"no text in {coding}") from error
    return text[max(0, text.find("<")) :].rstrip("\0 \t\r\n").encode()


@dataclass(slots=True)
class _Line:
    """A property being written, in an rdf:Description of its own that declares the namespaces used."""

    regions: bool = False
    parts: list[str] = field(default_factory=list)
    prefixes: dict[str, str] = field(default_factory=lambda: {RDF: "rdf", XML: "xml"})
    taken: set[str] = field(default_factory=lambda: {"", "rdf", "xml"})

    def name(self, name: Name, prefix: str) -> str:
        """The qualified name, with the source's prefix if that is still free."""
        if name.namespace not in self.prefixes:
            free = prefix not in self.taken and not prefix.startswith("ns")
            self.prefixes[name.namespace] = prefix if free else f"ns{len(self.prefixes)}"
            self.taken.add(prefix)
        return f"{self.prefixes[name.namespace]}:{name.local}"

    def description(self, attribute: str = "") -> str:
        """The whole line."""
        declared = [
            f' xmlns:{prefix}="{_escaped(namespace)}"'
            for namespace, prefix in self.prefixes.items()
            if namespace not in (RDF, XML)
        ]
        head = "".join(('<rdf:Description rdf:about=""', *declared, attribute))
        return f"{head}>{''.join(self.parts)}</rdf:Description>" if self.parts else f"{head}/>"


@dataclass(slots=True)
class _Element:
    """An open element: its role in the packet, the prefixes it declared, and its end tag.

    `simple` is the name of a property of which only the text counts; `start` is the index of the start tag in the line.
    """

    role: Literal["outside", "rdf", "description", "property", "skipped"]
    declared: list[str] = field(default_factory=list)
    end: str = ""
    simple: Name | None = None
    start: int = 0


class _Reader:
    """Parses one packet."""

    def __init__(self, choice: Choice, orientation: int) -> None:
        self._choice = choice
        self._upright, self._quarter = orientation == 1, orientation > 4
        self.lines: list[str] = []
        self.orientation: int | None = None
        self._line = _Line()
        self._bound = {prefix: [namespace] for prefix, namespace in NAMESPACES.items()}
        self._open: list[_Element] = []
        self._text: list[str] = []
        self._nodes = self._size = 0
        self._done = False

    def parse(self, text: bytes) -> None:
        """All of it. Raises Unreadable or TooLarge."""
        parser = expat.ParserCreate("utf-8")
        parser.ordered_attributes = parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = _no_doctype  # without one, no entity can be declared
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            if not self._done:  # some writers leave garbage after the last tag
                raise Unreadable(f"no XML: {error}") from error
        if not self._done:
            raise Unreadable("no RDF")

    def _start(self, tag: str, flat: list[str]) -> None:
        attributes = list(zip(flat[::2], flat[1::2], strict=True))
        self._nodes += 1 + len(attributes)
        if self._nodes > _MAX_NODES:
            raise TooLarge(f"more than {_MAX_NODES:,} elements and attributes")
        if len(self._open) == _MAX_DEPTH:
            raise Unreadable(f"elements in more than {_MAX_DEPTH} others")
        parent = self._open[-1] if self._open else _Element("outside")
        self._flush(parent)
        element = _Element("skipped")
        for key, value in attributes:
            if key == "xmlns" or key.startswith("xmlns:"):
                element.declared.append(key[6:])
                self._bound.setdefault(key[6:], []).append(value)
        self._open.append(element)
        if parent.role == "skipped" or parent.simple is not None:
            return
        prefix, name = self._resolved(tag, default=True)
        if parent.role in ("outside", "rdf"):
            if name == _RDF:
                element.role = "rdf"
            elif parent.role == "outside":
                element.role = "outside"
            elif name == _DESCRIPTION:
                element.role = "description"
                self._properties(attributes)
        elif name is not None and self._kept(name, inside=parent.role == "property"):
            if parent.role == "description":
                self._line = _Line(name.namespace == REGIONS)
            element.role = "property"
            self._begin(element, prefix, name, attributes)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        self._flush(element)
        for prefix in element.declared:
            self._bound[prefix].pop()
        if element.role == "rdf":
            self._done = True
        if element.role == "property":
            parts = self._line.parts
            if len(parts) == element.start + 1 and "=" not in parts[-1]:
                parts.pop()  # an empty list, or an invalid value
            else:
                parts.append(element.end)
            if self._open[-1].role == "description" and parts:
                self._add(self._line.description())

    def _add(self, line: str) -> None:
        self._size += len(line)
        if self._size > 2 * MAX_BYTES:  # each line repeats the declarations it needs
            raise TooLarge("the namespace declarations are too long")
        self.lines.append(line)

    def _resolved(self, tag: str, default: bool) -> tuple[str, Name | None]:
        """The prefix and the name; None for an unbound prefix. Attributes have no default namespace."""
        prefix, colon, local = tag.rpartition(":")
        bound = self._bound.get(prefix) if colon or default else None
        return prefix, Name(bound[-1], local) if bound and bound[-1] else None

    def _kept(self, name: Name, inside: bool) -> bool:
        """Whether a property, or an element or attribute inside of one, is kept."""
        if name.namespace in (RDF, XML):
            return inside
        if self._choice == "all":
            return not goes_stale(name, self._upright)
        return name in KEPT if self._choice == "keep" else name == ORIENTATION

    def _properties(self, attributes: list[tuple[str, str]]) -> None:
        """The properties that are attributes of an rdf:Description."""
        for key, value in attributes:
            prefix, name = self._resolved(key, default=False)
            if name is not None and not key.startswith("xmlns:") and self._kept(name, inside=False):
                self._line = _Line()
                if pair := self._attribute(name, prefix, value):
                    self._add(self._line.description(pair))

    def _begin(self, element: _Element, prefix: str, name: Name, attributes: list[tuple[str, str]]) -> None:
        """Writes the start tag of a property, or of an element inside of one."""
        written = self._line.name(self._placed(name), prefix)
        element.end = f"</{written}>"
        element.start = len(self._line.parts)
        element.simple = name if name == ORIENTATION or self._placeholder(name) else None
        parts = [f"<{written}"]
        for key, value in () if element.simple else attributes:
            own, inner = self._resolved(key, default=False)
            if inner is not None and not key.startswith("xmlns:") and self._kept(inner, inside=True):
                parts.append(self._attribute(inner, own, value))
        self._line.parts.append("".join((*parts, ">")))

    def _attribute(self, name: Name, prefix: str, value: str) -> str:
        """A space and the attribute; empty if its value is invalid."""
        new = self._value(name, value)
        return "" if new is None else f' {self._line.name(self._placed(name), prefix)}="{_escaped(new)}"'

    def _flush(self, element: _Element) -> None:
        """Writes the text since the last tag, which is inside of `element`."""
        text = "".join(self._text)
        self._text.clear()
        if element.role != "property" or not text.strip():
            return
        if element.simple is not None:
            first = len(self._line.parts) == element.start + 1
            text = (self._value(element.simple, text) if first else None) or ""
        if text:
            self._line.parts.append(_escaped(text))

    def _placed(self, name: Name) -> Name:
        return QUARTER_TURNED.get(name, name) if self._quarter else name

    def _placeholder(self, name: Name) -> str:
        """The letter of the placeholder for this property; empty if it has none."""
        if name.namespace == DIMENSIONS and not self._line.regions:
            return ""  # dimensions of something other than the picture
        return next((letter for letter, names in PLACEHOLDERS.items() if name in names), "")

    def _value(self, name: Name, text: str) -> str | None:
        """The value to write for a property; None if the source's is invalid."""
        if name == ORIENTATION:
            if text.strip() in tuple("12345678") and self.orientation is None:
                self.orientation = int(text)
            return "1"
        letter, sensible = self._placeholder(name), text.strip()
        if letter == DENSITY:
            density = _fraction(sensible)
            if density is None:
                return None
            sensible = str(density)
        elif letter == COLOR_SPACE and not (sensible.isascii() and sensible.isdecimal()):
            return None
        return xmp_packet.placeholder(letter, sensible) if letter else text


def _escaped(text: str) -> str:
    """The text escaped for XML, on one line."""
    return escape(text).replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")


def _fraction(text: str) -> Fraction | None:
    """A number above 0 as XMP writes it: 300, or 300/1."""
    above, _, below = text.partition("/")
    digits = (above, below or "1")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 10 for part in digits):
        return None
    numbers = tuple(map(int, digits))
    return Fraction(*numbers) if all(numbers) else None


def _no_doctype(*_: object) -> NoReturn:
    raise Unreadable("a document type declaration")
