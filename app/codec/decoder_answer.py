"""Messages of decoder processes, which may be hostile: checked against the question before memory is allocated."""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app import errors
from app.codec import metadata
from app.codec.code_points import CodePoints, is_known
from app.codec.decoder_protocol import BLOBS, MAX_TEXT
from app.codec.limits import MAX_FRAMES
from app.codec.raster import Raster
from app.codec.types import DecodeLimits, Finding, Metadata
from app.options import UpscaleOptions

MAX_HEADER = 16 * MAX_FRAMES + 4096
"""Bytes of a header: eleven digits and a comma for the duration of every frame, and the rest."""
_MORE_METADATA = 4 * 1024 * 1024
"""Bytes that ICC, EXIF or XMP may have beyond the largest file, to which a PNG may unpack: EXIF is written again."""
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

_Count = Annotated[int, Field(ge=1, le=2**31)]
_Size = Annotated[int, Field(ge=0, le=2**40)]
Note = Annotated[str, Field(max_length=200, pattern=r"^[ -~]*$")]
"""Goes into a header of HTTP as it is."""
_Byte = Annotated[int, Field(ge=0, lt=2**8)]
_Short = Annotated[int, Field(ge=0, lt=2**16)]
_Wide = Annotated[int, Field(ge=0, lt=2**32)]
_Resolution = Annotated[float, Field(gt=0, lt=1e6)]


class _Message(BaseModel):
    """Headers have exactly these fields, of exactly these types."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _Hello(_Message):
    gap: Annotated[str, Field(max_length=MAX_TEXT)]


class _Refusal(_Message):
    error: str
    text: Annotated[str, Field(max_length=MAX_TEXT)]


class _Finding(_Message):
    kind: Literal["jpeg", "webp", "avif"]
    amount: Annotated[int, Field(ge=0, le=100)]


class SamplesHeader(_Message):
    """What precedes the blobs and the samples of a decoded file."""

    format: str
    shape: tuple[_Count, _Count, Annotated[int, Field(ge=1, le=4)]]
    dtype: Literal["uint8", "uint16"]
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)]
    durations_ms: list[Annotated[int, Field(ge=0, le=2**31)]]
    loop: Annotated[int, Field(ge=0, lt=2**32)]
    truncated: bool
    compression: _Finding | None
    srgb: bool
    gamma: bool
    cicp: tuple[_Byte, _Byte] | None
    mastering: tuple[_Short, _Short, _Short, _Short, _Short, _Short, _Short, _Short, _Wide, _Wide] | None
    light: tuple[_Wide, _Wide] | None
    dpi: tuple[_Resolution, _Resolution] | None
    dropped: Annotated[list[Note], Field(max_length=48)]
    sizes: tuple[_Size | None, _Size | None, _Size | None, _Size | None]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        height, width, channels = self.shape
        return height * width * channels * np.dtype(self.dtype).itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of everything that follows the header."""
        return sum(size or 0 for size in self.sizes) + self.frames * self.frame_bytes

    def check(self, format_name: str, options: UpscaleOptions, limits: DecodeLimits) -> None:
        """ValueError unless it can be the answer about a file of `format_name`."""
        pixels = self.shape[0] * self.shape[1] * self.frames
        allowed = min(limits.max_input_pixels, limits.max_output_pixels // options.least_level**2)
        if self.format != format_name:
            raise ValueError(f"samples of a {self.format[:20]}")
        if self.compression is not None and self.compression.kind.upper() != format_name:
            raise ValueError(f"compression as {self.compression.kind} in a {format_name}")
        if self.cicp is not None and not is_known(CodePoints(*self.cicp)):
            raise ValueError(f"code points {self.cicp}")
        if pixels > allowed:
            raise ValueError(f"{pixels} pixels, where {allowed} were allowed")
        if self.frames > 1 and options.frames != "all":
            raise ValueError(f"{self.frames} frames, where one was asked for")
        if len(self.durations_ms) != (self.frames if self.frames > 1 else 0):
            raise ValueError(f"{len(self.durations_ms)} durations for {self.frames} frames")
        if any((length or 0) > limits.max_input_bytes + _MORE_METADATA for length in self.sizes):
            raise ValueError(f"metadata of {self.sizes} bytes")

    def raster(self, blobs: memoryview) -> Raster:
        """The samples, which share the memory of `blobs`; those are `total_bytes`.

        Raises ValueError for metadata that could not be written again.
        """
        pieces = self._pieces(blobs)
        kept = {
            name: None if size is None else bytes(next(pieces)) for name, size in zip(BLOBS, self.sizes, strict=True)
        }
        found = Metadata(
            **kept,
            srgb=self.srgb,
            gamma=self.gamma,
            cicp=self.cicp,
            mastering=self.mastering,
            light=self.light,
            dpi=self.dpi,
            dropped=tuple(self.dropped),
        )
        try:
            metadata.fitted(found, 1, *self.shape[:2], "tiff")
        except Exception as error:  # whatever a hostile block makes of its parser
            raise ValueError("metadata that cannot be read") from error
        return Raster(
            frames=tuple(np.frombuffer(piece, self.dtype).reshape(self.shape) for piece in pieces),
            format=self.format,
            metadata=found,
            durations_ms=tuple(self.durations_ms),
            loop=self.loop,
            truncated=self.truncated,
            compression=None if self.compression is None else Finding(**self.compression.model_dump()),
        )

    def _pieces(self, blobs: memoryview) -> Iterator[memoryview]:
        at = 0
        for length in (*(size for size in self.sizes if size is not None), *[self.frame_bytes] * self.frames):
            yield blobs[at : at + length]
            at += length


_ANSWER: TypeAdapter[SamplesHeader | _Refusal] = TypeAdapter(SamplesHeader | _Refusal)


def parsed_hello(header: bytes) -> str:
    """What is missing of the isolation, or "". Raises ValueError."""
    return _Hello.model_validate_json(header).gap


def parsed_answer(header: bytes) -> SamplesHeader:
    """The header, whose `check` is still to be called. Raises the refusal, or ValueError where it makes no sense."""
    found = _ANSWER.validate_json(header)
    if isinstance(found, _Refusal):
        raise _ERRORS.get(found.error, errors.UndecodablePicture)(found.text)
    return found
