"""Messages between the service and its decoder processes: a length, a JSON header, plain bytes.

Not pickle: a decoder that a hostile file has taken over must not be able to run code in the service. Its answers are
checked in app.codec.decoder_answer.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from app import errors
from app.codec.raster import Raster
from app.codec.types import DecodeLimits
from app.options import UpscaleOptions

_PREFIX = struct.Struct("<I")  # bytes of the header
PREFIX_SIZE = _PREFIX.size
BLOBS = ("icc", "exif", "xmp", "iptc")
"""Fields of Metadata that follow an answer's header as bytes, in this order; then come the frames."""
MAX_TEXT = 1000
"""Characters of a refusal or of a gap in the isolation."""

Part = bytes | memoryview


def _message(header: Mapping[str, Any], *blobs: Part) -> list[Part]:
    text = json.dumps(header).encode()
    return [_PREFIX.pack(len(text)) + text, *blobs]


def header_size(prefix: bytes) -> int:
    """Bytes of the header that follows a prefix."""
    (size,) = _PREFIX.unpack(prefix)
    return int(size)


def request(data: bytes, options: UpscaleOptions, limits: DecodeLimits) -> list[Part]:
    """The question: a file, and how to read it."""
    return _message({"size": len(data), "options": asdict(options), "limits": asdict(limits)}, data)


def parsed_request(header: bytes) -> tuple[int, UpscaleOptions, DecodeLimits]:
    """The question, on the decoder's side: how many bytes of file follow, and how to read them."""
    fields = json.loads(header)
    limits = fields["limits"] | {"formats": tuple(fields["limits"]["formats"])}
    return fields["size"], UpscaleOptions(**fields["options"]), DecodeLimits(**limits)


def hello(gap: str) -> list[Part]:
    """A decoder process's first message: it is warm, and why it is not isolated ("" if it is)."""
    return _message({"gap": gap[:MAX_TEXT]})


def answer(raster: Raster) -> list[Part]:
    """The samples."""
    blobs = {name: getattr(raster.metadata, name) for name in BLOBS}
    header = {
        "format": raster.format,
        "shape": raster.frames[0].shape,
        "dtype": raster.frames[0].dtype.name,
        "frames": len(raster.frames),
        "durations_ms": raster.durations_ms,
        "loop": raster.loop,
        "truncated": raster.truncated,
        "compression": None if raster.compression is None else asdict(raster.compression),
        "srgb": raster.metadata.srgb,
        "gamma": raster.metadata.gamma,
        "cicp": raster.metadata.cicp,
        "mastering": raster.metadata.mastering,
        "light": raster.metadata.light,
        "dpi": raster.metadata.dpi,
        "dropped": raster.metadata.dropped,
        "sizes": [None if blob is None else len(blob) for blob in blobs.values()],
    }
    frames = (np.ascontiguousarray(frame).data.cast("B") for frame in raster.frames)
    return _message(header, *(blob or b"" for blob in blobs.values()), *frames)


def refusal(error: errors.ClientError) -> list[Part]:
    """What is wrong with the file."""
    return _message({"error": type(error).__name__, "text": str(error)[:MAX_TEXT]})
