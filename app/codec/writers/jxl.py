"""JPEG XL, with or without loss, of 8 or 16 bits."""

import ctypes
from concurrent.futures import Executor
from ctypes import byref
from typing import Any

import numpy as np

from app.codec import jxl, jxl_profile
from app.codec.color_management import for_channels
from app.codec.raster import Raster
from app.codec.types import Metadata, Samples
from app.codec.writers.pillow import DEFAULT_QUALITY
from app.options import UpscaleOptions

_LOSSLESS_EFFORT, _LOSSY_EFFORT = 3, 5  # of 1..10; the default of 7 takes seconds for a megapixel
_ROOM = 1 << 20


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """Lossless unless a quality is given or `lossless` is False; profile, EXIF and XMP in boxes."""
    lossless = options.lossless if options.lossless is not None else options.lossy_quality is None
    library = jxl.library()
    encoder = library.JxlEncoderCreate(None)
    if not encoder:
        raise MemoryError
    try:
        _describe(library, encoder, raster, lossless)
        _add_boxes(library, encoder, raster.metadata)
        settings = library.JxlEncoderFrameSettingsCreate(encoder, None)
        effort = _LOSSLESS_EFFORT if lossless else _LOSSY_EFFORT
        _checked(library.JxlEncoderFrameSettingsSetOption(settings, jxl.EFFORT, effort))
        if lossless:
            _checked(library.JxlEncoderSetFrameLossless(settings, 1))
        else:
            quality = float(options.lossy_quality or DEFAULT_QUALITY)
            _checked(library.JxlEncoderSetFrameDistance(settings, library.JxlEncoderDistanceFromQuality(quality)))
        _add_frame(library, settings, raster.frames[0])
        library.JxlEncoderCloseInput(encoder)
        return _output(library, encoder)
    finally:
        library.JxlEncoderDestroy(encoder)


def _checked(status: int) -> None:
    if status != jxl.SUCCESS:
        raise RuntimeError(f"libjxl refused a picture with status {status}")


def _describe(library: ctypes.CDLL, encoder: Any, raster: Raster, lossless: bool) -> None:
    """Size, depth, channels and colours."""
    height, width, channels = raster.frames[0].shape
    info, alpha = jxl.BasicInfo(), channels in (2, 4)
    library.JxlEncoderInitBasicInfo(byref(info))
    info.xsize, info.ysize, info.bits_per_sample = width, height, raster.depth
    info.num_color_channels, info.num_extra_channels = channels - alpha, int(alpha)
    info.alpha_bits = raster.depth if alpha else 0
    info.uses_original_profile = int(lossless)
    _checked(library.JxlEncoderSetBasicInfo(encoder, byref(info)))
    level = library.JxlEncoderGetRequiredCodestreamLevel(encoder)
    if level > 0:
        _checked(library.JxlEncoderSetCodestreamLevel(encoder, level))
    points, icc = raster.metadata.cicp, for_channels(raster.metadata.icc, channels)
    named = None if points is None else jxl_profile.encoding(points, gray=channels <= 2)
    if named is not None:
        _checked(library.JxlEncoderSetColorEncoding(encoder, byref(named)))
        return
    if icc is not None:
        _checked(library.JxlEncoderSetICCProfile(encoder, icc, len(icc)))
        return
    color = jxl.ColorEncoding()
    library.JxlColorEncodingSetToSRGB(byref(color), int(channels <= 2))
    _checked(library.JxlEncoderSetColorEncoding(encoder, byref(color)))


def _add_boxes(library: ctypes.CDLL, encoder: Any, metadata: Metadata) -> None:
    boxes = []
    if metadata.exif is not None:
        boxes.append((b"Exif", bytes(4) + metadata.exif))  # behind an offset of zero
    if metadata.xmp is not None:
        boxes.append((b"xml ", metadata.xmp))
    if not boxes:
        return
    _checked(library.JxlEncoderUseBoxes(encoder))
    for kind, body in boxes:
        _checked(library.JxlEncoderAddBox(encoder, kind, body, len(body), 0))
    library.JxlEncoderCloseBoxes(encoder)


def _add_frame(library: ctypes.CDLL, settings: Any, samples: Samples) -> None:
    samples = np.ascontiguousarray(samples)
    kind = jxl.UINT16 if samples.itemsize == 2 else jxl.UINT8
    layout = jxl.PixelFormat(samples.shape[2], kind, 0, 0)
    _checked(library.JxlEncoderAddImageFrame(settings, byref(layout), samples.ctypes.data, samples.nbytes))


def _output(library: ctypes.CDLL, encoder: Any) -> bytes:
    parts, room = [], ctypes.create_string_buffer(_ROOM)
    status = jxl.NEED_MORE_OUTPUT
    while status == jxl.NEED_MORE_OUTPUT:
        start, left = ctypes.c_void_p(ctypes.addressof(room)), ctypes.c_size_t(_ROOM)
        status = library.JxlEncoderProcessOutput(encoder, byref(start), byref(left))
        parts.append(room.raw[: _ROOM - left.value])
    _checked(status)
    return b"".join(parts)
