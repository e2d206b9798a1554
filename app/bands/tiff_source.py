"""Bands of a TIFF or BigTIFF, stored in strips or tiles."""

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from app.bands.source import version_of
from app.codec.readers.tiff_page import holds_several
from app.codec.readers.tiff_tags import (
    BLACK_IS_ZERO,
    COLORS,
    HEADER,
    INKS,
    PALETTE,
    PHOTOMETRIC,
    RGB,
    STRAIGHT,
    WHITE_IS_ZERO,
    compression_name,
    no_photometric,
)
from app.errors import UndecodablePicture

_NAMES = {  # that tifffile writes them by
    WHITE_IS_ZERO: "miniswhite",
    BLACK_IS_ZERO: "minisblack",
    RGB: "rgb",
    PALETTE: "palette",
    INKS: "separated",
}
_COLORS = COLORS | {PALETTE: 1}
_LOSSLESS = (1, 5, 8, 32773, 32946, 34925, 50000)
"""None, LZW, Deflate (two numbers), PackBits, LZMA and Zstandard."""
_ORIENTATION, _XMP, _ICC, _DNG_VERSION = 274, 700, 34675, 50706


class TiffSource:
    """The first page. Only the strips or tiles that a band touches are read."""

    def __init__(self, path: Path) -> None:
        """Raises UndecodablePicture, also for kinds that cannot be read in bands."""
        try:
            self._file = tifffile.TiffFile(path)
        except (tifffile.TiffFileError, ValueError, struct.error) as error:
            raise UndecodablePicture(f"The bytes do not decode as TIFF: {error}.") from error
        try:
            page = self._file.pages.first
            self.several = holds_several(self._file)
            if not isinstance(page, tifffile.TiffPage):
                raise UndecodablePicture("The TIFF has no page that can be read.")
            _check(page)
        except (tifffile.TiffFileError, ValueError, KeyError, IndexError, struct.error) as error:
            self._file.close()
            raise UndecodablePicture(f"The bytes do not decode as TIFF: {error}.") from error
        except UndecodablePicture:
            self._file.close()
            raise
        self._page, self._version = page, version_of(os.fstat(self._file.filehandle.fileno()))
        self.height, self.width = page.imagelength, page.imagewidth
        self._orientation = int(page.tags[_ORIENTATION].value) if _ORIENTATION in page.tags else 1

    def rows(self, first: int, last: int) -> bytes:
        """See Source."""
        page, photometric = self._page, int(self._page.photometric)
        samples = self._samples(first, last)
        extra = [int(kind) for kind in page.extrasamples]
        if not extra and samples.shape[2] == _COLORS[photometric] + 1:
            extra = [STRAIGHT]  # as the codec takes it where nothing is said; tifffile would say that it is no alpha
        file = io.BytesIO()
        tifffile.imwrite(
            file,
            samples if samples.shape[2] > 1 else samples[..., 0],
            photometric=_NAMES[photometric],
            colormap=page.colormap if photometric == PALETTE else None,
            planarconfig="contig" if samples.shape[2] > 1 else None,
            extrasamples=extra or None,
            iccprofile=page.tags[_ICC].value if _ICC in page.tags else None,
            subfiletype=int(page.subfiletype),
            extratags=self._passed_on(),
            metadata=None,
            software=False,
        )
        return file.getvalue()

    def close(self) -> None:
        """See Source."""
        self._file.close()

    def _passed_on(self) -> list[Any]:
        """Tags by which the codec turns a picture, or refuses a camera's raw file."""
        tags: list[Any] = [(_ORIENTATION, "H", 1, self._orientation, True)] if self._orientation != 1 else []
        if (xmp := self._page.tags.valueof(_XMP)) is not None:
            body = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
            tags.append((_XMP, "B", len(body), body, True))
        if _DNG_VERSION in self._page.tags:
            tags.append((_DNG_VERSION, "B", 4, (1, 0, 0, 0), True))
        return tags

    def _samples(self, first: int, last: int) -> NDArray[Any]:
        """Rows [first, last) as they are stored (rows, W, samples)."""
        page = self._page
        depth = page.tilelength if page.is_tiled else page.rowsperstrip
        depth = min(depth, page.imagelength)
        across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        down = -(-page.imagelength // depth)
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        out = np.zeros((last - first, page.imagewidth, page.samplesperpixel), page.dtype)
        for plane in range(planes):
            begin = (plane * down + first // depth) * across
            end = (plane * down + (last - 1) // depth + 1) * across
            for index in range(begin, end):
                segment, (_, _, top, left, _), shape = self._decoded(index)
                part = segment.reshape(segment.shape[-3:])[: shape[1], : shape[2]]
                low, high = max(top, first), min(top + part.shape[0], last)
                channels = slice(plane, plane + 1) if planes > 1 else slice(None)
                target = out[low - first : high - first, left : left + part.shape[1], channels]
                target[...] = part[low - top : high - top, : target.shape[1]]
        return out

    def _decoded(self, index: int) -> Any:
        """A strip or tile as `TiffPage.decode` returns it."""
        stored = self._stored(index)
        try:
            return self._page.decode(stored, index)
        except (RuntimeError, ValueError) as error:  # those of imagecodecs, and of data that has another size
            raise UndecodablePicture(
                f"Strip or tile {index} of the TIFF does not decode: its data is damaged. Use an undamaged copy."
            ) from error

    def _stored(self, index: int) -> bytes:
        page = self._page
        if index >= len(page.dataoffsets) or index >= len(page.databytecounts):
            raise UndecodablePicture("The TIFF's directory names fewer strips or tiles than its size needs.")
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if not count or offset < HEADER:  # tifffile would leave it black
            raise UndecodablePicture(
                f"The TIFF does not say where its strip or tile {index} is. Save it with all of them."
            )
        handle = self._file.filehandle
        handle.seek(offset)
        data = handle.read(count)
        if version_of(os.fstat(handle.fileno())) != self._version:  # bands of two pictures would be joined
            raise UndecodablePicture(
                "The TIFF was changed while it was being read. Remove the folder of finished bands and start again."
            )
        if len(data) < count:
            raise UndecodablePicture("The TIFF ends before its last strip or tile. Send the whole file.")
        return bytes(data)


def _check(page: tifffile.TiffPage) -> None:
    """Raises UndecodablePicture for what could not be read in bands exactly as the service reads it whole."""
    photometric, compression = int(page.photometric), int(page.compression)
    if PHOTOMETRIC not in page.tags:
        raise no_photometric()
    kind = None if page.dtype is None else np.dtype(page.dtype)
    palette_and_more = photometric == PALETTE and page.samplesperpixel > 1  # which tifffile does not write
    if photometric not in _NAMES or page.samplesperpixel < _COLORS[photometric] or palette_and_more:
        raise UndecodablePicture(
            f"The TIFF's colours (photometric interpretation {photometric}) cannot be read in bands: convert it to "
            "gray, RGB or CMYK."
        )
    if kind not in (np.dtype(np.uint8), np.dtype(np.uint16)) or page.bitspersample not in (8, 16):
        raise UndecodablePicture(
            f"The TIFF has {page.bitspersample} bits a sample ({kind}); in bands, unsigned integers of 8 or 16 bits "
            "are read: convert it."
        )
    if page.fillorder != 1:
        raise UndecodablePicture("The TIFF's bits are stored in reverse, which cannot be read in bands: save it again.")
    if compression not in _LOSSLESS:
        raise UndecodablePicture(
            f"The TIFF's compression ({compression}, {compression_name(compression)}) cannot be read in bands: save it "
            "with LZW, Deflate, Zstandard or none."
        )
