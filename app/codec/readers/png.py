"""PNG and APNG: stills of 16 bits by libpng, everything else by Pillow."""

import io
from collections.abc import Iterable

import imagecodecs
from PIL import Image, PngImagePlugin

from app.codec import color_management, png_chunks
from app.codec.readers.pillow import PillowReader
from app.codec.samples import sixteen_bits
from app.codec.types import Metadata, Samples
from app.errors import UndecodablePicture


class PngReader(PillowReader):
    """A PNG; a damaged one is repaired first if truncated=allow."""

    plugin = PngImagePlugin.PngImageFile

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """A file of 8 bits and one of 16."""
        file = io.BytesIO()
        Image.new("I;16", (1, 1)).save(file, "PNG")
        return (*super().examples(), file.getvalue())

    def _opened(self, data: bytes) -> Image.Image:
        header = png_chunks.header(data)
        self.source.check_pixels(header.height, header.width)
        fault = png_chunks.fault(data)
        if fault is not None:
            if not self.source.allow_truncated:
                raise UndecodablePicture(
                    f"The PNG is damaged: {fault}. Send the whole file, or ask for what is there with truncated=allow."
                )
            data, self.truncated = png_chunks.repaired(data), True
        self._data, self._depth = data, header.depth
        if header.depth < 8:
            self._full_gray = (1 << header.depth) - 1
        return super()._opened(data)

    def all_frames(self) -> range:
        """As Reader."""
        # An APNG may show a still of its own to readers that do not know animations; it is not part of the film.
        first = 1 if getattr(self._image, "default_image", False) else 0
        return super().all_frames()[first:]

    def _samples(self, animated: bool) -> Samples:
        if self._depth == 16 and not animated:
            return sixteen_bits(imagecodecs.png_decode(self._data), *self.size)  # tRNS becomes alpha
        return super()._samples(animated)

    def _profile(self, channels: int) -> Metadata:
        info = self._image.info
        icc, srgb = info.get("icc_profile"), "srgb" in info
        if icc is None and not srgb and channels >= 3:
            icc = color_management.profile_from_png(info.get("gamma"), info.get("chromaticity"))
        return Metadata(icc=icc, srgb=srgb)

    def _exif(self) -> Image.Exif:
        # Pillow would decode the picture to look for an eXIf behind it.
        exif = Image.Exif()
        body = next((bytes(item.body) for item in png_chunks.chunks(self._data) if item.kind == b"eXIf"), None)
        if body:
            exif.load(body)
        return exif
