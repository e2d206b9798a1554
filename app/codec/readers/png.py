"""PNG and APNG: 16 bits by libpng, everything else by Pillow; films are composed by app.codec.readers.apng."""

import contextlib
import io
from collections.abc import Iterable
from dataclasses import replace

import imagecodecs
import numpy as np
from PIL import Image, PngImagePlugin

from app.codec import code_points, color_management, png_chunks, png_color
from app.codec.metadata.blocks import DAMAGED, MISPLACED, note
from app.codec.readers import apng
from app.codec.readers.base import Frame
from app.codec.readers.carrying import instead
from app.codec.readers.pillow import PillowReader
from app.codec.samples import from_pillow, full_range, sixteen_bits, with_alpha
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
        data, damaged, misplaced = png_chunks.usable(data)
        self._depth, self._coding = header.depth, png_color.coding(data)
        self._film, self._announced = data, apng.frame_count(data)
        data = self._still(data, header)
        self._key = png_chunks.transparent_color(data, header)
        if header.depth < 8:
            self._full_gray = (1 << header.depth) - 1
        image = self._with_low_bits(super()._opened(data))
        self._blocks.dropped += [note(name, DAMAGED) for name in damaged]
        self._blocks.dropped += [note(name, MISPLACED) for name in misplaced]
        return image

    def _still(self, data: bytes, header: png_chunks.Header) -> bytes:
        """The file without its film, or what can be saved of a damaged one. Raises UndecodablePicture.

        Pillow is given the still alone: an unsound film must not cost it, and Pillow's way of composing is not used.
        """
        still = apng.still(data) if self._announced else data
        fault = png_chunks.fault(still)
        if self._announced and (fault or (self.source.options.frames == "all" and self._announced > 1)):
            fault = png_chunks.fault(data)
        if fault is None:
            return still
        if not self.source.allow_truncated:
            raise UndecodablePicture(
                f"The PNG is damaged: {fault}. Send the whole file, or ask for what is there with truncated=allow."
            )
        self.truncated, self.lacks_pixels = True, png_chunks.short(data, header) is not None
        self._announced = 0
        return png_chunks.repaired(data)

    def _with_low_bits(self, image: Image.Image) -> Image.Image:
        """Of the 16 bits of a transparent colour only those of the depth count (PNG, 11.3.1.1)."""
        if self._depth <= 8 and len(self._key) in (1, 3):
            low = tuple(value & self._full_gray for value in self._key)
            image.info["transparency"] = low if len(low) == 3 else low[0]
        return image

    @property
    def has_several_frames(self) -> bool:
        """Whether acTL announces more than one frame."""
        return self._announced > 1

    @property
    def loop(self) -> int:
        """How often acTL says that the film is played; 0 is for ever, or that there is no film."""
        return apng.plays(self._film) if self._announced else 0

    def all_frames(self) -> range:
        """The indices of the announced frames; opens the film."""
        self._frames = apng.film(self._film, *self.size)
        self._canvas = apng.Canvas(*self.size)
        return range(self._announced)

    def frame(self, index: int, animated: bool) -> Frame:
        """Decodes the still, or the next frame of the film, composed with those before it.

        Where the still is not in the film, it is the film's first frame, as browsers show it; but the still if that
        frame is damaged.
        """
        if animated:
            return self._next_frame()
        if self._announced and apng.hides_still(self._film):
            with contextlib.suppress(UndecodablePicture, OSError, SyntaxError, ValueError, RuntimeError):
                self.all_frames()
                return self._without_needless_alpha(self._next_frame())
        return super().frame(index, animated)

    def _without_needless_alpha(self, frame: Frame) -> Frame:
        """Composing needs alpha; a picture without it gets none."""
        samples = frame.samples
        alpha = self._image.mode in ("LA", "PA", "RGBA") or bool(self._key)
        whole = (samples[..., -1] == np.iinfo(samples.dtype).max).all()
        return frame if alpha or not whole else frame._replace(samples=np.ascontiguousarray(samples[..., :-1]))

    def _next_frame(self) -> Frame:
        frame = next(self._frames, None)
        if frame is None:
            raise UndecodablePicture("The PNG's animation ends early. Take the still picture with frames=first.")
        fault = png_chunks.short(frame.png, png_chunks.header(frame.png))
        if fault is not None:
            raise UndecodablePicture(
                f"A frame of the PNG is damaged: {fault}. Take the still picture with frames=first."
            )
        image = self._with_low_bits(self.plugin(io.BytesIO(frame.png)))
        image.load()
        if self._depth == 16:
            decoded = sixteen_bits(imagecodecs.png_decode(frame.png), image.height, image.width)
        else:
            decoded = from_pillow(image, self._full_gray)
        if decoded.shape[2] in (1, 3):
            decoded = with_alpha(decoded, np.full(decoded.shape[:2], np.iinfo(decoded.dtype).max, decoded.dtype))
        return Frame(self._canvas.show(frame, self._ranged(decoded)), frame.duration_ms)

    def _samples(self, animated: bool) -> Samples:
        if self._depth == 16:
            return self._ranged(sixteen_bits(imagecodecs.png_decode(self._data), *self.size))  # tRNS becomes alpha
        return self._ranged(super()._samples(animated))

    def _ranged(self, decoded: Samples) -> Samples:
        """Of full range; that of fewer than 8 bits has no other."""
        narrow = self._coding is not None and not self._coding.full and self._depth >= 8
        return full_range(decoded) if narrow else decoded

    def _profile(self, channels: int) -> Metadata:
        info = self._image.info
        if self._coding is not None:  # goes before all the others where it is understood (PNG, third edition, 4.3)
            found = code_points.metadata_of(self._coding.points, gray=channels <= 2)
            return replace(found, mastering=self._coding.mastering, light=self._coding.light)
        icc, srgb = self._blocks.icc, "srgb" in info
        if color_management.belongs(icc, channels):
            return Metadata(icc=icc, srgb=srgb)
        # What cannot be used leaves room for what goes after it (PNG, third edition, 4.3).
        gamma, points = info.get("gamma"), info.get("chromaticity")
        # Primaries count with a gamma beside them: browsers pass over those alone.
        other = None if srgb or gamma is None else color_management.profile_from_png(gamma, points, gray=channels <= 2)
        usual = gamma is not None and points is not None and color_management.is_gamma_of_srgb(gamma)
        return instead(icc, Metadata(icc=other, srgb=srgb, gamma=usual and other is None and not srgb))
