"""Converts pictures of all supported types to the bytes of a file, without importing Pillow or NumPy."""

import array
import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, Protocol


class _File(Protocol):
    def read(self) -> bytes: ...


class _Image(Protocol):
    """A Pillow image."""

    @property
    def mode(self) -> str: ...

    def convert(self, mode: str) -> Any: ...

    def save(self, fp: Any, format: str) -> None: ...


class _Array(Protocol):
    """A NumPy array, or another object with its array interface."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | _File | _Image | _Array
"""A path, the bytes of a file, an open file, a Pillow image, or an array (H, W) or (H, W, 1 to 4), uint8 or uint16."""

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Number of channels -> colour type of a PNG."""
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Pillow's modes that it can write as a PNG without converting them."""
_WITH_ALPHA = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
"""Other modes with alpha -> the mode to convert them to."""


def data_of(picture: Picture) -> bytes:
    """The bytes of a file that contains this picture.

    Raises OSError for a path that cannot be read, and TypeError or ValueError for unsupported pictures.
    """
    if isinstance(picture, str | os.PathLike):
        return Path(picture).read_bytes()
    if isinstance(picture, bytes | bytearray):
        return bytes(picture)
    if isinstance(picture, memoryview) and picture.ndim == 1:
        return bytes(picture)
    if hasattr(picture, "convert") and hasattr(picture, "mode"):
        return _of_image(picture)
    if isinstance(picture, memoryview) or hasattr(picture, "__array_interface__"):
        return _of_array(memoryview(picture))  # type: ignore[arg-type]
    if hasattr(picture, "read"):
        return bytes(picture.read())
    raise TypeError(f"a picture is a path, bytes, a file, a Pillow image or an array, not {type(picture).__name__}")


def _of_image(image: Any) -> bytes:
    """A PNG with the image's ICC profile; a TIFF for CMYK, which a PNG cannot hold."""
    if image.mode == "F":
        raise TypeError("a Pillow image has to have integer samples, not mode F; scale it to 255 and convert it to L")
    if image.mode.startswith("I"):
        image = image.convert("I").convert("I;16")  # 16 bits in any order; as RGB, all above 255 would be white
    elif image.mode not in (*_PNG_MODES, "CMYK"):
        image = image.convert(_WITH_ALPHA.get(image.mode, "RGB"))
    file = io.BytesIO()
    image.save(file, "TIFF" if image.mode == "CMYK" else "PNG")
    return file.getvalue()


def _of_array(samples: memoryview) -> bytes:
    """A PNG of samples (H, W) or (H, W, C), unfiltered and lightly compressed, as it is sent only once."""
    depth = {"B": 8, "H": 16}.get(samples.format.lstrip("<>=@"))
    order = {"<": "little", ">": "big"}.get(samples.format[:1], sys.byteorder)
    if depth is None:
        raise TypeError(f"an array has to be uint8 or uint16, not {samples.format!r}")
    shape = samples.shape or ()
    channels = 1 if len(shape) == 2 else shape[2] if len(shape) == 3 else 0
    if channels not in _COLOR_TYPES or 0 in shape:
        raise ValueError(f"an array has to be (height, width) or (height, width, 1 to 4), not {shape}")
    height, width = shape[:2]
    data = samples.tobytes()
    if depth == 16 and order == "little":
        words = array.array("H", data)
        words.byteswap()
        data = words.tobytes()
    row = len(data) // height
    lines = b"".join(b"\0" + data[at : at + row] for at in range(0, len(data), row))
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
