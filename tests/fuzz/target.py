"""What the fuzzer calls: bytes, decoded as a decoder process does it, with a first byte that chooses the options."""

import itertools
from typing import get_args, get_type_hints

from app.codec import Decoded, png_chunks
from app.errors import ClientError
from app.options import UpscaleOptions
from tests.codec.support import codec

MAX_BYTES = 1 << 14
MAX_PIXELS = 1 << 16
CHOICES = ("frames", "truncated", "color", "metadata", "depth")
HINTS = get_type_hints(UpscaleOptions, include_extras=True)
OPTIONS = tuple(
    UpscaleOptions(scale=2, **dict(zip(CHOICES, chosen, strict=True)))
    for chosen in itertools.product(*(get_args(get_args(HINTS[name])[0]) for name in CHOICES))
)

_CODEC = codec(max_input_bytes=MAX_BYTES, max_input_pixels=MAX_PIXELS, max_output_pixels=4 * MAX_PIXELS)


def decoded(data: bytes) -> Decoded | ClientError | None:
    """The picture in all bytes but the first, or what the service would answer; None for no bytes at all.

    Every other exception is a finding, and so is a picture that breaks a promise of the decoder (AssertionError).
    """
    if not data:
        return None
    options = OPTIONS[data[0] % len(OPTIONS)]
    try:
        picture = _CODEC.decode(data[1:], options)
    except ClientError as error:
        assert str(error), f"a {type(error).__name__} without words"
        return error
    assert picture.height * picture.width * len(picture.frames) <= MAX_PIXELS, "more pixels than are accepted"
    assert options.frames == "all" or len(picture.frames) == 1, f"{len(picture.frames)} frames, and one was asked for"
    for frame in picture.frames:
        for plane in frame.planes:
            assert plane.shape == (picture.height, picture.width), f"a plane of {plane.shape}"
            assert plane.dtype == "float32" and plane.min() >= 0 and plane.max() <= 1, "samples outside of 0..1"
    return picture


def with_checksums(data: bytes) -> bytes:
    """The input with its PNG's checksums set right, so that what was changed gets past them; others as they are."""
    if data[1:9] != png_chunks.SIGNATURE:
        return data
    chunks = [png_chunks.chunk(item.kind, bytes(item.body)) for item in png_chunks.chunks(data[1:])]
    return b"".join((data[:9], *chunks))
