"""Messages between the service and its decoders: what went in comes out, and what makes no sense is refused."""

import json

import numpy as np
import pytest

from app.codec import decoder_protocol
from app.codec.raster import Raster
from app.codec.types import Metadata

METADATA = Metadata(
    icc=b"icc", srgb=True, exif=b"", xmp=b"xmp", iptc=b"iptc", dpi=(72.0, 300.5), dropped=("exif dropped (unreadable)",)
)


def _sent(metadata: Metadata, **changes: object) -> Raster:
    """What the service makes of an answer with these fields changed on the way."""
    raster = Raster((np.zeros((2, 3, 1), np.uint8),), "PNG", metadata)
    head, *blobs = (bytes(part) for part in decoder_protocol.answer(raster))
    fields = json.loads(head[decoder_protocol.PREFIX_SIZE :]) | changes
    return decoder_protocol.parsed_answer(json.dumps(fields).encode(), memoryview(b"".join(blobs)))


@pytest.mark.parametrize("metadata", [METADATA, Metadata()])
def test_metadata_comes_through(metadata: Metadata) -> None:
    assert _sent(metadata).metadata == metadata


@pytest.mark.parametrize("note", ["a\r\nSet-Cookie: b", "a\0", "ä", "a\u2028b"])
def test_a_note_that_is_no_text_for_a_header_is_refused(note: str) -> None:
    with pytest.raises(ValueError, match="is no note"):
        _sent(METADATA, dropped=[note])
