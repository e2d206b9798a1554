"""WebP, JPEG and AVIF through Pillow."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from app.codec.color_management import profile_channels
from app.codec.metadata import EXIF_PREFIX, jpeg
from app.codec.types import Metadata, Samples
from app.options import UpscaleOptions

MEDIA_TYPES = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "avif": "image/avif",
    "tiff": "image/tiff",
}
MAX_SIDES = {"webp": 16383, "jpeg": 65500, "avif": 16384}
DEFAULT_QUALITY = 90


def write_webp(
    frames: Sequence[Samples], metadata: Metadata, options: UpscaleOptions, durations_ms: Sequence[int], loop: int
) -> bytes:
    """Lossless unless a quality is given or `lossless` is False; several frames make an animation."""
    lossless = options.lossless if options.lossless is not None else options.lossy_quality is None
    settings: dict[str, Any] = {"lossless": lossless, "exact": lossless, "method": 2 if lossless else 4}
    if not lossless:
        settings["quality"] = options.lossy_quality or DEFAULT_QUALITY
    if len(frames) > 1:
        settings |= {
            "save_all": True,
            "append_images": [_image(frame) for frame in frames[1:]],
            "duration": list(durations_ms),
            "loop": loop,
        }
    return _saved(_image(frames[0]), "WEBP", metadata, settings)


def write_jpeg(samples: Samples, metadata: Metadata, options: UpscaleOptions) -> bytes:
    """Full chroma resolution from quality 90 up, and half below. An alpha channel, which must be full, is left out."""
    quality = options.lossy_quality or DEFAULT_QUALITY
    colors = samples[..., : samples.shape[2] - (samples.shape[2] in (2, 4))]
    settings = {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    return _saved(_image(np.ascontiguousarray(colors)), "JPEG", metadata, settings)


def write_avif(samples: Samples, metadata: Metadata, options: UpscaleOptions) -> bytes:
    """At the encoder's speed 8 of 10: the default takes seconds for a megapixel."""
    settings = {"quality": options.lossy_quality or DEFAULT_QUALITY, "speed": 8, "subsampling": "4:4:4"}
    return _saved(_image(samples), "AVIF", metadata, settings)


def _image(samples: Samples) -> Image.Image:
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _profile(metadata: Metadata, channels: int) -> bytes | None:
    """The profile to embed. sRGB by conversion is left unsaid: it is what every reader assumes."""
    fits = profile_channels(metadata.icc) == (1 if channels <= 2 else 3)
    return metadata.icc if fits else None


def _saved(image: Image.Image, name: str, metadata: Metadata, settings: dict[str, Any]) -> bytes:
    settings = dict(settings)
    icc = _profile(metadata, len(image.getbands()))
    if icc is not None:
        settings["icc_profile"] = icc
    if metadata.exif is not None:
        settings["exif"] = EXIF_PREFIX + metadata.exif if name == "JPEG" else metadata.exif
    if name == "JPEG":
        settings["extra"] = jpeg.segments(metadata)
        if metadata.dpi is not None:
            settings["dpi"] = (round(metadata.dpi[1]), round(metadata.dpi[0]))
    elif metadata.xmp is not None:
        settings["xmp"] = metadata.xmp
    file = io.BytesIO()
    image.save(file, name, **settings)
    return file.getvalue()
