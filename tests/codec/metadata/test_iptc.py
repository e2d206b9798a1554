"""IPTC: data sets are selected by number and kept unchanged in every format that supports them."""

import struct
from typing import Any

import pytest

from app.codec.metadata import iptc
from app.codec.metadata.directories import Unreadable
from tests.codec.metadata.sources import (
    CAPTION,
    IPTC,
    IPTC_KEPT,
    KEYWORDS,
    data_set,
    jpeg,
    png,
    raw_profile,
    resources,
    segment,
    tiff,
)
from tests.codec.support import codec, upscaled, wanted

SOURCES = {
    "JPEG": jpeg(segment(0xED, b"Photoshop 3.0\0" + resources(IPTC))),
    "JPEG, in two segments": jpeg(
        segment(0xED, b"Photoshop 3.0\0" + resources(IPTC)[:60]),
        segment(0xED, b"Photoshop 3.0\0" + resources(IPTC)[60:]),
    ),
    "TIFF": tiff(iptc=IPTC),
    "TIFF, big-endian": tiff(">", iptc=IPTC),
    "BigTIFF": tiff(bigtiff=True, iptc=IPTC),
    "TIFF, in resources": tiff(resources=resources(IPTC)),
    "PNG, as ImageMagick writes it": png(raw_profile("8bim", resources(IPTC))),
    "PNG, bare": png(raw_profile("iptc", IPTC)),
}


@pytest.mark.parametrize("target", ["png", "jpeg", "tiff"])
@pytest.mark.parametrize("data", SOURCES.values(), ids=SOURCES)
def test_iptc_is_kept_without_locations_and_keywords(data: bytes, target: Any) -> None:
    _, kept = upscaled(data, 2, metadata="keep", encode=wanted(format=target))
    _, everything = upscaled(data, 2, metadata="all", encode=wanted(format=target))
    _, dropped = upscaled(data, 2, encode=wanted(format=target))
    found = [codec().decode(made.body, wanted(metadata="all")).metadata.iptc for made in (kept, everything, dropped)]
    assert found == [IPTC_KEPT, IPTC, None]
    if target != "png":
        assert IPTC_KEPT in kept.body
        assert b"SECRET" not in kept.body
        assert IPTC in everything.body


@pytest.mark.parametrize("target", ["webp", "avif", "jxl"])
def test_iptc_is_reported_as_dropped_by_formats_without_it(target: Any) -> None:
    service, options = codec(), wanted(2, format=target, metadata="keep")
    decoded = service.decode(SOURCES["JPEG"], options)
    assert service.left_out(decoded, 2, options) == (f"iptc dropped (no place in {target})",)


def test_previews_and_records_about_the_file_are_dropped() -> None:
    caption = data_set(CAPTION, b"Dunes")
    stale = data_set(20, b"\0\x10", record=3) + data_set(10, b"x", record=8) + data_set(202, b"preview")
    assert iptc.kept(stale + caption, "all") == caption
    assert iptc.kept(stale + data_set(0, b"\0\4"), "all") is None
    assert iptc.kept(data_set(KEYWORDS, b"SECRET"), "keep") is None


def test_extended_lengths_are_read() -> None:
    long = struct.pack(">BBBHI", 0x1C, 2, CAPTION, 0x8004, 40_000) + bytes(40_000)
    assert iptc.kept(long, "keep") == long
    with pytest.raises(Unreadable):
        iptc.kept(long[:-1], "keep")
    with pytest.raises(Unreadable):
        iptc.kept(struct.pack(">BBBH", 0x1C, 2, CAPTION, 0xFFFF) + bytes(100), "keep")


def test_a_block_that_is_cut_short_is_kept_up_to_the_cut() -> None:
    assert iptc.kept(IPTC + data_set(CAPTION, b"Dunes")[:-1], "all") == IPTC


@pytest.mark.parametrize("data", [b"\0", b"garbage", b"\x1c\2\x78\0\xff"])
def test_malformed_iptc_is_reported_as_unreadable(data: bytes) -> None:
    source = png(raw_profile("iptc", data))
    assert codec().decode(source, wanted(metadata="keep")).metadata.dropped == ("iptc dropped (unreadable)",)


@pytest.mark.parametrize("data", [b"", b"8BIM", b"8BIM\4\4\0\0\0\0", resources(b"")[:-12] * 5000, b"8BIM\0\1\xff"])
def test_image_resources_without_iptc_give_none(data: bytes) -> None:
    assert not iptc.from_resources(data)


def test_too_much_iptc_is_reported_as_too_large() -> None:
    source = tiff(iptc=data_set(CAPTION, bytes(30_000)) * 40)
    decoded = codec().decode(source, wanted(metadata="all"))
    assert decoded.metadata.iptc is None
    assert decoded.metadata.dropped == ("iptc dropped (too large)",)
