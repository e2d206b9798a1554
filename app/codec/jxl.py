"""libjxl, which imagecodecs brings along, through ctypes: header before pixels, profile, frames. (ISO/IEC 18181.)

imagecodecs itself decodes before anybody has seen the size, and neither reads nor writes a profile. The interface is
that of <jxl/decode.h> and <jxl/encode.h>, version 0.11, whose symbols carry the version JXL_0.
"""

import ctypes
from ctypes import POINTER, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_void_p
from functools import lru_cache

import imagecodecs

from app.errors import UnsupportedFormat


class BasicInfo(ctypes.Structure):
    """JxlBasicInfo."""

    _fields_ = (
        ("have_container", c_int),
        ("xsize", c_uint32),
        ("ysize", c_uint32),
        ("bits_per_sample", c_uint32),
        ("exponent_bits_per_sample", c_uint32),
        ("intensity_target", c_float),
        ("min_nits", c_float),
        ("relative_to_max_display", c_int),
        ("linear_below", c_float),
        ("uses_original_profile", c_int),
        ("have_preview", c_int),
        ("have_animation", c_int),
        ("orientation", c_int),
        ("num_color_channels", c_uint32),
        ("num_extra_channels", c_uint32),
        ("alpha_bits", c_uint32),
        ("alpha_exponent_bits", c_uint32),
        ("alpha_premultiplied", c_int),
        ("preview_xsize", c_uint32),
        ("preview_ysize", c_uint32),
        ("tps_numerator", c_uint32),
        ("tps_denominator", c_uint32),
        ("num_loops", c_uint32),
        ("have_timecodes", c_int),
        ("intrinsic_xsize", c_uint32),
        ("intrinsic_ysize", c_uint32),
        ("padding", c_uint8 * 100),
    )


class FrameHeader(ctypes.Structure):
    """JxlFrameHeader, with room for how layers are blended."""

    _fields_ = (
        ("duration", c_uint32),
        ("timecode", c_uint32),
        ("name_length", c_uint32),
        ("is_last", c_int),
        ("have_crop", c_int),
        ("crop_x0", c_int32),
        ("crop_y0", c_int32),
        ("xsize", c_uint32),
        ("ysize", c_uint32),
        ("layer_info", c_int32 * 11),
    )


class ColorEncoding(ctypes.Structure):
    """JxlColorEncoding."""

    _fields_ = (
        ("color_space", c_int),
        ("white_point", c_int),
        ("white_point_xy", c_double * 2),
        ("primaries", c_int),
        ("primaries_xy", c_double * 6),
        ("transfer_function", c_int),
        ("gamma", c_double),
        ("rendering_intent", c_int),
    )


class PixelFormat(ctypes.Structure):
    """JxlPixelFormat."""

    _fields_ = (("num_channels", c_uint32), ("data_type", c_int), ("endianness", c_int), ("align", c_size_t))


UINT8, UINT16 = 2, 3  # JxlDataType

SUCCESS, ERROR, NEED_MORE_INPUT, NEED_MORE_OUTPUT, NEED_IMAGE_BUFFER = 0, 1, 2, 2, 5
BASIC_INFO, COLOR_ENCODING, FRAME, FULL_IMAGE = 0x40, 0x100, 0x400, 0x1000
TARGET_DATA = 1  # JXL_COLOR_PROFILE_TARGET_DATA: what the decoded samples are in
EFFORT = 0  # JXL_ENC_FRAME_SETTING_EFFORT

_POINTER, _BYTES = c_void_p, ctypes.c_char_p
_SIGNATURES = {
    "JxlDecoderCreate": (_POINTER, _POINTER),
    "JxlDecoderDestroy": (None, _POINTER),
    "JxlDecoderSubscribeEvents": (c_int, _POINTER, c_int),
    "JxlDecoderSetKeepOrientation": (c_int, _POINTER, c_int),
    "JxlDecoderSetUnpremultiplyAlpha": (c_int, _POINTER, c_int),
    "JxlDecoderSetCoalescing": (c_int, _POINTER, c_int),
    "JxlDecoderSetInput": (c_int, _POINTER, _BYTES, c_size_t),
    "JxlDecoderProcessInput": (c_int, _POINTER),
    "JxlDecoderGetBasicInfo": (c_int, _POINTER, POINTER(BasicInfo)),
    "JxlDecoderGetFrameHeader": (c_int, _POINTER, POINTER(FrameHeader)),
    "JxlDecoderGetColorAsEncodedProfile": (c_int, _POINTER, c_int, POINTER(ColorEncoding)),
    "JxlDecoderGetICCProfileSize": (c_int, _POINTER, c_int, POINTER(c_size_t)),
    "JxlDecoderGetColorAsICCProfile": (c_int, _POINTER, c_int, _POINTER, c_size_t),
    "JxlDecoderImageOutBufferSize": (c_int, _POINTER, POINTER(PixelFormat), POINTER(c_size_t)),
    "JxlDecoderSetImageOutBuffer": (c_int, _POINTER, POINTER(PixelFormat), _POINTER, c_size_t),
    "JxlDecoderFlushImage": (c_int, _POINTER),
    "JxlEncoderCreate": (_POINTER, _POINTER),
    "JxlEncoderDestroy": (None, _POINTER),
    "JxlEncoderInitBasicInfo": (None, POINTER(BasicInfo)),
    "JxlEncoderSetBasicInfo": (c_int, _POINTER, POINTER(BasicInfo)),
    "JxlEncoderGetRequiredCodestreamLevel": (c_int, _POINTER),
    "JxlEncoderSetCodestreamLevel": (c_int, _POINTER, c_int),
    "JxlColorEncodingSetToSRGB": (None, POINTER(ColorEncoding), c_int),
    "JxlEncoderSetColorEncoding": (c_int, _POINTER, POINTER(ColorEncoding)),
    "JxlEncoderSetICCProfile": (c_int, _POINTER, _BYTES, c_size_t),
    "JxlEncoderUseBoxes": (c_int, _POINTER),
    "JxlEncoderAddBox": (c_int, _POINTER, _BYTES, _BYTES, c_size_t, c_int),
    "JxlEncoderCloseBoxes": (None, _POINTER),
    "JxlEncoderFrameSettingsCreate": (_POINTER, _POINTER, _POINTER),
    "JxlEncoderFrameSettingsSetOption": (c_int, _POINTER, c_int, c_int64),
    "JxlEncoderSetFrameLossless": (c_int, _POINTER, c_int),
    "JxlEncoderSetFrameDistance": (c_int, _POINTER, c_float),
    "JxlEncoderDistanceFromQuality": (c_float, c_float),
    "JxlEncoderAddImageFrame": (c_int, _POINTER, POINTER(PixelFormat), _POINTER, c_size_t),
    "JxlEncoderCloseInput": (None, _POINTER),
    "JxlEncoderProcessOutput": (c_int, _POINTER, POINTER(_POINTER), POINTER(c_size_t)),
}


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library with the signatures of what is called here."""
    imagecodecs.jpegxl_check(b"")  # loads the module, which is linked with it; symbols are looked for there too
    from imagecodecs import _jpegxl

    found = ctypes.CDLL(_jpegxl.__file__)
    for name, (result, *arguments) in _SIGNATURES.items():
        try:
            function = getattr(found, name)
        except AttributeError:  # a module that keeps its functions to itself, as those for Windows may
            raise UnsupportedFormat("JPEG XL cannot be read or written on this system. Use PNG.") from None
        function.restype, function.argtypes = result, arguments
    return found
