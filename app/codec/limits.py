"""The limits on bytes, formats and pixels, checked on a file's first bytes and header before anything is decoded."""

from collections.abc import Iterator

from app.codec.types import DecodeLimits
from app.errors import TooManyBytes, TooManyPixels, UndecodablePicture, UnsupportedFormat
from app.formats import Format, format_of
from app.other_files import name_of

MAX_FRAMES = 4096  # each costs time beside its pixels, and a frame of one pixel takes twenty bytes

MAX_SCANS = 100
"""Of a JPEG. A progressive one has about ten; each costs a pass over all coefficients for as little as twenty bytes."""

_MAX_SEGMENTS = 65_536  # writers make a hundred at most, and walking through millions takes long


def segment_numbers() -> Iterator[int]:
    """A number for each segment of a JPEG that is walked through. Raises UndecodablePicture beyond the limit."""
    yield from range(_MAX_SEGMENTS)
    raise UndecodablePicture(f"The JPEG has more than {_MAX_SEGMENTS:,} segments. Save it again.")


def accepted_format(data: bytes, limits: DecodeLimits) -> Format:
    """The file's format. Raises TooManyBytes, or UnsupportedFormat that names what is accepted."""
    if len(data) > limits.max_input_bytes:
        raise TooManyBytes(f"The picture has {len(data):,} bytes; at most {limits.max_input_bytes:,} are accepted.")
    found, accepted = format_of(data), ", ".join(limits.formats)
    if found is not None and found.title in limits.formats:
        return found
    if not data:
        raise UnsupportedFormat(f"The picture is empty (0 bytes). Send one of: {accepted}.")
    what = f"{found.title} is not accepted here" if found else "The bytes are not a picture in an accepted format"
    if found is None and (name := name_of(data)):
        what = f"This seems to be {name}. It is not a picture in an accepted format"
    raise UnsupportedFormat(f"{what}. Accepted formats: {accepted}.")


def check_pixels(height: int, width: int, frames: int, limits: DecodeLimits, level: int) -> None:
    """TooManyPixels if the source, or what the network makes of it at `level`, has more pixels or frames than allowed.

    A result of another size is made from that, so that its own pixels are fewer.
    """
    if height < 1 or width < 1 or frames < 1:
        frames_too = "" if frames == 1 else f" in {frames} frames"
        raise UndecodablePicture(
            f"The header says {width} x {height} pixels{frames_too}: there is nothing to enlarge. Send the whole, "
            "undamaged file."
        )
    pixels = height * width * frames
    size = f"{width} x {height}" + (f" in {frames} frames" if frames > 1 else "")
    if pixels > limits.max_input_pixels:
        raise TooManyPixels(
            f"The picture is {size}, {pixels:,} pixels; at most {limits.max_input_pixels:,} are accepted. "
            "Send a smaller one."
        )
    if pixels * level**2 > limits.max_output_pixels:
        raise TooManyPixels(
            f"At scale {level} a picture of {size} becomes {pixels * level**2:,} pixels; "
            f"at most {limits.max_output_pixels:,} are made. Use a smaller scale or a smaller picture."
        )
    if frames > MAX_FRAMES:
        raise TooManyPixels(
            f"The picture has {frames:,} frames; at most {MAX_FRAMES:,} are accepted. Send fewer, or take frames=first."
        )
