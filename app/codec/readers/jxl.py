"""JPEG XL: stills and animations of up to 16 bits, whole or as far as they are there. (ISO/IEC 18181.)"""

import contextlib
import ctypes
import struct
from collections.abc import Iterable
from ctypes import byref

import numpy as np

from app.codec import jxl, jxl_profile
from app.codec.color_management import profile_channels
from app.codec.limits import MAX_FRAMES
from app.codec.raster import Raster
from app.codec.readers.base import Frame, Source
from app.codec.readers.carrying import CarryingReader
from app.codec.samples import eight_bits
from app.codec.types import Metadata, Samples
from app.codec.writers import jxl as writer
from app.errors import TooManyPixels, UndecodablePicture
from app.options import UpscaleOptions

_SLACK = 8  # of the pixels of all layers over those of the largest picture
_MOST_CHANNELS = 4  # beside colour: each takes as much memory as the picture's gray
_HEAD, _PACKED = 32, b"xml \x8b\x01\x80<x/>\x03"  # "<x/>" as Brotli packs it
_SRGB = (1, 13)  # primaries and transfer characteristics of ITU-T H.273


class _Decoder:
    """JxlDecoder, freed with this object. It is given the whole file, and keeps no copy."""

    def __init__(self, data: bytes, events: int) -> None:
        self.library, self._data = jxl.library(), data
        self.pointer = self.library.JxlDecoderCreate(None)
        if not self.pointer:
            raise MemoryError
        self.library.JxlDecoderSubscribeEvents(self.pointer, events)
        self.library.JxlDecoderSetKeepOrientation(self.pointer, 1)
        self.library.JxlDecoderSetUnpremultiplyAlpha(self.pointer, 1)
        self.library.JxlDecoderSetInput(self.pointer, data, len(data))

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            self.library.JxlDecoderDestroy(self.pointer)

    def next(self) -> int:
        """The next event. Raises ValueError at damage."""
        status = int(self.library.JxlDecoderProcessInput(self.pointer))
        if status == jxl.ERROR:
            raise ValueError("its codestream is damaged")
        return status


class JxlReader(CarryingReader):
    """A JPEG XL. The file of several layers is one picture; only an animation has frames."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        data = self._separated(source.data)
        self._decoder = _Decoder(data, jxl.BASIC_INFO | jxl.COLOR_ENCODING | jxl.FRAME | jxl.FULL_IMAGE)
        self._info = info = jxl.BasicInfo()
        if self._decoder.next() != jxl.BASIC_INFO:
            raise ValueError("its header is cut short")
        self._decoder.library.JxlDecoderGetBasicInfo(self._decoder.pointer, byref(info))
        source.check_pixels(*self.size)
        if info.exponent_bits_per_sample or info.bits_per_sample > 16:
            kind = "floating-point numbers" if info.exponent_bits_per_sample else "integers"
            raise UndecodablePicture(
                f"Samples that are {kind} of {info.bits_per_sample} bits are not supported: send 8 or 16 bits."
            )
        if info.num_extra_channels > _MOST_CHANNELS:
            raise UndecodablePicture(
                f"The JXL has {info.num_extra_channels} channels beside its colours; at most {_MOST_CHANNELS} are read."
            )
        self._check_layers()
        self._carry(info.orientation if 1 <= info.orientation <= 8 else 1)
        self._color: Metadata | None = None
        self._next = 0

    def _check_layers(self) -> None:
        """TooManyPixels if the frames that are asked for are made of too many layers, which are decoded one by one.

        What a layer is blended with is as large as the picture, however small the layer. What is shown in the end is
        not counted here.
        """
        most, pixels, layers = _SLACK * self.source.limits.max_input_pixels, 0, 0
        scan, header = _Decoder(self._data, jxl.FRAME), jxl.FrameHeader()
        scan.library.JxlDecoderSetCoalescing(scan.pointer, 0)
        with contextlib.suppress(ValueError):  # damage is reported when it is decoded
            while scan.next() == jxl.FRAME:
                scan.library.JxlDecoderGetFrameHeader(scan.pointer, byref(header))
                shown, canvas = header.duration or header.is_last, self._info.ysize * self._info.xsize
                layers += 1
                pixels += max(header.ysize * header.xsize, canvas) - (canvas if shown else 0)
                if pixels > most:
                    raise TooManyPixels(
                        f"The JXL is put together of {layers:,} layers or more, which have {pixels:,} pixels beside "
                        f"those that are shown; at most {most:,} are accepted. Send it as one layer."
                    )
                if shown and self.source.options.frames != "all":
                    break

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """Files with and without loss, of 8 and 16 bits, and one with compressed metadata."""
        for dtype in (np.uint8, np.uint16):
            for lossless in (True, False):
                raster = Raster((np.zeros((8, 8, 4), dtype),), "JXL")
                file = writer.write(raster, UpscaleOptions(scale=2, format="jxl", lossless=lossless))
                yield file
        # Of 16 bits it is in boxes, of which the first two are always the same.
        yield file[:_HEAD] + struct.pack(">I", 8 + len(_PACKED)) + b"brob" + _PACKED + file[_HEAD:]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) by the header."""
        return self._info.ysize, self._info.xsize

    @property
    def has_several_frames(self) -> bool:
        """Whether the header announces an animation, and there is more than one frame."""
        return bool(self._info.have_animation) and len(self.all_frames()) > 1

    def all_frames(self) -> range:
        """The indices of the frames, whose headers are read; nothing is decoded."""
        scan, count = _Decoder(self._data, jxl.FRAME), 0
        while count <= MAX_FRAMES:
            try:
                event = scan.next()
            except ValueError:
                break  # damage is reported when it is decoded
            if event != jxl.FRAME:
                break
            count += 1
        return range(max(1, count))

    def frame(self, index: int, animated: bool) -> Frame:
        """Decodes the next frame. Raises ValueError for one that is not in its turn."""
        if index != self._next:
            raise ValueError(f"frame {index} is asked for after {self._next}")
        self._next += 1
        header = jxl.FrameHeader()
        samples: Samples | None = None
        while True:
            event = self._decoder.next()
            if event == jxl.COLOR_ENCODING:
                self._color = self._read_color()
            elif event == jxl.FRAME:
                self._decoder.library.JxlDecoderGetFrameHeader(self._decoder.pointer, byref(header))
            elif event == jxl.NEED_IMAGE_BUFFER:
                samples = self._buffer()
            elif event == jxl.FULL_IMAGE and samples is not None:
                return Frame(self._of_its_depth(samples), self._milliseconds(header.duration))
            elif event == jxl.NEED_MORE_INPUT and self._taken_in_part(samples):
                assert samples is not None
                self.truncated = self.lacks_pixels = True
                return Frame(self._of_its_depth(samples), self._milliseconds(header.duration))
            else:
                raise ValueError("it ends before its picture")

    def _taken_in_part(self, samples: Samples | None) -> bool:
        if not self.source.allow_truncated or samples is None:
            return False
        return int(self._decoder.library.JxlDecoderFlushImage(self._decoder.pointer)) == jxl.SUCCESS

    def _buffer(self) -> Samples:
        """The array that the decoder writes the frame into; samples of fewer than 16 bits are spread by it.

        It dithers what it rounds to 8 bits, so that flat colours were not flat.
        """
        info, decoder = self._info, self._decoder
        channels = (3 if info.num_color_channels == 3 else 1) + (info.alpha_bits > 0)
        samples = np.zeros((*self.size, channels), np.uint16)
        layout, needed = jxl.PixelFormat(channels, jxl.UINT16, 0, 0), ctypes.c_size_t()
        decoder.library.JxlDecoderImageOutBufferSize(decoder.pointer, byref(layout), byref(needed))
        if needed.value != samples.nbytes:
            raise ValueError("its size changes")
        address = samples.ctypes.data
        if decoder.library.JxlDecoderSetImageOutBuffer(decoder.pointer, byref(layout), address, samples.nbytes):
            raise ValueError("its samples cannot be read")
        return samples

    def _of_its_depth(self, samples: Samples) -> Samples:
        deep = self._info.bits_per_sample > 8 or self._info.alpha_bits > 8
        return samples if deep else eight_bits(samples)

    def _milliseconds(self, ticks: int) -> int:
        if not self._info.have_animation or not self._info.tps_numerator:
            return 0
        milliseconds = round(1000 * ticks * int(self._info.tps_denominator) / int(self._info.tps_numerator))
        return min(milliseconds, 2**31 - 1)

    def _read_color(self) -> Metadata:
        """What the samples are in; sRGB by its name."""
        library, pointer, named = self._decoder.library, self._decoder.pointer, jxl.ColorEncoding()
        points = None
        if library.JxlDecoderGetColorAsEncodedProfile(pointer, jxl.TARGET_DATA, byref(named)) == jxl.SUCCESS:
            points = jxl_profile.code_points(named)
            if points == _SRGB:
                return Metadata(srgb=True)
        icc = jxl_profile.of_samples(pointer)
        if profile_channels(icc) == 4:
            raise UndecodablePicture("CMYK in a JXL is not supported: send it as RGB.")
        return Metadata(icc=icc, cicp=points)

    @property
    def loop(self) -> int:
        """How often the header says that the animation is played; 0 is for ever."""
        return int(self._info.num_loops) if self._info.have_animation else 0

    def _profile(self, channels: int) -> Metadata:
        return self._color or Metadata()
