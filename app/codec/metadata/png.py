"""Metadata in a PNG: eXIf, text, raw profiles and iCCP, unpacked within limits."""

import contextlib
import zlib
from collections.abc import Iterator

from app.codec.deflate import inflated
from app.codec.metadata import iptc, raw_profiles
from app.codec.metadata.blocks import TOO_LARGE, UNREADABLE, XMP_PREFIX, Blocks, bare_exif, note
from app.codec.png_chunks import SIGNATURE, Chunk, chunks
from app.errors import UndecodablePicture

_KINDS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP")
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"pHYs")
_XMP = b"XML:com.adobe.xmp"
_PROFILES = {b"exif": "exif", b"APP1": "exif", b"xmp": "xmp", b"iptc": "iptc", b"8bim": "iptc"}
_BLOCKS = {_XMP: "xmp"} | {raw_profiles.KEYWORD + name: block for name, block in _PROFILES.items()}
_MAX_TEXT = 16 << 20  # bytes, of a text that is used
_STEP_IN, _STEP_OUT = 1 << 14, 1 << 16


def separated(data: bytes, most: int) -> tuple[bytes, Blocks]:
    """The PNG, all chunks of which must be sound, with those alone that decoders use, and the metadata that was in it.

    Raises UndecodablePicture if a chunk unpacks to more than `most` bytes, or all together to more than twice that.
    """
    reader, kept, at = _Reader(most), [SIGNATURE], len(SIGNATURE)
    for item in chunks(data):
        end = at + 12 + len(item.body)
        if item.kind in _KINDS:
            reader.take(item)
        elif item.kind in _PIXELS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept), reader.found()


class _Reader:
    """Collects the blocks, chunk by chunk."""

    def __init__(self, most: int) -> None:
        self._most, self._left = most, 2 * most
        self._blocks, self._profiles = Blocks(), Blocks()

    def found(self) -> Blocks:
        """The blocks; dedicated chunks take precedence over raw profiles."""
        self._blocks.exif = self._blocks.exif or self._profiles.exif
        self._blocks.xmp = self._blocks.xmp or self._profiles.xmp
        return self._blocks

    def take(self, item: Chunk) -> None:
        """Reads a chunk; of several of one kind the last counts."""
        body = bytes(item.body)
        if item.kind == b"eXIf":
            self._blocks.exif = bare_exif(body)
            return
        keyword, content, compressed = _parts(item.kind, body)
        size = self._unpacked_size(item.kind, content) if compressed else len(content)
        block = _BLOCKS.get(keyword)
        if item.kind == b"iCCP":
            self._blocks.icc = b"".join(_unpacked(content))
        elif block is not None and size > _MAX_TEXT:
            self._blocks.dropped.append(note(block, TOO_LARGE))
        elif block is not None:
            text = b"".join(_unpacked(content)) if compressed else content
            if keyword == _XMP:
                self._blocks.xmp = (text,)
            else:
                self._take_profile(block, raw_profiles.parsed(text))

    def _take_profile(self, block: str, data: bytes | None) -> None:
        if data is None:
            self._blocks.dropped.append(note(block, UNREADABLE))
        elif block == "iptc":
            data = (iptc.from_resources(data) or b"") if data.startswith(b"8BIM") else data
            self._blocks.iptc = data or self._blocks.iptc
        elif block == "xmp" or data.startswith(XMP_PREFIX):
            self._profiles.xmp = (data.removeprefix(XMP_PREFIX),)
        else:
            self._profiles.exif = bare_exif(data)

    def _unpacked_size(self, kind: bytes, compressed: bytes) -> int:
        """The number of bytes that it unpacks to. Raises UndecodablePicture if they are too many."""
        size = 0
        for piece in _unpacked(compressed):
            size += len(piece)
            if size > min(self._most, self._left):
                raise UndecodablePicture(
                    f"The {kind.decode()} chunks of the PNG are too large: they unpack to more than "
                    f"{self._most:,} bytes, which is what a whole file may have. Save it without them."
                )
        self._left -= size
        return size


def _parts(kind: bytes, body: bytes) -> tuple[bytes, bytes, bool]:
    """Keyword or name, content, and whether the content is compressed."""
    keyword, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return keyword, rest, False
    if kind == b"iTXt":  # a flag, the method, the language, and the keyword in that language
        return keyword, rest[2:].split(b"\0", 2)[-1], rest[:1] == b"\1"
    return keyword, rest[1:], True


def iptc_text(data: bytes) -> tuple[bytes, bytes]:
    """The body of a zTXt chunk with IPTC, in two parts."""
    return raw_profiles.KEYWORD + b"iptc\0\0", zlib.compress(raw_profiles.text("IPTC", iptc.as_resource(data)))


def _unpacked(compressed: bytes) -> Iterator[bytes]:
    """The unpacked data in pieces, up to where it is damaged."""
    inflater = zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        for at in range(0, len(compressed), _STEP_IN):
            yield from inflated(inflater, compressed[at : at + _STEP_IN], _STEP_OUT)
