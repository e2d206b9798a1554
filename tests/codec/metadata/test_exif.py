"""EXIF: tags are selected and kept unchanged in either byte order; those that depend on the size are recomputed."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from app.codec.metadata import exif
from app.codec.metadata.directories import (
    ASCII,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Entry,
    Structure,
    Unreadable,
    packed,
    rational,
)
from tests.codec.metadata.sources import exif as made
from tests.codec.metadata.sources import exif_block

Row = tuple[int, int, int, bytes]
"""Tag, type, count, and the four bytes of the value or offset."""


def block(order: str, rows: Sequence[Row], rest: bytes = b"") -> bytes:
    """A TIFF structure of one directory, followed by `rest`."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    body = b"".join(struct.pack(order + "HHI", tag, kind, count) + value for tag, kind, count, value in rows)
    return head + struct.pack(order + "H", len(rows)) + body + bytes(4) + rest


def result(data: bytes, choice: Any = "keep", *, srgb: bool = False, quarter: bool = False) -> Image.Exif:
    """The EXIF, as read by Pillow, of a result twice as large, of 40 x 60 pixels."""
    kept = exif.read(data, choice).kept
    written = exif.block(exif.scaled(exif.turned(kept) if quarter else kept, 2, 40, 60, srgb))
    image = Image.Exif()
    image.load(written or b"")
    return image


def test_keep_drops_location_owner_and_maker_note_and_all_drops_the_maker_note() -> None:
    data = exif_block(made(6, HostComputer="SECRET", XPKeywords=b"S\0E\0C\0", ImageDescription="Dunes"))
    kept, everything = result(data), result(data, "all")
    assert dict(kept) == {Base.Artist: "A. Painter", Base.ImageDescription: "Dunes", IFD.Exif: kept[IFD.Exif]}
    assert kept.get_ifd(IFD.Exif) == {Base.LensModel: "50mm"}
    assert everything[Base.HostComputer] == "SECRET"
    assert everything.get_ifd(IFD.Exif) == {Base.LensModel: "50mm", Base.CameraOwnerName: "SECRET owner"}
    assert everything.get_ifd(IFD.GPSInfo) == {GPS.GPSMapDatum: "SECRET"}
    assert exif.read(data, "drop") == exif.Exif({}, 6, True)


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_are_kept_unchanged(order: str) -> None:
    """Text that is not ASCII, untyped bytes, and numbers in either byte order."""
    text = "© Ä. Maler".encode()
    source = made(Rating=4)
    source.endian = order
    source[Base.Artist] = text
    source.get_ifd(IFD.Exif).update({Base.ExifVersion: b"0232", Base.FNumber: IFDRational(14, 5)})
    data = exif_block(source)
    assert data[:2] == (b"II" if order == "<" else b"MM")
    found = exif.read(data, "keep")
    assert found.sound
    assert found.kept[Base.Artist] == Entry(ASCII, len(text) + 1, text + b"\0")
    assert found.kept[Base.Rating] == Entry(SHORT, 1, b"\4\0")
    assert found.kept[IFD.Exif] == {
        Base.LensModel: Entry(ASCII, 5, b"50mm\0"),
        Base.ExifVersion: Entry(UNDEFINED, 4, b"0232"),
        Base.FNumber: Entry(RATIONAL, 1, struct.pack("<II", 14, 5)),
    }
    assert exif.read(exif.block(found.kept) or b"", "keep") == found


def test_kept_text_ends_at_its_terminator() -> None:
    """A damaged length must not make a value include the location after it."""
    rest = b"A. Painter\0SECRET\0photographer\0editor\0SECRET"
    rows = [(Base.Artist, 2, 18, struct.pack("<I", 38)), (Base.Copyright, 2, 26, struct.pack("<I", 56))]
    kept = exif.read(block("<", rows, rest), "keep").kept
    assert kept == {Base.Artist: Entry(2, 11, b"A. Painter\0"), Base.Copyright: Entry(2, 20, b"photographer\0editor\0")}


def test_an_empty_directory_is_not_written() -> None:
    only_position = Image.Exif()
    only_position.get_ifd(IFD.GPSInfo)[GPS.GPSMapDatum] = "SECRET"
    assert exif.block(exif.read(exif_block(only_position), "keep").kept) is None


@pytest.mark.parametrize("choice", ["keep", "all"])
def test_a_pointer_is_kept_or_dropped_with_its_directory(choice: str) -> None:
    source = made()
    source.get_ifd(IFD.Exif)[IFD.Interop] = {1: "R98\0", 2: b"0100", 4097: 12}
    details = result(exif_block(source), choice).get_ifd(IFD.Exif)
    assert (IFD.Interop in details) == (choice == "all")
    if choice == "all":
        image = result(exif_block(source), choice)
        assert set(image.get_ifd(IFD.Interop)) == {1, 2}
        assert IFD.Interop not in result(exif_block(source), choice, srgb=True).get_ifd(IFD.Exif)


def _sized(**details: Any) -> bytes:
    source = made(XResolution=300.0, YResolution=200.0, ResolutionUnit=2)
    inner = source.get_ifd(IFD.Exif)
    inner |= {Base[name]: value for name, value in details.items()}
    return exif_block(source)


def test_sizes_and_resolutions_are_those_of_the_result() -> None:
    data = _sized(ExifImageWidth=30, ExifImageHeight=20, FocalPlaneXResolution=1000.0, FocalPlaneYResolution=500)
    image = result(data)
    details = image.get_ifd(IFD.Exif)
    assert (image[Base.XResolution], image[Base.YResolution], image[Base.ResolutionUnit]) == (600, 400, 2)
    assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == (60, 40)
    assert (details[Base.FocalPlaneXResolution], details[Base.FocalPlaneYResolution]) == (2000, 1000)
    turned = result(data, quarter=True)
    assert (turned[Base.XResolution], turned[Base.YResolution]) == (400, 600)
    assert turned.get_ifd(IFD.Exif)[Base.FocalPlaneXResolution] == 1000


def test_the_colour_space_is_srgb_after_a_conversion() -> None:
    data = _sized(ColorSpace=65535, Gamma=2.2)
    assert result(data).get_ifd(IFD.Exif)[Base.ColorSpace] == 65535
    converted = result(data, srgb=True).get_ifd(IFD.Exif)
    assert converted[Base.ColorSpace] == 1
    assert Base.Gamma not in converted


@pytest.mark.parametrize("value", [b"\0" * 8, struct.pack("<II", 72, 0)], ids=["0/0", "72/0"])
def test_a_meaningless_resolution_is_dropped(value: bytes) -> None:
    data = block("<", [(Base.XResolution, 5, 1, struct.pack("<I", 26))], value)
    assert dict(result(data)) == {}
    text = block("<", [(Base.XResolution, 2, 4, b"abc\0")])
    assert dict(result(text)) == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(300), (300, 1)),
        (Fraction(2000, 3), (2000, 3)),
        (Fraction(2**40), (2**32 - 1, 1)),
        (Fraction(2**40 + 1, 2**9), (2**31, 1)),
        (Fraction(2**33, 2**33 - 1), (1, 1)),
    ],
)
def test_a_rational_is_fitted_into_two_numbers_of_32_bits(value: Fraction, expected: tuple[int, int]) -> None:
    assert struct.unpack("<II", rational(value).value) == expected


@pytest.mark.parametrize(
    ("unit", "expected"), [(2, (300.0, 200.0)), (3, (762.0, 508.0)), (None, (300.0, 200.0)), (1, None)]
)
def test_resolution_is_read_in_dots_per_inch(unit: int | None, expected: tuple[float, float] | None) -> None:
    source = made(XResolution=300.0, YResolution=200.0)
    if unit is not None:
        source[Base.ResolutionUnit] = unit
    assert exif.dpi(exif.read(exif_block(source), "keep").kept) == expected


@pytest.mark.parametrize("text", ['{"shape": [8, 12, 3]}', "ImageJ=1.11a\nimages=10"])
def test_a_description_of_the_layout_of_the_file_is_dropped(text: str) -> None:
    assert Base.ImageDescription not in result(exif_block(made(ImageDescription=text)), "all")


@pytest.mark.parametrize("kind", [4, 9, 13])
def test_a_pointer_may_have_any_integer_type(kind: int) -> None:
    """LONG, SLONG (written by geotagging programs) and IFD."""
    rest = block("<", [(GPS.GPSMapDatum, 2, 4, b"WGS\0")])[8:]
    found = exif.read(block("<", [(IFD.GPSInfo, kind, 1, struct.pack("<I", 26))], rest), "all")
    assert (found.kept, found.sound) == ({IFD.GPSInfo: {GPS.GPSMapDatum: Entry(ASCII, 4, b"WGS\0")}}, True)


POINTER = struct.pack("<I", 0xFFFFFF)
DAMAGED: dict[str, bytes] = {
    "a directory elsewhere": block("<", [(IFD.Exif, LONG, 1, POINTER), (Base.Rating, SHORT, 1, b"\4\0\0\0")]),
    "a value elsewhere": block("<", [(Base.Artist, 2, 9, POINTER), (Base.Rating, SHORT, 1, b"\4\0\0\0")]),
    "more entries than there are": block("<", [(Base.Rating, SHORT, 1, b"\4\0\0\0")]).replace(b"\1\0FG", b"\xff\0FG"),
    "a pointer that is text": block("<", [(Base.Rating, SHORT, 1, b"\4\0\0\0"), (IFD.Exif, 2, 4, b"abc\0")]),
    "a negative pointer": block("<", [(Base.Rating, SHORT, 1, b"\4\0\0\0"), (IFD.Exif, 9, 1, b"\xfb\xff\xff\xff")]),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_the_readable_part_of_a_damaged_block_is_kept(data: bytes) -> None:
    found = exif.read(data, "all")
    assert found.kept[Base.Rating] == Entry(SHORT, 1, b"\4\0")
    assert not found.sound


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"II*\0", b"II*\0\xff\xff\0\0", b"II+\0\x08\0\0\0", b"MM\0*\0\0\0\0"]
)
def test_a_block_without_tiff_structure_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        exif.read(data, "keep")


def test_overlapping_values_are_limited_to_the_length_of_the_block() -> None:
    """A small block must not expand to gigabytes."""
    rows = [(Base.XPTitle + number, 1, 60_000, struct.pack("<I", 8)) for number in range(100)]
    data = block("<", rows, bytes(60_000))
    found = exif.read(data, "all")
    assert sum(len(entry.value) for entry in found.kept.values() if isinstance(entry, Entry)) <= len(data)
    assert not found.sound


def test_other_tags_are_removed_from_a_file_in_place() -> None:
    rows = [(tag, SHORT, 1, struct.pack("<HH", tag, 0)) for tag in (256, 274, 700, 257)]
    data = block("<", rows, b"rest")
    plain = Structure(data).only({256, 257})
    assert Structure(plain).directory(8, lambda _: True) == {
        256: Entry(SHORT, 1, struct.pack("<H", 256)),
        257: Entry(SHORT, 1, struct.pack("<H", 257)),
    }
    assert len(plain) == len(data)
    assert plain.endswith(b"rest")
    assert Structure(data).only({256, 257, 274, 700}) == data


@pytest.mark.parametrize("at", [8, 100])
def test_a_directory_is_written_for_its_later_offset(at: int) -> None:
    inner: dict[int, Entry | Any] = {1: Entry(2, 6, b"hello\0")}
    body = packed({IFD.Exif: inner, 2: Entry(1, 5, b"abcde")}, at)
    data = b"II*\0" + struct.pack("<I", at) + bytes(at - 8) + body
    structure = Structure(data)
    main = structure.directory(at, lambda _: True)
    assert main[2] == Entry(1, 5, b"abcde")
    assert structure.directory(main[IFD.Exif].whole_number() or 0, lambda _: True) == inner
