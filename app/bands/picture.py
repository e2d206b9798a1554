"""What bands need to know of the whole of a large picture, found in passes over its rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.bands.source import Source
from app.codec import Decoded, DecodeLimits, Finding, Formulas, reader
from app.codec.consistency import LOOKAHEAD
from app.codec.formats import READERS
from app.codec.history.pixels import findings_of_rows
from app.codec.limits import accepted_format
from app.codec.raster import Raster
from app.codec.readers.base import Source as File
from app.codec.split import split
from app.codec.types import Metadata, Plane, Samples
from app.errors import BadParameter, UndecodablePicture
from app.options import UpscaleOptions

_GRID = 16
"""Rows of context are a multiple of this, so that tiles lie where they would in the whole picture."""
_ROWS = 128
_ANY = 1 << 62
_LIMITS = DecodeLimits(_ANY, _ANY, _ANY)

Alpha = Literal["none", "opaque", "varies"]


def context_of(window_margin: int) -> int:
    """Source rows that are computed above and below a band: as far as a tile's window and, beyond it, merging reach.

    Less, such as the network's own margin, would change the last bits of sums.
    """
    return -(-(window_margin + LOOKAHEAD) // _GRID) * _GRID


@dataclass(frozen=True, slots=True)
class Whole:
    """What a band cannot tell of the picture. `channels` and `depth`, in bits, are those of the samples."""

    height: int
    width: int
    channels: int
    depth: Literal[8, 16]
    alpha: Alpha


class LargePicture:
    """Reads any rows of a source as the service's codec reads the whole."""

    def __init__(self, source: Source, options: UpscaleOptions, formulas: Formulas) -> None:
        """Takes over `source`. Raises BadParameter for several pages, and UndecodablePicture for a turned picture."""
        self._source, self._options, self._formulas = source, options, formulas
        try:
            self._look()
        except BaseException:
            source.close()
            raise

    def close(self) -> None:
        """Closes the source."""
        self._source.close()

    def _look(self) -> None:
        source, options = self._source, self._options
        if source.several and options.frames != "first":
            raise BadParameter("The TIFF has more than one page; frames=first takes the first.")
        if _orientation(source.rows(0, 1), options) != 1:
            raise UndecodablePicture(
                "The picture's orientation tag turns or mirrors it, which cannot be done in bands: save it upright."
            )
        first = self._raster(0, 1)
        self._channels = first.frames[0].shape[2]
        self._depth: Literal[8, 16] = 8 if options.depth == "8" else first.depth
        self.metadata: Metadata = first.metadata
        """As decoded."""

    def whole(self) -> Whole:
        """Looks through the alpha channel, if there is one. Raises UndecodablePicture for invisible pixels."""
        alpha: Alpha = "none"
        if self._channels in (2, 4):
            alpha = "opaque"
            for samples in self._samples():
                if not samples[..., -1].all():
                    raise UndecodablePicture(
                        "The picture has fully transparent pixels, whose colour is made from all of the picture: it "
                        "cannot be upscaled in bands. Save it without transparency, or with at least 1 everywhere."
                    )
                if (samples[..., -1] < np.iinfo(samples.dtype).max).any():
                    alpha = "varies"
        return Whole(self._source.height, self._source.width, self._channels, self._depth, alpha)

    def findings(self) -> list[Finding]:
        """What the pixels show of the picture's history."""
        return findings_of_rows(self._source.height, self._source.width, self._luma, lossless=True)

    def decoded(self, first: int, last: int, whole: Whole) -> Decoded:
        """Planes of rows [first, last)."""
        raster = self._raster(first, last)
        picture = split(raster.frames[0], self._formulas)
        if whole.alpha == "varies" and picture.opaque:
            alpha = np.ones(picture.luma.shape, np.float32)
            picture = replace(picture, alpha=alpha, opaque=False)
        return Decoded((picture,), whole.depth, raster.format, raster.metadata)

    def _luma(self, first: int, last: int) -> Plane:
        return split(self._raster(first, last).frames[0], self._formulas).luma

    def _samples(self) -> Iterator[Samples]:
        for top in range(0, self._source.height, _ROWS):
            yield self._raster(top, min(top + _ROWS, self._source.height)).frames[0]

    def _raster(self, first: int, last: int) -> Raster:
        return reader.read(self._source.rows(first, last), self._options, _LIMITS)


def _orientation(data: bytes, options: UpscaleOptions) -> int:
    """1 to 8, as the codec's reader finds it."""
    form = accepted_format(data, _LIMITS)
    file = READERS[form.name](File(data, form, options, _LIMITS))
    file.frames()
    file.frame(0, animated=False)
    return file.orientation
