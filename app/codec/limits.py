"""The limits on pixels, checked on what a file's header says, before anything is decoded."""

from app.codec.types import DecodeLimits
from app.errors import TooManyBytes, TooManyPixels, UndecodablePicture
from app.options import UpscaleOptions

MAX_FRAMES = 4096  # each costs time beside its pixels, and a frame of one pixel takes twenty bytes


def check_bytes(size: int, limits: DecodeLimits) -> None:
    """TooManyBytes if the file is larger than is allowed."""
    if size > limits.max_input_bytes:
        raise TooManyBytes(f"The picture has {size:,} bytes; at most {limits.max_input_bytes:,} are accepted.")


def check_pixels(height: int, width: int, frames: int, limits: DecodeLimits, options: UpscaleOptions) -> None:
    """TooManyPixels if the source, or the result at `options.scale`, has more pixels or frames than is allowed."""
    if height < 1 or width < 1 or frames < 1:
        raise UndecodablePicture(f"The header says {width} x {height} pixels in {frames} frames: nothing to enlarge.")
    pixels = height * width * frames
    size = f"{width} x {height}" + (f" in {frames} frames" if frames > 1 else "")
    if pixels > limits.max_input_pixels:
        raise TooManyPixels(
            f"The picture is {size}, {pixels:,} pixels; at most {limits.max_input_pixels:,} are accepted. "
            "Send a smaller one."
        )
    if pixels * options.scale**2 > limits.max_output_pixels:
        raise TooManyPixels(
            f"At scale {options.scale} a picture of {size} becomes {pixels * options.scale**2:,} pixels; "
            f"at most {limits.max_output_pixels:,} are made. Use a smaller scale or a smaller picture."
        )
    if frames > MAX_FRAMES:
        raise TooManyPixels(
            f"The picture has {frames:,} frames; at most {MAX_FRAMES:,} are accepted. Send fewer, or take frames=first."
        )
