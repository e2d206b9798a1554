"""What the writers of formats that Pillow encodes share."""

import io
from typing import Any

from PIL import Image

from app.codec.color_management import for_channels
from app.codec.metadata import EXIF_PREFIX
from app.codec.types import Metadata, Samples

DEFAULT_QUALITY = 90


def image_of(samples: Samples) -> Image.Image:
    """Samples (H, W, C), uint8, as a Pillow image."""
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def saved(image: Image.Image, name: str, metadata: Metadata, settings: dict[str, Any]) -> bytes:
    """The file, with profile, EXIF and XMP; `name` and `settings` are Pillow's."""
    settings = dict(settings)
    icc = for_channels(metadata.icc, len(image.getbands()))
    if icc is not None:  # sRGB by conversion needs none: readers assume it
        settings["icc_profile"] = icc
    if metadata.exif is not None:
        settings["exif"] = EXIF_PREFIX + metadata.exif if name == "JPEG" else metadata.exif
    if metadata.xmp is not None and name != "JPEG":
        settings["xmp"] = metadata.xmp
    file = io.BytesIO()
    image.save(file, name, **settings)
    return file.getvalue()
