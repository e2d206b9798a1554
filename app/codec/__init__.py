"""Bytes of picture files to planes and back; knows nothing of HTTP, of the network or of torch."""

from app.codec.codec import Codec
from app.codec.footprint import footprint
from app.codec.formulas import Formulas
from app.codec.priority import give_way
from app.codec.stream_encoder import StreamEncoder
from app.codec.types import (
    Decoded,
    DecodeLimits,
    Encoded,
    Finding,
    Metadata,
    Picture,
    Plane,
    Samples,
)

__all__ = [
    "Codec",
    "DecodeLimits",
    "Decoded",
    "Encoded",
    "Finding",
    "Formulas",
    "Metadata",
    "Picture",
    "Plane",
    "Samples",
    "StreamEncoder",
    "footprint",
    "give_way",
]
