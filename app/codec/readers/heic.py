"""HEIC, the pictures of telephones, by libheif through pillow-heif. (ISO/IEC 23008-12.)"""

import io
from collections.abc import Iterable

import numpy as np
import pillow_heif
from PIL import Image

from app.codec import heif, hevc
from app.codec.color_management import belongs
from app.codec.limits import MAX_FRAMES
from app.codec.readers.base import Frame, Source
from app.codec.readers.carrying import CarryingReader, instead
from app.codec.samples import spread, straight
from app.codec.types import Metadata, Samples
from app.errors import TooManyPixels, UndecodablePicture

_SLACK = 2  # of a grid's tiles over the picture that they make up: they reach over its edges
_OPTIONS = pillow_heif.options
_OPTIONS.DECODE_THREADS = 1
_OPTIONS.THUMBNAILS = _OPTIONS.DEPTH_IMAGES = _OPTIONS.AUX_IMAGES = False


class HeicReader(CarryingReader):
    """The primary picture of a HEIC. HEVC codes a picture, or a tile of one, as one unit: no part can be decoded."""

    decodes_truncated = False

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        data = self._separated(source.data)
        items = heif.Items(data)
        self._own = items.primary
        self._coded = hevc.code_points(bytes(items.properties(items.first_id).get(b"hvcC", b"")[: heif.HEADERS]))
        if b"ispe" not in self._own:
            raise UndecodablePicture(
                "The HEIC does not say how large its picture is (box ispe). Send the whole file, or save it again."
            )
        source.check_pixels(*heif.size(self._own))
        count, pixels = items.coded()
        most = source.limits.max_input_pixels
        if count > MAX_FRAMES or pixels > _SLACK * most:
            raise TooManyPixels(
                f"The HEIC is made up of {count:,} pictures of {pixels:,} pixels; at most {MAX_FRAMES:,} of "
                f"{_SLACK * most:,} are accepted. Send it as one picture."
            )
        self._image = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        source.check_pixels(*self.size)
        self._carry(heif.orientation(self._own))
        if heif.is_transformed(self._own):
            self.orientation = 1  # libheif turns what it decodes

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """A file of each kind of samples."""
        for mode in ("L", "RGB", "RGBA"):
            file = io.BytesIO()
            pillow_heif.from_pillow(Image.new(mode, (16, 16))).save(file, quality=-1)
            yield file.getvalue()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture as libheif turns it."""
        width, height = self._image.size
        return height, width

    def frame(self, index: int, animated: bool) -> Frame:
        """The picture, upright, 8 or 16 bits. Raises UndecodablePicture for kinds of samples that are not read."""
        mode, _, bits = self._image.mode.partition(";")
        if mode not in ("L", "I", "LA", "RGB", "RGBA", "RGBa"):
            raise UndecodablePicture(f"Samples of kind {self._image.mode!r} are not supported: send gray or RGB.")
        decoded = np.asarray(self._image)
        decoded = decoded.reshape(*decoded.shape[:2], -1)
        if decoded.shape[:2] != self.size or decoded.dtype != (np.uint16 if bits else np.uint8):
            raise ValueError(f"the header promises {self._image.mode} and the data holds {decoded.dtype}")
        samples: Samples = spread(decoded, int(bits)) if bits and bits != "16" else decoded
        if mode == "RGBa":
            samples = straight(samples)
        if mode.startswith("RGB") and self._is_gray:  # libheif makes RGB of gray with alpha
            samples = samples[..., [0, 3] if samples.shape[2] == 4 else [0]]
        return Frame(samples, 0)

    @property
    def _is_gray(self) -> bool:
        """Whether the samples are one channel by `pixi`."""
        return len(self._own.get(b"pixi", b"")) > 4 and self._own[b"pixi"][4] == 1

    def _profile(self, channels: int) -> Metadata:
        icc = self._image.info.get("icc_profile")
        if belongs(icc, channels):
            return Metadata(icc=icc)
        return instead(icc, heif.colors(self._own, channels <= 2, lambda: self._coded))
