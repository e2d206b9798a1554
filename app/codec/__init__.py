"""Bytes of picture files to planes and back; knows nothing of HTTP, of the network or of torch."""

from app.codec.codec import Codec
from app.codec.encoding import Encoding
from app.codec.formulas import Formulas
from app.codec.priority import give_way
from app.codec.types import (
    INPUT_FORMATS,
    Decoded,
    DecodeOptions,
    Encoded,
    EncodeOptions,
    Limits,
    Metadata,
    Picture,
    Plane,
    Samples,
)

__all__ = [
    "INPUT_FORMATS",
    "Codec",
    "DecodeOptions",
    "Decoded",
    "EncodeOptions",
    "Encoded",
    "Encoding",
    "Formulas",
    "Limits",
    "Metadata",
    "Picture",
    "Plane",
    "Samples",
    "give_way",
]
