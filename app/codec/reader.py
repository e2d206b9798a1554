"""Bytes of a picture file to upright samples: format, limits, frames, colour, orientation, in this order."""

import re
import struct
from dataclasses import replace

from PIL import Image

from app.codec import color_management, samples
from app.codec.formats import READERS
from app.codec.limits import accepted_format
from app.codec.metadata.blocks import UNUSABLE, note
from app.codec.raster import Raster
from app.codec.readers.base import Reader, Source
from app.codec.types import DecodeLimits, Metadata, Samples
from app.errors import ClientError, TooManyPixels, UndecodablePicture
from app.formats import OUTPUT_FORMATS
from app.options import UpscaleOptions

_BROKEN = (
    *("decoder error", "codec configuration error", "broken data stream"),  # Pillow's, of its codecs' numbers
    *("could not create decoder object", "failed to read next frame"),  # Pillow's, of WebP
    *("corrupted strip", "corrupted tile"),  # tifffile's, of arrays
)
_CALL = re.compile(r"\w+ returned (?:'(?P<words>[^']+)'|\w+$)")
"""What imagecodecs says, of a function of a library; some have words for what is wrong."""
_WITHOUT_PICTURE = "not identified by this driver"
_DATA_BROKEN = "its compressed data is broken"
_IN_PART = (_DATA_BROKEN, "image file is truncated", "it ends before its picture")
"""What is said of files whose header is there, so that something of the picture may be, too."""


def read(data: bytes, options: UpscaleOptions, limits: DecodeLimits) -> Raster:
    """Samples of the frames asked for. Raises ClientErrors only, whatever the bytes are."""
    source = Source(data, accepted_format(data, limits), options, limits)
    reader, title = READERS[source.format.name], source.format.title
    try:
        return _raster(reader(source))
    except ClientError:
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixels(
            f"A frame of the {title} has more pixels than can be decoded. Send a smaller picture, or save it again."
        ) from error
    except MemoryError as error:
        raise UndecodablePicture(f"Decoding this {title} needs more memory than its header says.") from error
    except Exception as error:  # the decoders raise nearly every type there is on hostile bytes
        words, advice = _words(error), "Send the whole, undamaged file."
        if source.allow_truncated and not reader.decodes_truncated:
            advice = f"The {title} cannot be decoded in part, even with truncated=allow: send the whole file."
        if not source.allow_truncated and reader.decodes_truncated and words.startswith(_IN_PART):
            advice = "Send the whole file, or ask for what is there with truncated=allow."
        raise UndecodablePicture(f"The bytes do not decode as {title}: {words}. {advice}") from error


def _words(error: Exception) -> str:
    """What a decoder says, if that is about the file and not about its own code."""
    if isinstance(error, SyntaxError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # Pillow's, of anything that goes wrong while a file is opened
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError) and text.isdecimal():  # as of a TIFF without ColorMap
        return f"its tag {text[:10]} is missing"
    if isinstance(error, LookupError | TypeError | AttributeError | ArithmeticError | struct.error):
        return "its header is cut short or contradicts itself"
    if (call := _CALL.match(text)) and call["words"]:
        return call["words"]
    if call or text.startswith(_BROKEN):
        return _DATA_BROKEN
    if text == _WITHOUT_PICTURE:
        return "it ends before a picture begins"
    return text.rstrip(".")[:160]


def _raster(file: Reader) -> Raster:
    """The frames that are asked for of an opened file, with all that goes with them."""
    indices = file.frames()
    file.source.check_pixels(*file.size, len(indices))
    frames: list[Samples] = []
    durations: list[int] = []
    for index in indices:
        frame, duration = file.frame(index, animated=len(indices) > 1)
        if not frames and file.lacks_pixels and (frame == frame[:1, :1]).all():
            raise UndecodablePicture(
                f"Nothing of the {file.source.format.title}'s pixels can be decoded. Send the whole, undamaged file."
            )
        frames.append(frame)
        durations.append(duration)
    frames, metadata = _in_color(frames, file.metadata(frames[0].shape[2]), file)
    frames = [samples.upright(frame, file.orientation) for frame in frames]
    if len({frame.shape[:2] for frame in frames}) > 1:
        raise UndecodablePicture(
            f"The frames of the {file.source.format.title} are not all of one size; take frames=first."
        )
    return Raster(
        frames=samples.same_form(frames),
        format=file.source.format.title,
        metadata=metadata,
        durations_ms=tuple(durations) if len(frames) > 1 else (),
        loop=file.loop,
        truncated=file.truncated,
        compression=file.compression,
    )


def _in_color(frames: list[Samples], metadata: Metadata, file: Reader) -> tuple[list[Samples], Metadata]:
    """The frames in the colours of the result, and what then says of them.

    Converted to sRGB are CMYK, everything for color=srgb, and gray with a profile for a format that has no gray, unless
    it takes code points instead.
    """
    channels = frames[0].shape[2]
    colors = 4 if file.cmyk else channels - (channels in (2, 4))
    metadata = _with_fitting_profile(metadata, colors)
    if file.source.options.color == "srgb" and (metadata.srgb or metadata.gamma):
        metadata = replace(metadata, gamma=False, cicp=None, mastering=None, light=None)
    icc = metadata.icc
    target = OUTPUT_FORMATS[file.source.options.output_format]
    keeps = target.gray or colors != 1 or (target.code_points and metadata.cicp is not None)
    if not file.cmyk and (icc is None or (file.source.options.color == "keep" and keeps)):
        return frames, metadata
    converted = []
    for frame in frames:
        srgb = None if icc is None else color_management.to_srgb(frame[..., :colors], icc)
        if srgb is None and icc is not None:  # a profile that LittleCMS does not take is no profile
            return _in_color(frames, _without_profile(metadata), file)
        if srgb is None:
            srgb = color_management.cmyk_to_rgb(frame[..., :colors])
        converted.append(srgb if frame.shape[2] == colors else samples.with_alpha(srgb, frame[..., -1]))
    return converted, replace(metadata, icc=None, srgb=True, cicp=None, mastering=None, light=None)


def _with_fitting_profile(metadata: Metadata, colors: int) -> Metadata:
    """Without a profile that is not for 1, 3 or 4 `colors`; for gray, one for RGB is made into one for gray."""
    if metadata.icc is None or (found := color_management.profile_channels(metadata.icc)) == colors:
        return metadata
    gray = color_management.gray_profile(metadata.icc) if (found, colors) == (3, 1) else None
    return _without_profile(metadata) if gray is None else replace(metadata, icc=gray)


def _without_profile(metadata: Metadata) -> Metadata:
    return replace(metadata, icc=None, dropped=(*metadata.dropped, note("icc", UNUSABLE)))
