"""EXIF: the tags that are kept, and those that depend on the size and colours of the result."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from PIL.ExifTags import IFD, Base

from app.codec.metadata.directories import (
    ASCII,
    DOUBLE,
    HEADER,
    Directory,
    Entry,
    Structure,
    Unreadable,
    long,
    packed,
    rational,
    short,
)

Choice = Literal["drop", "keep", "all"]

KEPT_MAIN = frozenset(
    {
        *(Base.ImageDescription, Base.XPTitle, Base.XPSubject, Base.XPComment, Base.Rating, Base.RatingPercent),
        *(Base.Artist, Base.XPAuthor, Base.Copyright),
        *(Base.Make, Base.Model, Base.Software, Base.DateTime),
        *(Base.XResolution, Base.YResolution, Base.ResolutionUnit),
    }
)
"""The allow-list of "keep" for the main directory: title, description, authorship, camera, date, resolution."""
KEPT_DETAILS = frozenset(
    {
        *(Base.ExifVersion, Base.FlashPixVersion, Base.ColorSpace, Base.Gamma),
        *(Base.ExifImageWidth, Base.ExifImageHeight),
        *(Base.DateTimeOriginal, Base.DateTimeDigitized),
        *(Base.SubsecTime, Base.SubsecTimeOriginal, Base.SubsecTimeDigitized),
        *(Base.OffsetTime, Base.OffsetTimeOriginal, Base.OffsetTimeDigitized),
        *(Base.ExposureTime, Base.FNumber, Base.ExposureProgram, Base.ExposureMode, Base.ExposureIndex),
        *(Base.ShutterSpeedValue, Base.ApertureValue, Base.MaxApertureValue, Base.BrightnessValue),
        *(Base.ExposureBiasValue, Base.MeteringMode, Base.LightSource, Base.WhiteBalance, Base.Flash, Base.FlashEnergy),
        *(Base.SensitivityType, Base.ISOSpeedRatings, Base.StandardOutputSensitivity, Base.RecommendedExposureIndex),
        *(Base.ISOSpeed, Base.ISOSpeedLatitudeyyy, Base.ISOSpeedLatitudezzz, Base.SpectralSensitivity),
        *(Base.FocalLength, Base.FocalLengthIn35mmFilm, Base.DigitalZoomRatio),
        *(Base.SubjectDistance, Base.SubjectDistanceRange),
        *(Base.FocalPlaneXResolution, Base.FocalPlaneYResolution, Base.FocalPlaneResolutionUnit),
        *(Base.LensSpecification, Base.LensMake, Base.LensModel),
        *(Base.SensingMethod, Base.FileSource, Base.SceneType, Base.SceneCaptureType, Base.CustomRendered),
        *(Base.GainControl, Base.Contrast, Base.Saturation, Base.Sharpness, Base.CompositeImage),
    }
)
"""The allow-list of "keep" for the EXIF directory: dates, exposure, lens; no owner, serial number or comment."""

_STALE = frozenset(
    {
        # How the source stores its pixels, and blocks that are handled separately.
        *range(0x00FE, 0x010B),
        *(Base.StripOffsets, *range(0x0115, 0x011A), Base.PlanarConfiguration, *range(0x011E, 0x0126), Base.PageNumber),
        *(Base.TransferFunction, *range(0x013D, 0x0160), *range(0x0190, 0x01B4), *range(0x0200, 0x0230)),
        *(Base.XMLPacket, *range(0x1000, 0x1003), *range(0x80E3, 0x80E7), 0x828D, 0x828E),
        *(Base.IPTCNAA, Base.ImageResources, Base.InterColorProfile, 0x935C, *range(0xC612, 0xD000)),
        # Pixel coordinates: of the ground (GeoTIFF) and of the subject.
        *(0x830E, *range(0x847E, 0x8483), 0x85D8, *range(0x87AF, 0x87B2), 0x9214, Base.SubjectLocation),
        # Appended films, directories of raw files, padding, and maker notes, which contain offsets.
        *(0x8897, 0x8290, 0x8606, 0x888A, 0xFE00, 0xEA1C, 0xEA1D, Base.MakerNote),
        *(Base.ComponentsConfiguration, Base.CompressedBitsPerPixel, Base.ExifInteroperabilityOffset),
        *(Base.ExifOffset, Base.GPSInfo),
    }
)
"""Tags that would be wrong in a rewritten picture; not kept by "all" either."""
_STACKS = (b'{"shape":', b"ImageJ=")  # descriptions by tifffile and ImageJ of the layout of the file
_INTEROP = frozenset({1, 2})  # index and version; the others describe a related file
_GPS = range(32)
_PER_INCH = {2: Fraction(1), 3: Fraction(254, 100)}  # by unit: inch, centimetre
_INCH = 2
_SRGB = 1
_AXES = (
    (Base.XResolution, Base.YResolution),
    (Base.FocalPlaneXResolution, Base.FocalPlaneYResolution),
)
_DENSITIES = frozenset(tag for pair in _AXES for tag in pair)


@dataclass(frozen=True, slots=True)
class Exif:
    """The tags kept of an EXIF block, its orientation if it had one, and whether all of it could be read."""

    kept: Directory
    orientation: int | None
    sound: bool


def read(block: bytes | memoryview, choice: Choice) -> Exif:
    """Filters a block, which is a TIFF structure or a whole TIFF file. Raises Unreadable."""
    structure = Structure(block)
    kinds = {"drop": frozenset[int](), "keep": KEPT_MAIN, "all": None}
    main = structure.directory(structure.first, _among(kinds[choice], Base.Orientation, IFD.Exif, IFD.GPSInfo))
    orientation = main.pop(Base.Orientation, None)
    if (text := main.get(Base.ImageDescription)) and text.value.startswith(_STACKS):
        del main[Base.ImageDescription]
    pointers = {tag: main.pop(tag, None) for tag in (IFD.Exif, IFD.GPSInfo)}
    kept: Directory = dict(main)
    if choice != "drop":
        wanted = _among(KEPT_DETAILS if choice == "keep" else None, IFD.Interop)
        details: Directory = dict(_nested(structure, pointers[IFD.Exif], wanted))
        interop = details.pop(IFD.Interop, None)
        if choice == "all":
            details[IFD.Interop] = dict(_nested(structure, interop, _INTEROP.__contains__))
            kept[IFD.GPSInfo] = dict(_nested(structure, pointers[IFD.GPSInfo], _GPS.__contains__))
        kept[IFD.Exif] = _writable(details)
    if choice == "keep":
        kept = _ended(kept)
    number = None if orientation is None else orientation.whole_number()
    return Exif(_writable(kept), number if number in range(1, 9) else None, structure.sound)


def _among(kept: frozenset[int] | None, *others: int) -> Callable[[int], bool]:
    """Whether a tag is in `kept`, or, if that is None, not stale; or is one of `others`."""
    return lambda tag: tag in others or (tag not in _STALE if kept is None else tag in kept)


def _nested(
    structure: Structure, pointer: "Entry | Directory | None", wanted: Callable[[int], bool]
) -> dict[int, Entry]:
    if not isinstance(pointer, Entry):
        return {}
    try:
        return structure.directory(pointer.whole_number() or 0, wanted)
    except Unreadable:
        structure.sound = False
        return {}


def _ended(directory: Directory) -> Directory:
    """Cuts text at its terminator: a damaged count could extend it into other values. Copyright has two parts."""
    ended: Directory = {}
    for tag, item in directory.items():
        if isinstance(item, dict):
            item = _ended(item)
        elif item.kind == ASCII:
            parts = item.value.split(b"\0", 2)[: 2 if tag == Base.Copyright else 1]
            value = b"\0".join(part for part in parts if part) + b"\0"
            item = Entry(ASCII, len(value), value)
        ended[tag] = item
    return ended


def _writable(directory: Directory) -> Directory:
    """Without empty directories, which many readers complain about, and without pointers and the types of BigTIFF."""
    return {tag: item for tag, item in directory.items() if item and (isinstance(item, dict) or item.kind <= DOUBLE)}


def turned(kept: Directory) -> Directory:
    """With the axes exchanged, for a picture turned by 90 or 270 degrees."""
    swapped: dict[int, int] = {tag: other for pair in _AXES for tag, other in (pair, pair[::-1])}
    return {swapped.get(tag, tag): turned(item) if isinstance(item, dict) else item for tag, item in kept.items()}


def dpi(kept: Directory) -> tuple[float, float] | None:
    """(horizontal, vertical) pixels per inch; None if they are not stated."""
    x, y = (item.fraction() if isinstance(item := kept.get(tag), Entry) else None for tag in _AXES[0])
    unit = kept.get(Base.ResolutionUnit)
    per_inch = _PER_INCH.get((unit.whole_number() or 0) if isinstance(unit, Entry) else _INCH)
    if x is None or y is None or per_inch is None:
        return None
    return float(x * per_inch), float(y * per_inch)


def block(kept: Directory) -> bytes | None:
    """The structure as bytes; None if it is empty."""
    return HEADER + packed(kept) if kept else None


def scaled(kept: Directory, scale: int | Fraction, height: int, width: int, srgb: bool) -> Directory:
    """Adapted to a result of `height` x `width` pixels, `scale` times the source, and to sRGB if `srgb`."""
    result: Directory = {}
    for tag, item in kept.items():
        if isinstance(item, dict):
            if not (srgb and tag == IFD.Interop):  # its index states the colour space too
                result[tag] = scaled(item, scale, height, width, srgb)
        elif tag in _DENSITIES:
            density = item.fraction()
            if density is not None and density > 0:
                result[tag] = rational(density * scale)
        elif tag == Base.ExifImageWidth:
            result[tag] = long(width)
        elif tag == Base.ExifImageHeight:
            result[tag] = long(height)
        elif srgb and tag == Base.ColorSpace:
            result[tag] = short(_SRGB)
        elif not (srgb and tag == Base.Gamma):
            result[tag] = item
    return _writable(result)


def resolution(dpi: tuple[float, float]) -> Directory:
    """The tags for (vertical, horizontal) pixels per inch."""
    y, x = (rational(Fraction(value).limit_denominator(10_000)) for value in dpi)
    return {Base.XResolution: x, Base.YResolution: y, Base.ResolutionUnit: short(_INCH)}
