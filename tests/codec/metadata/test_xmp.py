"""XMP: only listed properties are kept, outdated ones dropped, sizes updated, and the work is linear in the size."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from app.codec.metadata import xmp as module
from app.codec.metadata import xmp_packet
from app.codec.metadata.directories import Unreadable
from tests.codec.metadata.sources import NAMESPACES, RDF, xmp

SECRET = "SECRET"


def kept(packet: str | bytes, choice: Any = "keep", orientation: int = 1, *, scale: int = 2, srgb: bool = False) -> str:
    """The packet of a result of 40 x 60 pixels; empty if nothing is kept."""
    data = packet.encode() if isinstance(packet, str) else packet
    opened = xmp_packet.packet(module.read(data, choice, orientation).lines)
    return "" if opened is None else xmp_packet.filled(opened, scale, 40, 60, srgb).decode()


ATTRIBUTES = [
    'drone-dji:GpsLatitude="+12.3SECRET"',
    'drone-dji:GPSLatitude="12.3SECRET"',
    'drone-dji:GpsLongtitude="12.3SECRET"',  # the spelling of the first models
    'drone-skydio:Latitude="12.3SECRET"',
    'photoshop:City="SECRET"',
    'photoshop:State="SECRET"',
    'photoshop:Country="SECRET"',
    'Iptc4xmpCore:Location="SECRET"',
    'Iptc4xmpCore:CountryCode="SECRET"',
    'exif:GPSLatitude="12,34.5SECRET"',
    'exif:UserComment="SECRET"',
    'dc:coverage="SECRET"',
    'lr:weightedFlatSubject="SECRET"',
]
ELEMENTS = [
    "<drone-dji:GpsLatitude>SECRET</drone-dji:GpsLatitude>",
    "<dc:subject><rdf:Bag><rdf:li>SECRET</rdf:li></rdf:Bag></dc:subject>",
    '<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li Iptc4xmpExt:City="SECRET"/></rdf:Bag></Iptc4xmpExt:LocationShown>',
    '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:Name>SECRET</mwg-rs:Name></mwg-rs:Regions>',
    '<dc:title photoshop:City="SECRET">Dunes</dc:title>',
    "<dc:title><rdf:Description><photoshop:City>SECRET</photoshop:City></rdf:Description></dc:title>",
    '<place xmlns="http://ns.adobe.com/photoshop/1.0/">SECRET</place>',
    '<a:City xmlns:a="http://ns.adobe.com/photoshop/1.0/">SECRET</a:City>',
    '<dc:City xmlns:dc="http://ns.adobe.com/photoshop/1.0/">SECRET</dc:City>',
    "<tiff:Orientation><photoshop:City>SECRET</photoshop:City></tiff:Orientation>",
    "<unbound:City>SECRET</unbound:City>",
    "<!-- SECRET --><?SECRET?><dc:title><!-- SECRET --></dc:title>",
]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_metadata_keep_drops_attributes_that_are_not_on_the_list(attribute: str) -> None:
    packet = xmp(f'dc:title="Dunes" {attribute}')
    assert SECRET in packet
    assert SECRET not in kept(packet)
    assert 'dc:title="Dunes"' in kept(packet)
    assert SECRET in kept(packet, "all")


@pytest.mark.parametrize("element", ELEMENTS)
def test_metadata_keep_drops_elements_that_are_not_on_the_list(element: str) -> None:
    packet = xmp('dc:rights="mine"', element)
    assert SECRET not in kept(packet)
    assert 'dc:rights="mine"' in kept(packet)


CODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("coding", CODINGS)
def test_a_packet_in_any_unicode_encoding_is_read(coding: str) -> None:
    packet = xmp('dc:title="Dünen" photoshop:City="SECRET"')
    for data in (packet.encode(coding), packet[packet.index("<x:") :].encode(coding)):
        assert 'dc:title="Dünen"' in kept(data)
        assert SECRET not in kept(data)


def test_properties_are_identified_by_namespace_not_by_prefix() -> None:
    other = {"a": NAMESPACES["dc"], "rdfs": NAMESPACES["photoshop"]}
    packet = xmp('a:title="Dunes" rdfs:City="SECRET"', "<a:rights>mine</a:rights>", other)
    result = kept(packet.replace("rdf:", "r:").replace("xmlns:rdf=", "xmlns:r="))
    assert 'a:title="Dunes"' in result
    assert "<a:rights>mine</a:rights>" in result
    assert f'xmlns:a="{NAMESPACES["dc"]}"' in result
    assert SECRET not in result


def test_packets_without_a_wrapper_or_namespaces_are_read() -> None:
    bare = f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description dc:title="Dunes" photoshop:City="SECRET"/></rdf:RDF>'
    assert 'dc:title="Dunes"' in kept(bare)
    assert f'xmlns:dc="{NAMESPACES["dc"]}"' in kept(bare)
    assert SECRET not in kept(bare)
    assert 'dc:title="Dunes"' in kept(bare.replace(f' xmlns:rdf="{RDF}"', "") + "\0\0 rubbish <")


def test_structure_languages_and_special_characters_are_kept() -> None:
    title = '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A &lt;b&gt; &amp; "c"&#10;d</rdf:li></rdf:Alt></dc:title>'
    assert (
        '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A &lt;b&gt; &amp; &quot;c&quot;&#10;d</rdf:li></rdf:Alt>'
        "</dc:title>"
    ) in kept(xmp("", title))
    assert 'dc:title="a&quot;b&#10;c"' in kept(xmp("dc:title='a\"b&#10;c'"))


def test_empty_properties_are_dropped() -> None:
    assert kept(xmp("", "<dc:title/><dc:creator><rdf:Seq/></dc:creator>")) == ""
    assert kept(xmp('photoshop:City="SECRET"')) == ""


STALE = [
    'GCamera:MotionPhoto="1" GCamera:MicroVideo="1"',
    'hdrgm:Version="1.0"',
    'GPano:FullPanoWidthPixels="100"',
    'dc:format="image/jpeg"',
    'tiff:Compression="6"',
    'xmpNote:HasExtendedXMP="00"',
    'exif:SubjectArea="1"',
    'photoshop:ICCProfile="Adobe RGB"',
]


@pytest.mark.parametrize("choice", ["keep", "all"])
@pytest.mark.parametrize("attribute", STALE)
def test_properties_that_the_result_makes_untrue_are_dropped(attribute: str, choice: str) -> None:
    assert kept(xmp(attribute), choice) == ""


@pytest.mark.parametrize("choice", ["keep", "all"])
def test_sizes_and_resolution_are_those_of_the_result(choice: str) -> None:
    attributes = (
        'tiff:ImageWidth="30" tiff:ImageLength="20" exif:PixelXDimension="30" exif:PixelYDimension="20" '
        'tiff:XResolution="300/1" exif:FocalPlaneXResolution="2000/3"'
    )
    result = kept(xmp(attributes, "<tiff:YResolution> 200 </tiff:YResolution>"), choice)
    for pair in (
        'tiff:ImageWidth="60"',
        'tiff:ImageLength="40"',
        'exif:PixelXDimension="60"',
        'exif:PixelYDimension="40"',
        'tiff:XResolution="600/1"',
        'exif:FocalPlaneXResolution="4000/3"',
        "<tiff:YResolution>400/1</tiff:YResolution>",
    ):
        assert pair in result


@pytest.mark.parametrize("value", ["", "0", "1/0", "-3", "x", "1e9", "1/2/3", "9" * 11, "٣"])
def test_a_meaningless_resolution_is_dropped(value: str) -> None:
    attribute, element = f'tiff:XResolution="{value}"', f"<tiff:YResolution>{value}</tiff:YResolution>"
    assert kept(xmp(attribute, element)) == ""


def test_resolutions_are_swapped_if_the_picture_is_turned() -> None:
    packet = xmp('tiff:XResolution="300/1" tiff:YResolution="200/1" tiff:Orientation="6"')
    result = kept(packet, orientation=6)
    assert 'tiff:YResolution="600/1"' in result
    assert 'tiff:XResolution="400/1"' in result
    assert 'tiff:Orientation="1"' in result
    assert module.read(packet.encode(), "drop", 1).orientation == 6


def test_the_colour_space_is_srgb_after_a_conversion() -> None:
    packet = xmp('exif:ColorSpace="65535"')
    assert 'exif:ColorSpace="65535"' in kept(packet)
    assert 'exif:ColorSpace="1"' in kept(packet, srgb=True)


def test_metadata_all_keeps_regions_with_the_new_size_unless_the_picture_is_turned() -> None:
    regions = (
        '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="30" stDim:h="20" '
        'stDim:unit="pixel"/></mwg-rs:Regions>'
    )
    assert 'stDim:w="60" stDim:h="40" stDim:unit="pixel"' in kept(xmp("", regions), "all")
    assert kept(xmp("", regions), "all", orientation=2) == ""


REFUSED = {
    "a document type": f'<!DOCTYPE a [<!ENTITY b "c">]><rdf:RDF xmlns:rdf="{RDF}"/>',
    "no XML": "<rdf:RDF",
    "no RDF": "<x>hidden GPS 52,31N in words</x>",
    "words": "hello",
    "nothing": "",
    "too deep": "<a>" * 70 + "</a>" * 70,
    "a zero byte": xmp('dc:title="a\0W\0"'),
    "no unicode": b"<rdf:RDF>\xff\xfe\xfa",
}


@pytest.mark.parametrize("packet", REFUSED.values(), ids=REFUSED)
def test_a_packet_that_is_not_xmp_is_unreadable(packet: str | bytes) -> None:
    with pytest.raises(Unreadable):
        kept(packet)


def test_bytes_and_elements_are_limited() -> None:
    whole = xmp("", f"<dc:title>{'a' * (1 << 20)}</dc:title>")
    with pytest.raises(module.TooLarge, match="at most 1,048,576"):
        kept(whole)
    with pytest.raises(module.TooLarge, match="more than 50,000"):
        kept(xmp("", "<a/>" * 50_000))
    with pytest.raises(module.TooLarge, match="namespace declarations"):
        kept(f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description xmlns:a="{"u" * 9000}" {_many(900)}/></rdf:RDF>', "all")


def _many(count: int) -> str:
    return " ".join(f'a:b{number}="c"' for number in range(count))


ATTACKS: dict[str, Callable[[int], str]] = {
    "elements": lambda count: xmp("", "<a/>" * count),
    "properties": lambda count: xmp("", "<dc:title>a</dc:title>" * count),
    "attributes": lambda count: xmp(_many(count)),
    "attributes of known names": lambda count: xmp("", "<rdf:li/>" * count) + _many(count),
    "namespaces": lambda count: xmp(" ".join(f'xmlns:a{number}="u"' for number in range(count))),
    "namespaces in one property": lambda count: xmp(
        "", "<lr:p>" + "".join(f'<a:b xmlns:a="u{number}">x</a:b>' for number in range(count)) + "</lr:p>"
    ),
}


def _calls(packet: str) -> int:
    """The number of calls of Python and C functions needed to read a packet."""
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        module.read(packet.encode(), "all", 1)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_work_is_linear_in_the_size_of_the_packet(attack: Callable[[int], str]) -> None:
    small, large = (_calls(attack(count)) for count in (500, 1000))
    assert 3 * 1000 < large < 100 * 1000
    assert large <= 2 * small


def test_a_large_packet_is_split_and_its_largest_properties_go_into_the_extension() -> None:
    packet = xmp_packet.packet([f"<p{number}>{'x' * size}</p{number}>" for number, size in enumerate((9, 900, 90))])
    assert packet is not None
    assert xmp_packet.split(packet, len(packet)) == (packet, b"", b"")
    main, extension, name = xmp_packet.split(packet, 700)
    assert len(main) <= 700
    assert b"<p0>" in main
    assert b"<p2>" in main
    assert b'xmpNote:HasExtendedXMP="%b"' % name in main
    assert b"<p1>" in extension
    assert extension.startswith(b'<x:xmpmeta xmlns:x="adobe:ns:meta/">')
    assert len(name) == 32
