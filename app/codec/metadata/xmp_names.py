"""XMP's properties by name: those that "keep" keeps, those that no rewriting leaves true, and those that it changes."""

from typing import NamedTuple

from app.codec.metadata.exif import KEPT_DETAILS, KEPT_MAIN
from app.codec.metadata.xmp_packet import COLOR_SPACE, DENSITY, HEIGHT, WIDTH

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
NAMESPACES = {
    "rdf": RDF,
    "xml": XML,
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xap": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpGImg": "http://ns.adobe.com/xap/1.0/g/img/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "cc": "http://creativecommons.org/ns#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
}
"""By the prefix that is usual for it; a packet that declares none is read as if it had declared these."""


class Name(NamedTuple):
    """Of an element or an attribute."""

    namespace: str
    local: str


def _names(prefix: str, *names: str) -> frozenset[Name]:
    return frozenset(Name(NAMESPACES[prefix], local) for local in names)


# In XMP most of EXIF's tags have the same names.
KEPT = frozenset().union(
    _names("dc", "title", "description", "creator", "rights", "date"),
    _names("xmp", "CreateDate", "ModifyDate", "MetadataDate", "CreatorTool", "Rating", "Label"),
    _names("xmpRights", "Marked", "Owner", "UsageTerms", "WebStatement"),
    _names("photoshop", "Headline", "Credit", "Source", "DateCreated", "AuthorsPosition", "CaptionWriter"),
    _names("tiff", *(tag.name for tag in KEPT_MAIN), "Orientation", "ImageWidth", "ImageLength"),
    _names("exif", *(tag.name for tag in KEPT_DETAILS), "FlashpixVersion", "PixelXDimension", "PixelYDimension"),
    _names("exif", "Fired", "Return", "Mode", "Function", "RedEyeMode"),  # members of Flash
    _names("exifEX", *(tag.name for tag in KEPT_DETAILS), "PhotographicSensitivity"),
    _names("aux", "Lens", "LensID", "LensInfo", "ApproximateFocusDistance", "FlashCompensation"),
    _names("Iptc4xmpExt", "DigitalSourceType"),
    _names("plus", "DataMining"),
    _names("cc", "license", "attributionName", "attributionURL"),
)
"""What the picture shows in words, whose it is, when and with what it was made; all else stays behind."""

ORIENTATION = Name(NAMESPACES["tiff"], "Orientation")
REGIONS, DIMENSIONS = NAMESPACES["mwg-rs"], NAMESPACES["stDim"]
QUARTER_TURNED = {
    Name(NAMESPACES[prefix], name.format(axis)): Name(NAMESPACES[prefix], name.format(other))
    for prefix, name in (("tiff", "{}Resolution"), ("exif", "FocalPlane{}Resolution"))
    for axis, other in ("XY", "YX")
}
"""Pixels per unit, and what they become when the picture is turned by a quarter."""
OPEN_PLACES = {
    WIDTH: _names("tiff", "ImageWidth") | _names("exif", "PixelXDimension") | _names("stDim", "w"),
    HEIGHT: _names("tiff", "ImageLength") | _names("exif", "PixelYDimension") | _names("stDim", "h"),
    DENSITY: frozenset(QUARTER_TURNED),
    COLOR_SPACE: _names("exif", "ColorSpace"),
}
"""What the result decides, by the letter of the place that is left open for it."""

_STALE = frozenset().union(
    _names("xmp", "Thumbnails", "PageInfo"),
    _names("dc", "format"),
    _names("photoshop", "ICCProfile", "LegacyIPTCDigest"),
    _names("tiff", "BitsPerSample", "Compression", "PhotometricInterpretation", "SamplesPerPixel", "NativeDigest"),
    _names("tiff", "PlanarConfiguration", "YCbCrSubSampling", "YCbCrPositioning", "YCbCrCoefficients"),
    _names("exif", "ComponentsConfiguration", "CompressedBitsPerPixel", "SubjectArea", "SubjectLocation"),
    _names("exif", "NativeDigest", "MakerNote"),
)
_STALE_NAMESPACES = frozenset(NAMESPACES[prefix] for prefix in ("hdrgm", "xmpGImg", "xmpNote")) | {
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.apple.com/pixeldatainfo/1.0/",
}
_REGIONS = frozenset((REGIONS, NAMESPACES["MP"]))


def goes_stale(name: Name, upright: bool) -> bool:
    """Whether it would be untrue of the result; `upright`: the picture is neither turned nor mirrored on the way.

    That is how the source stores its pixels, pictures and films inside of it or behind it (Google's and other phones'
    namespaces, among them panoramas), and regions of a picture that is turned.
    """
    namespace = name.namespace
    if name in _STALE or namespace in _STALE_NAMESPACES or (namespace in _REGIONS and not upright):
        return True
    return namespace.startswith("http://ns.") and "/photos/" in namespace
