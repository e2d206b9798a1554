"""Messages to and from a decoder process arrive unchanged."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import errors
from app.codec import DecodeLimits, decoder_answer, decoder_protocol
from app.codec.decoder_protocol import PREFIX_SIZE, Part
from app.codec.raster import Raster
from app.codec.types import Finding, Metadata, Samples
from app.options import UpscaleOptions

OPTIONS = st.builds(UpscaleOptions, clean=st.just("auto") | st.floats(0, 1))
LIMITS = st.from_type(DecodeLimits)
RESOLUTIONS = st.floats(0, 1e6, exclude_min=True, exclude_max=True)
PACKETS = st.binary().map(lambda packet: packet.replace(b"\0", b""))  # invalid placeholders would be refused
METADATA = st.builds(
    Metadata,
    icc=st.none() | st.binary(),
    srgb=st.booleans(),
    cicp=st.none() | st.tuples(st.integers(0, 255), st.integers(0, 255)),
    mastering=st.none() | st.tuples(*[st.integers(0, 2**16 - 1)] * 8, *[st.integers(0, 2**32 - 1)] * 2),
    light=st.none() | st.tuples(*[st.integers(0, 2**32 - 1)] * 2),
    exif=st.none(),  # EXIF that Pillow cannot read is refused
    xmp=st.none() | PACKETS,
    iptc=st.none() | st.binary(),
    dropped=st.lists(st.from_regex(r"[ -~]{1,40}", fullmatch=True), max_size=3).map(tuple),
    dpi=st.none() | st.tuples(RESOLUTIONS, RESOLUTIONS),
)
REFUSALS = (
    errors.BadParameter,
    errors.TooManyBytes,
    errors.TooManyPixels,
    errors.UndecodablePicture,
    errors.UnsupportedFormat,
)


@st.composite
def rasters(draw: st.DrawFn) -> Raster:
    """Rasters with frames of one shape and dtype, some of them not contiguous."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)))
    dtype: np.dtype[Any] = np.dtype(draw(st.sampled_from(["uint8", "uint16"])))
    mirrored = draw(st.booleans())
    size = int(np.prod(shape)) * dtype.itemsize

    def frame(data: bytes) -> Samples:
        samples: Samples = np.frombuffer(data, dtype).reshape(shape)
        return samples[:, ::-1] if mirrored else samples

    return Raster(
        frames=tuple(
            frame(data) for data in draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=4))
        ),
        format=draw(st.text()),
        metadata=draw(METADATA),
        durations_ms=tuple(draw(st.lists(st.integers(0, 2**31)))),
        loop=draw(st.integers(0, 2**16)),
        truncated=draw(st.booleans()),
        compression=draw(
            st.none() | st.builds(Finding, st.sampled_from(["jpeg", "webp", "avif"]), st.integers(0, 100))
        ),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def received(parts: Sequence[Part]) -> tuple[bytes, bytes]:
    """The header and the rest, as the other side reads them from its pipe."""
    sent = b"".join(parts)
    end = PREFIX_SIZE + decoder_protocol.header_size(sent[:PREFIX_SIZE])
    return sent[PREFIX_SIZE:end], sent[end:]


@given(data=st.binary(), options=OPTIONS, limits=LIMITS)
def test_a_request_can_be_read_back(data: bytes, options: UpscaleOptions, limits: DecodeLimits) -> None:
    header, file = received(decoder_protocol.request(data, options, limits))
    assert (*decoder_protocol.parsed_request(header), file) == (len(data), options, limits, data)


@given(sent=rasters())
def test_an_answer_can_be_read_back(sent: Raster) -> None:
    header, blobs = received(decoder_protocol.answer(sent))
    samples = decoder_answer.parsed_answer(header)
    assert samples.total_bytes == len(blobs)
    found = samples.raster(memoryview(blobs))
    for field in ("format", "metadata", "durations_ms", "loop", "truncated", "compression", "depth"):
        assert getattr(found, field) == getattr(sent, field)
    assert [frame.dtype for frame in found.frames] == [frame.dtype for frame in sent.frames]
    for arrived, frame in zip(found.frames, sent.frames, strict=True):
        np.testing.assert_array_equal(arrived, frame)


@pytest.mark.parametrize("kind", REFUSALS)
@given(text=st.text(max_size=decoder_protocol.MAX_TEXT))
def test_a_refusal_can_be_read_back(kind: type[errors.ClientError], text: str) -> None:
    header, blobs = received(decoder_protocol.refusal(kind(text)))
    with pytest.raises(errors.ClientError) as refusal:
        decoder_answer.parsed_answer(header)
    assert (type(refusal.value), str(refusal.value), blobs) == (kind, text, b"")


def test_an_error_class_that_decoders_do_not_raise_becomes_undecodable_picture() -> None:
    header, _ = received(decoder_protocol.refusal(errors.Forbidden("no")))
    with pytest.raises(errors.UndecodablePicture, match=r"^no$"):
        decoder_answer.parsed_answer(header)


@settings(max_examples=300)
@given(sent=rasters(), data=st.data())
def test_a_malformed_answer_raises_at_most_a_value_error(sent: Raster, data: st.DataObject) -> None:
    """As from a decoder that a hostile file has taken over: one field holds arbitrary JSON."""
    header, blobs = received(decoder_protocol.answer(sent))
    fields = json.loads(header)
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(JSON)
    with contextlib.suppress(ValueError):
        samples = decoder_answer.parsed_answer(json.dumps(fields).encode())
        if samples.total_bytes == len(blobs):
            assert samples.raster(memoryview(blobs)).frames
