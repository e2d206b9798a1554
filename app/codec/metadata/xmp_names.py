"""XMP properties by name: which ones are kept, which are invalid for the result, and which depend on it."""

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
"""By usual prefix; used as the default for packets that do not declare their prefixes."""


class Name(NamedTuple):
    """Qualified name of an element or an attribute."""

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
"""The allow-list of "keep": title, description, authorship, rights, dates, camera, lens and exposure."""

ORIENTATION = Name(NAMESPACES["tiff"], "Orientation")
REGIONS, DIMENSIONS = NAMESPACES["mwg-rs"], NAMESPACES["stDim"]
QUARTER_TURNED = {
    Name(NAMESPACES[prefix], name.format(axis)): Name(NAMESPACES[prefix], name.format(other))
    for prefix, name in (("tiff", "{}Resolution"), ("exif", "FocalPlane{}Resolution"))
    for axis, other in ("XY", "YX")
}
"""Resolutions along one axis, and the property for the other axis, which they become in a quarter turn."""
PLACEHOLDERS = {
    WIDTH: _names("tiff", "ImageWidth") | _names("exif", "PixelXDimension") | _names("stDim", "w"),
    HEIGHT: _names("tiff", "ImageLength") | _names("exif", "PixelYDimension") | _names("stDim", "h"),
    DENSITY: frozenset(QUARTER_TURNED),
    COLOR_SPACE: _names("exif", "ColorSpace"),
}
"""Properties whose value depends on the result, by the letter of their placeholder."""

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
    """Whether the property would be wrong in the result; `upright`: the picture is neither turned nor mirrored.

    These are storage details of the source; embedded or appended images, films, depth maps and panoramas (the "photos"
    namespaces of Google and other phone makers); and, unless upright, regions.
    """
    namespace = name.namespace
    if name in _STALE or namespace in _STALE_NAMESPACES or (namespace in _REGIONS and not upright):
        return True
    return namespace.startswith("http://ns.") and "/photos/" in namespace
