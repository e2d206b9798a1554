"""Pictures in every input format with hand-made metadata, so that results can be compared exactly."""

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from PIL import ExifTags, Image

from tests.codec.png_reference import write_png
from tests.codec.support import picture, saved

CASES = Path(__file__).resolve().parent.parent / "cases"
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIC")
HEIGHT, WIDTH = 8, 12
SAMPLES = picture(HEIGHT, WIDTH, 3)

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "drone-dji": "http://www.dji.com/drone-dji/1.0/",
    "drone-skydio": "https://www.skydio.com/drone-skydio/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
}


def xmp(attributes: str = "", elements: str = "", namespaces: Mapping[str, str] = NAMESPACES) -> str:
    """An XMP packet with one description."""
    declared = " ".join(f'xmlns:{prefix}="{namespace}"' for prefix, namespace in namespaces.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" {declared} {attributes}>{elements}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


PACKET = xmp(
    'dc:title="Dunes" photoshop:City="SECRET" exif:GPSLatitude="1,2SECRET" drone-dji:GpsLatitude="SECRET"',
    "<Iptc4xmpCore:Location>SECRET</Iptc4xmpCore:Location><dc:subject><rdf:Bag><rdf:li>SECRET</rdf:li></rdf:Bag>"
    "</dc:subject>",
)


def exif(orientation: int | None = None, **main: object) -> Image.Exif:
    """Artist, lens, location, owner and a maker note; the last three contain SECRET."""
    made = Image.Exif()
    if orientation is not None:
        made[ExifTags.Base.Orientation] = orientation
    made[ExifTags.Base.Artist] = "A. Painter"
    for name, value in main.items():
        made[ExifTags.Base[name]] = value
    details = made.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.LensModel] = "50mm"
    details[ExifTags.Base.CameraOwnerName] = "SECRET owner"
    details[ExifTags.Base.MakerNote] = b"SECRET note"
    made.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] = "SECRET"
    return made


def exif_block(made: Image.Exif) -> bytes:
    """Only the TIFF structure of the EXIF."""
    return made.tobytes().removeprefix(b"Exif\0\0")


def data_set(number: int, value: bytes, record: int = 2) -> bytes:
    """A data set of IPTC-IIM."""
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


TITLE, KEYWORDS, CITY, SUBLOCATION, AUTHOR, CAPTION = 5, 25, 90, 92, 80, 120
IPTC = (
    data_set(0, b"\0\4")
    + data_set(TITLE, b"Dunes")
    + data_set(KEYWORDS, b"SECRET keyword")
    + data_set(CITY, b"SECRET city")
    + data_set(SUBLOCATION, b"SECRET street")
    + data_set(AUTHOR, b"A. Painter")
)
IPTC_KEPT = data_set(0, b"\0\4") + data_set(TITLE, b"Dunes") + data_set(AUTHOR, b"A. Painter")


def resources(iptc: bytes) -> bytes:
    """Photoshop image resources: a named one, the IPTC, and an empty one after it."""
    first = b"8BIM" + struct.pack(">H", 0x03ED) + b"\3abc" + struct.pack(">I", 3) + b"xyz\0"
    own = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    return first + own + b"8BIM" + struct.pack(">HHI", 0x0BB7, 0, 0)


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    """A JPEG that starts with these segments."""
    data = saved(SAMPLES, "JPEG", quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def jpeg_xmp(packet: bytes) -> bytes:
    """A JPEG segment with an XMP packet."""
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def jpeg_exif(block: bytes) -> bytes:
    """A JPEG segment with a TIFF structure (EXIF)."""
    return segment(0xE1, b"Exif\0\0" + block)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with these chunks before its picture."""
    return write_png(SAMPLES, 2, 8, extra=chunks)


def png_xmp(packet: bytes) -> tuple[bytes, bytes]:
    """A PNG chunk with an XMP packet."""
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet


def raw_profile(name: str, block: bytes) -> tuple[bytes, bytes]:
    """A PNG chunk with a raw profile, as ImageMagick writes it."""
    digits = "\n".join(block.hex()[at : at + 72] for at in range(0, 2 * len(block), 72))
    return b"tEXt", f"Raw profile type {name}\0\n{name}\n{len(block):8d}\n{digits}\n".encode()


def tiff(
    byteorder: Literal["<", ">"] = "<",
    *,
    bigtiff: bool = False,
    tag: tuple[int, int, int, bytes] | None = None,
    **blocks: bytes,
) -> bytes:
    """A TIFF with the tags `xmp`, `iptc` or `resources`, and one of (number, type, count, value)."""
    tags = {"xmp": (700, 1), "iptc": (33723, 7), "resources": (34377, 1)}
    extra = [(*tags[name], len(block), block, True) for name, block in blocks.items()]
    if tag is not None:
        extra.append((*tag, True))
    file = io.BytesIO()
    tifffile.imwrite(
        file, SAMPLES, photometric="rgb", byteorder=byteorder, bigtiff=bigtiff, metadata=None, extratags=extra
    )
    return file.getvalue()


def gif(packet: bytes) -> bytes:
    """A GIF with an XMP packet, followed by the trailer that resynchronises readers of sub-blocks."""
    data = saved(np.asarray(SAMPLES[..., 0]), "GIF")
    end = 13 + 3 * 256
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return data[:end] + b"!\xff\x0bXMP DataXMP" + packet + trailer + data[end:]


def jxl(*boxes: tuple[bytes, bytes]) -> bytes:
    """A JPEG XL in a container with these boxes before the picture."""
    parts = ((b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl "), *boxes, (b"jxlc", saved(SAMPLES, "JXL")))
    return b"".join(struct.pack(">I", 8 + len(body)) + kind + body for kind, body in parts)


def with_all(form: str, packet: str = PACKET, block: bytes | None = None, iptc: bytes | None = None) -> bytes:
    """A file in this format with XMP, EXIF and, where the format supports it, IPTC."""
    text = packet.encode()
    block = exif_block(exif()) if block is None else block
    if form == "PNG":
        extra = [] if iptc is None else [raw_profile("iptc", resources(iptc))]
        return png((b"eXIf", block), png_xmp(text), *extra)
    if form == "JPEG":
        segments = [] if iptc is None else [segment(0xED, b"Photoshop 3.0\0" + resources(iptc))]
        return jpeg(jpeg_exif(block), jpeg_xmp(text), *segments)
    if form == "TIFF":
        made = Image.Exif()
        made.load(block)
        made[700] = text
        if iptc is not None:
            made[33723] = iptc
        return saved(SAMPLES, "TIFF", exif=made)
    settings: dict[str, Any] = {"lossless": True} if form == "WEBP" else {"quality": 95}
    return saved(SAMPLES, form, xmp=text, exif=block, **settings)
