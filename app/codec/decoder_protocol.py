"""How samples travel between the service and its decoder processes: a length, a JSON header, then plain bytes.

Not pickle: a decoder that a hostile file has taken over must not be able to run code on this side.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from app import errors
from app.codec.raster import Raster
from app.codec.types import DecodeLimits, Metadata
from app.options import UpscaleOptions

_PREFIX = struct.Struct("<II")  # bytes of the header, bytes of the blobs
PREFIX_SIZE = _PREFIX.size
_BYTES = ("icc", "exif", "xmp", "iptc")
_DTYPES = {"uint8": np.uint8, "uint16": np.uint16}
_ERRORS: dict[str, type[errors.ClientError]] = {
    error.__name__: error
    for error in (
        errors.BadParameter,
        errors.TooManyBytes,
        errors.TooManyPixels,
        errors.UndecodablePicture,
        errors.UnsupportedFormat,
    )
}

Part = bytes | memoryview


def _message(header: dict[str, Any], blobs: Sequence[Part]) -> list[Part]:
    header["blobs"] = [len(blob) for blob in blobs]
    text = json.dumps(header).encode()
    return [_PREFIX.pack(len(text), sum(header["blobs"])) + text, *blobs]


def sizes(prefix: bytes) -> tuple[int, int]:
    """Bytes of the header and of the blobs that follow a prefix."""
    header, blobs = _PREFIX.unpack(prefix)
    return header, blobs


def request(data: bytes, options: UpscaleOptions, limits: DecodeLimits) -> list[Part]:
    """The question: read this."""
    return _message({"options": asdict(options), "limits": asdict(limits)}, [data])


def parsed_request(header: bytes, blobs: bytes) -> tuple[bytes, UpscaleOptions, DecodeLimits]:
    """The question, on the decoder's side."""
    fields = json.loads(header)
    limits = fields["limits"] | {"formats": tuple(fields["limits"]["formats"])}
    return blobs, UpscaleOptions(**fields["options"]), DecodeLimits(**limits)


def answer(raster: Raster) -> list[Part]:
    """The samples."""
    kept = [getattr(raster.metadata, name) for name in _BYTES]
    header = {
        "format": raster.format,
        "shape": raster.frames[0].shape,
        "dtype": raster.frames[0].dtype.name,
        "frames": len(raster.frames),
        "durations_ms": raster.durations_ms,
        "loop": raster.loop,
        "truncated": raster.truncated,
        "srgb": raster.metadata.srgb,
        "dpi": raster.metadata.dpi,
        "dropped": raster.metadata.dropped,
        "kept": [blob is not None for blob in kept],
    }
    blobs: list[Part] = [blob or b"" for blob in kept]
    return _message(header, [*blobs, *(np.ascontiguousarray(frame).data.cast("B") for frame in raster.frames)])


def refusal(error: errors.ClientError) -> list[Part]:
    """What is wrong with the file."""
    return _message({"error": type(error).__name__, "text": str(error)}, [])


def parsed_answer(header: bytes, blobs: memoryview) -> Raster:
    """The samples, which share `blobs`' memory. Raises the refusal, or ValueError where the answer makes no sense."""
    fields = json.loads(header)
    if "error" in fields:
        raise _ERRORS.get(fields["error"], errors.UndecodablePicture)(str(fields["text"]))
    edges = np.cumsum([0, *fields["blobs"]])
    pieces = [blobs[start:end] for start, end in pairwise(edges)]
    kept = {
        name: bytes(piece) if there else None
        for name, there, piece in zip(_BYTES, fields["kept"], pieces[: len(_BYTES)], strict=True)
    }
    shape, dtype = tuple(fields["shape"]), _DTYPES[fields["dtype"]]
    frames = tuple(np.frombuffer(piece, dtype).reshape(shape) for piece in pieces[len(_BYTES) :])
    if len(shape) != 3 or not 1 <= shape[2] <= 4 or len(frames) != fields["frames"] or not frames:
        raise ValueError(f"frames of shape {shape} are no samples")
    return Raster(
        frames=frames,
        format=str(fields["format"]),
        metadata=Metadata(
            icc=kept["icc"],
            exif=kept["exif"],
            xmp=kept["xmp"],
            iptc=kept["iptc"],
            srgb=bool(fields["srgb"]),
            dpi=None if fields["dpi"] is None else (float(fields["dpi"][0]), float(fields["dpi"][1])),
            dropped=tuple(_plain(note) for note in fields["dropped"]),
        ),
        durations_ms=tuple(int(value) for value in fields["durations_ms"]),
        loop=int(fields["loop"]),
        truncated=bool(fields["truncated"]),
    )


def _plain(note: object) -> str:
    """A note, which goes into a header of HTTP as it is. Raises ValueError where that must not be."""
    text = str(note)
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{text!r} is no note")
    return text
