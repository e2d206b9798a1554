"""Bytes of a picture file to upright samples: format, limits, frames, orientation, colour, metadata, in this order."""

import io
from collections.abc import Callable
from dataclasses import replace

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from app.codec import avif, color_management, gif, high_depth, metadata, png_chunks, samples, webp
from app.codec.limits import check_bytes, check_pixels
from app.codec.raster import Raster
from app.codec.sniff import accepted_format
from app.codec.types import DecodeLimits, Metadata, Samples
from app.errors import BadParameter, ClientError, TooManyPixels, UndecodablePicture
from app.options import UpscaleOptions

# The plugins are called by name: Image.open would try others, and its own limit on pixels is one per process.
_OPENERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": high_depth.TiffFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_ANIMATED = ("PNG", "WEBP", "GIF", "AVIF")


def read(data: bytes, options: UpscaleOptions, limits: DecodeLimits) -> Raster:
    """Samples of the frames asked for. Raises ClientErrors only, whatever the bytes are."""
    check_bytes(len(data), limits)
    name = accepted_format(data, limits.formats)
    try:
        return _Reader(data, name, options, limits).raster()
    except ClientError:
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"The picture unpacks to more pixels than are accepted ({error}).") from error
    except MemoryError as error:
        raise UndecodablePicture(f"Decoding this {name} needs more memory than its header says.") from error
    except Exception as error:  # the decoders raise nearly every type there is on hostile bytes
        raise UndecodablePicture(
            f"The bytes do not decode as {name}: {_words(error)}. {_advice(name, options)}"
        ) from error


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")[:160]


def _advice(name: str, options: UpscaleOptions) -> str:
    if name == "AVIF" and options.truncated == "allow":
        return "An AVIF cannot be decoded in part, also with truncated=allow: send the whole file."
    return "Send the whole, undamaged file."


class _Reader:
    """One file on its way."""

    def __init__(self, data: bytes, name: str, options: UpscaleOptions, limits: DecodeLimits) -> None:
        self.name, self.options, self.limits = name, options, limits
        self.truncated = False
        self.header: png_chunks.Header | None = None
        self.data = data
        if name == "PNG":
            self._check_png()
        elif name == "JPEG" and options.truncated == "allow" and b"\xff\xd9" not in data[-64:]:
            self.data, self.truncated = data + b"\xff\xd9", True  # libjpeg then gives out what it has
        elif name == "GIF":
            self.gif = gif.contents(data)
        self.data, self.blocks = metadata.separated(name, self.data, limits.max_input_bytes)
        self.image = self._webp() if name == "WEBP" else _OPENERS[name](io.BytesIO(self.data))
        check_pixels(self.image.height, self.image.width, 1, limits, options)
        own = metadata.orientation_of(self.image) if name == "AVIF" else None
        self.carried = metadata.carried(self.blocks, options.metadata, own)

    def _check_png(self) -> None:
        self.header = png_chunks.header(self.data)
        check_pixels(self.header.height, self.header.width, 1, self.limits, self.options)
        fault = png_chunks.fault(self.data)
        if fault is None:
            return
        if self.options.truncated == "reject":
            raise UndecodablePicture(
                f"The PNG is damaged: {fault}. Send the whole file, or ask for what is there with truncated=allow."
            )
        self.data, self.truncated = png_chunks.repaired(self.data), True

    def _webp(self) -> Image.Image:
        # Pillow makes room for the whole canvas when it opens a WebP, so its size has to be known before.
        size = webp.size(self.data)
        if size is None:
            raise UndecodablePicture("The WebP's header is cut short or invalid.")
        check_pixels(*size, 1, self.limits, self.options)
        whole = webp.is_whole(self.data)
        if self.options.truncated == "allow" and not webp.is_animated(self.data):
            image, complete = webp.rows(self.data, *size)
            if not (whole and complete):
                self.truncated = True
                return image
        elif self.options.truncated == "allow" and not whole:
            self.data, self.truncated = webp.whole_frames(self.data), True
        return _OPENERS["WEBP"](io.BytesIO(self.data))

    def raster(self) -> Raster:
        """Everything that was asked for."""
        indices = self._frames()
        check_pixels(self.image.height, self.image.width, len(indices), self.limits, self.options)
        frames, durations = [], []
        for index in indices:
            frames.append(self._frame(index, animated=len(indices) > 1))
            durations.append(_duration(self.image))
        kept = self._metadata(frames[0].shape[2])
        frames, kept = self._in_color(frames, kept)
        upright = [samples.upright(frame, self.carried.orientation) for frame in frames]
        if len({frame.shape[:2] for frame in upright}) > 1:
            raise UndecodablePicture(f"The frames of the {self.name} are not all of one size; take frames=first.")
        loop = self.image.info.get("loop", 1 if self.name == "GIF" else 0)
        return Raster(
            frames=samples.same_form(upright),
            format=self.name,
            metadata=kept,
            durations_ms=tuple(durations) if len(frames) > 1 else (),
            loop=loop if isinstance(loop, int) and loop >= 0 else 0,
            truncated=self.truncated,
        )

    def _frames(self) -> range:
        """Which frames are wanted, by index."""
        # Counting the frames of a GIF or the pages of a TIFF means walking through them: only if they are asked for.
        several = self.name in (*_ANIMATED, "TIFF") and bool(getattr(self.image, "is_animated", False))
        if not several or self.options.frames == "first":
            return range(1)
        if self.name == "TIFF":
            if self.options.frames == "all":
                raise BadParameter("frames=all is for animations; of a TIFF with several pages take frames=first.")
            raise BadParameter("The TIFF has more than one page; frames=first takes the first.")
        if self.options.frames == "single":
            raise BadParameter(
                f"The {self.name} has more than one frame; frames=first takes the first, frames=all takes all."
            )
        if self.name == "GIF":  # a frame that reaches out of the canvas makes it larger
            check_pixels(self.gif.height, self.gif.width, self.gif.frames, self.limits, self.options)
        count = int(getattr(self.image, "n_frames", 1))
        # An APNG may show a still of its own to readers that do not know animations; it is not part of the film.
        first = 1 if getattr(self.image, "default_image", False) else 0
        return range(first, count)

    def _frame(self, index: int, animated: bool) -> Samples:
        image = self.image
        if index or image.tell() != index:
            image.seek(index)
        check_pixels(image.height, image.width, 1, self.limits, self.options)
        if self.header is not None and self.header.depth == 16 and not animated:
            return high_depth.read_png(self.data, image.height, image.width)
        if isinstance(image, high_depth.TiffFile):
            high_depth.check_tiles(image.tag_v2, self.limits)
            if high_depth.is_deep_tiff(image.tag_v2):
                deep, cut = high_depth.read_tiff(self.data, image.tag_v2, self.options.truncated == "allow")
                self.truncated |= cut
                return deep
        if self.name == "AVIF" and not animated and (bits := avif.depth(self.data)) > 8:
            return high_depth.checked(avif.read(self.data, bits), image.height, image.width)
        self._load(image)
        levels = 255 if self.header is None or self.header.depth > 8 else (1 << self.header.depth) - 1
        return samples.from_pillow(image, levels)

    def _load(self, image: Image.Image) -> None:
        size = image.size
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            # Pillow keeps what it decoded. Its own switch for this is one for the whole process.
            if self.options.truncated == "reject" or getattr(image, "_im", None) is None:
                raise
            if isinstance(image, ImageFile.ImageFile):
                image.tile = []
            self.truncated = True
            if image.size != size:
                raise UndecodablePicture("The picture's size changes while it is decoded.") from error

    def _metadata(self, channels: int) -> Metadata:
        info, kept = self.image.info, self.carried.metadata
        icc = self.blocks.icc or info.get("icc_profile")
        srgb = self.name == "PNG" and "srgb" in info
        if icc is None and not srgb and self.name == "PNG" and channels >= 3:
            icc = color_management.profile_from_png(info.get("gamma"), info.get("chromaticity"))
        dpi = metadata.dpi_of(info.get("dpi"), self.carried.turned) or kept.dpi
        return replace(kept, icc=icc, srgb=srgb, dpi=None if self.options.metadata == "drop" else dpi)

    def _in_color(self, frames: list[Samples], kept: Metadata) -> tuple[list[Samples], Metadata]:
        """CMYK, and everything if it is asked for, to sRGB; a profile that is not for these samples is let go."""
        channels = frames[0].shape[2]
        cmyk = self.image.mode == "CMYK"
        colors = 4 if cmyk else channels - (channels in (2, 4))
        icc = kept.icc if color_management.profile_channels(kept.icc) == colors else None
        kept = replace(kept, icc=icc)
        if not cmyk and (icc is None or self.options.color == "keep"):
            return frames, kept
        converted = []
        for frame in frames:
            srgb = None if icc is None else color_management.to_srgb(frame[..., :colors], icc)
            if srgb is None and cmyk:
                srgb = color_management.cmyk_to_rgb(frame)
            if srgb is None:  # a profile that LittleCMS does not take is no profile
                return frames, replace(kept, icc=None)
            converted.append(srgb if frame.shape[2] == colors else samples.with_alpha(srgb, frame[..., -1]))
        return converted, replace(kept, icc=None, srgb=True)


def _duration(image: Image.Image) -> int:
    value = image.info.get("duration", 0)
    return max(0, round(value)) if isinstance(value, int | float) and value < 2**31 else 0
